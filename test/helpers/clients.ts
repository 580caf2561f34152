import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import path from "node:path";
import { findPrograms } from "../../base/run.ts";
import type { ClientFormat } from "../../database/client-formats.ts";
import { canInstallPackages, installPackages } from "../../toolchain/debian-packages.ts";
import { pythonWith } from "./python.ts";
import { mustSucceed, program, type Result } from "./testdb.ts";

const EXAMPLES = path.join(import.meta.dirname, "../../examples/clients");

/** Folder of what is downloaded and built for the programs, kept between runs. */
const CACHE = path.join(process.env["XDG_CACHE_HOME"] || path.join(homedir(), ".cache"), "ai-workflow-database");

/** A program of examples/clients. It reads what `aiwdb url --format …` prints. */
export interface Client {
  /** File or folder below examples/clients. */
  readonly name: string;
  readonly format: ClientFormat;
  /**
   * Makes all that the program needs.
   *
   * @param folder a temporary one of the program's language
   * @returns the program's command line; it is run in `folder`
   */
  readonly make: (folder: string) => Promise<readonly [string, ...string[]]>;
  /** File in `folder` that gets what is printed. @default the variable DATABASE_URL has it */
  readonly file?: string;
}

const python = (name: string, format: ClientFormat): Client => ({
  name: `python/${name}.py`,
  format,
  async make(folder) {
    const interpreter = await pythonWith(path.join(EXAMPLES, "python/requirements.txt"), "clients-python");
    return [interpreter, path.join(folder, `${name}.py`)];
  },
});

const node = (name: string, more: Partial<Client> = {}): Client => ({
  name: `node/${name}.mjs`,
  format: "node-postgres",
  async make(folder) {
    await nodePackages(folder);
    return [process.execPath, path.join(folder, `${name}.mjs`)];
  },
  ...more,
});

/** Links the packages that examples/clients/node/package-lock.json names into a folder. */
async function nodePackages(folder: string): Promise<void> {
  const link = path.join(folder, "node_modules");
  if (existsSync(link)) return;
  const manifests = ["package.json", "package-lock.json"];
  const hash = createHash("sha256");
  for (const name of manifests) hash.update(readFileSync(path.join(folder, name)));
  const cached = path.join(CACHE, `clients-node-${hash.digest("hex").slice(0, 16)}`);
  if (!existsSync(cached)) {
    const half = `${cached}.${process.pid}`;
    mkdirSync(half, { recursive: true });
    for (const name of manifests) cpSync(path.join(folder, name), path.join(half, name));
    const install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    mustSucceed(await program("npm", install, {}, half));
    if (!existsSync(cached)) renameSync(half, cached);
    rmSync(half, { recursive: true, force: true });
  }
  symlinkSync(path.join(cached, "node_modules"), link);
}

/** Prisma's generator is WebAssembly, but its command line fetches an engine as well, unless it is told of one. */
async function generatePrisma(folder: string): Promise<readonly [string, ...string[]]> {
  await nodePackages(folder);
  const prisma = path.join(folder, "node_modules/prisma/build/index.js");
  const env = {
    PRISMA_SCHEMA_ENGINE_BINARY: process.execPath,
    CHECKPOINT_DISABLE: "1",
    PRISMA_HIDE_UPDATE_MESSAGE: "1",
  };
  mustSucceed(await program(process.execPath, [prisma, "generate", "--schema", "schema.prisma"], env, folder));
  return [process.execPath, path.join(folder, "prisma.mjs")];
}

const go = (name: string): Client => ({
  name: `go/${name}/main.go`,
  format: "go",
  async make(folder) {
    const [compiler] = findPrograms("go", ["/usr/local/go/bin", "/usr/lib/go/bin"]);
    if (compiler === undefined) throw new Error("this test needs Go: https://go.dev/dl/");
    const env = { CGO_ENABLED: "0", GOWORK: "off", GOFLAGS: "-mod=readonly" };
    mustSucceed(await program(compiler, ["build", "-o", `${name}.program`, `./${name}`], env, folder));
    return [path.join(folder, `${name}.program`)];
  },
});

/** The programs whose tools `npm test` has anyway. */
export const CLIENTS: readonly Client[] = [
  python("psycopg2_example", "libpq"),
  python("psycopg3_example", "libpq"),
  python("asyncpg_example", "asyncpg"),
  python("sqlalchemy_example", "sqlalchemy"),
  python("sqlalchemy_async_example", "asyncpg"),
  python("django_example", "libpq"),
  node("node-postgres"),
  node("postgres-js", { format: "postgres.js", file: "database.mjs" }),
  node("drizzle"),
  node("prisma", { make: generatePrisma }),
  go("pgx"),
  go("pq"),
];

/** Finds a program, and installs Debian packages with it where this process may. */
async function programOf(name: string, folders: readonly string[], ...packages: string[]): Promise<string> {
  const find = () => findPrograms(name, folders)[0];
  if (find() === undefined && canInstallPackages()) await installPackages(...packages);
  const found = find();
  if (found === undefined)
    throw new Error(`this test needs ${name}: install Debian's ${packages.join(", ")}, or its like`);
  return found;
}

const rust = (name: string): Client => ({
  name: `rust/${name}.rs`,
  format: "rust",
  async make(folder) {
    // Debian's security updates have a new Rust under this name, as browsers are built with it.
    const cargo = await programOf("cargo", [path.join(homedir(), ".cargo/bin")], "cargo-web", "gcc", "libc6-dev");
    const env = { CARGO_TARGET_DIR: path.join(CACHE, "clients-rust"), CARGO_PROFILE_DEV_DEBUG: "0" };
    mustSucceed(await program(cargo, ["build", "--locked", "--quiet", "--bin", name], env, folder));
    return [path.join(env.CARGO_TARGET_DIR, "debug", name)];
  },
});

const java = (main: string): Client => ({
  name: `java/${main}.java`,
  format: "jdbc",
  file: "hikari.properties",
  async make(folder) {
    const maven = await programOf("mvn", [], "maven", "default-jdk-headless");
    mustSucceed(await program(maven, ["--quiet", "--batch-mode", "compile"], {}, folder));
    return [maven, "--quiet", "--batch-mode", `-Dexec.mainClass=${main}`, "exec:java"];
  },
});

/** A program of the tests, made beside those of its language. It prints how many connections a pool has by default. */
const poolOf = (file: string, client: Client): Client => ({
  ...client,
  async make(folder) {
    cpSync(path.join(import.meta.dirname, "..", file), path.join(folder, path.basename(file)));
    return client.make(folder);
  },
});
export const PSYCOPG_POOL = poolOf("python/default_pool.py", python("default_pool", "libpq"));
export const HIKARI_POOL = poolOf("java/DefaultPool.java", java("DefaultPool"));

/** The programs that `npm run test:long` runs. */
export const LONG_CLIENTS: readonly Client[] = [java("Example"), rust("sqlx"), rust("tokio-postgres")];

/** Temporary copies of the programs, one for each language. */
export interface Workshop {
  /** Makes a program if it is not made yet, and runs it with what `aiwdb url` prints for it. */
  run(client: Client, printed: string): Promise<Result>;
  remove(): void;
}

export function openWorkshop(): Workshop {
  const root = mkdtempSync(path.join(tmpdir(), "aiwdb-clients-"));
  const made = new Map<Client, Promise<readonly [string, ...string[]]>>();
  return {
    async run(client, printed) {
      const language = client.name.split("/")[0] as string;
      const folder = path.join(root, language);
      if (!existsSync(folder))
        cpSync(path.join(EXAMPLES, language), folder, {
          recursive: true,
          filter: (file) => !/\/(node_modules|prisma|target)$/.test(file),
        });
      const making = made.get(client) ?? client.make(folder);
      made.set(client, making);
      const [name, ...args] = await making;
      if (client.file !== undefined) writeFileSync(path.join(folder, client.file), printed, { mode: 0o600 });
      const env = { DATABASE_URL: client.file === undefined ? printed : "", PYTHONDONTWRITEBYTECODE: "1" };
      return program(name, args, env, folder);
    },
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
}
