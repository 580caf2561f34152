import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { folders } from "../../base/paths.ts";
import { run } from "../command.ts";

/** Source packages whose suites are run, with the versions of examples/clients. */
export const VERSIONS = {
  "github.com/jackc/pgx/v5": "v5.7.5",
  "github.com/lib/pq": "v1.12.3",
  asyncpg: "0.32.0",
  sqlalchemy: "2.0.58",
} as const;

const cache = (name: string) => path.join(folders().cache, `compat-${name}`);

/** Makes a folder in the cache once. It has another name until it is whole. */
async function once(name: string, make: (folder: string) => Promise<void>): Promise<string> {
  const folder = cache(name);
  if (existsSync(folder)) return folder;
  const half = `${folder}.${process.pid}`;
  rmSync(half, { recursive: true, force: true });
  mkdirSync(half, { recursive: true });
  await make(half);
  renameSync(half, folder);
  return folder;
}

/** The sources of a Go module, from the module proxy. Go's own copy is read-only. */
export function goModule(name: keyof typeof VERSIONS): Promise<string> {
  const version = VERSIONS[name];
  return once(`${name.replaceAll("/", "-")}-${version}`, async (folder) => {
    const { Dir } = JSON.parse(await run("go", ["mod", "download", "-json", `${name}@${version}`])) as { Dir: string };
    cpSync(Dir, folder, { recursive: true });
    await run("chmod", ["-R", "u+w", folder]);
  });
}

/** The source package of a Python library. https://packaging.python.org/en/latest/specifications/simple-repository-api/ */
export function pythonSource(name: keyof typeof VERSIONS): Promise<string> {
  const version = VERSIONS[name];
  return once(`${name}-${version}`, async (folder) => {
    const answer = await fetched(`https://pypi.org/simple/${name}/`, "application/vnd.pypi.simple.v1+json");
    const { files } = JSON.parse(answer.toString("utf8")) as {
      files: { filename: string; url: string; hashes: { sha256: string } }[];
    };
    const file = files.find(({ filename }) => filename === `${name}-${version}.tar.gz`);
    if (file === undefined) throw new Error(`PyPI has no source package of ${name} ${version}`);
    const content = await fetched(file.url, "*/*");
    if (createHash("sha256").update(content).digest("hex") !== file.hashes.sha256)
      throw new Error(`${file.filename} is not the one that PyPI names`);
    const archive = path.join(folder, file.filename);
    writeFileSync(archive, content);
    await run("tar", ["-xzf", archive, "-C", folder, "--strip-components=1"]);
    rmSync(archive);
  });
}

async function fetched(url: string, accept: string): Promise<Buffer> {
  const response = await fetch(url, { headers: { accept }, signal: AbortSignal.timeout(120_000) });
  if (!response.ok) throw new Error(`${url} answers ${response.status}`);
  return Buffer.from(await response.arrayBuffer());
}
