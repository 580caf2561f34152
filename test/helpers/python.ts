import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const FOLDER = fileURLToPath(new URL("../python", import.meta.url));

/**
 * Python with the packages of a requirements file, in the user's cache folder. The first test that asks makes it.
 *
 * @param name begins the folder's name
 * @returns the path of the interpreter.
 */
export async function pythonWith(requirements: string, name: string): Promise<string> {
  const hash = createHash("sha256").update(readFileSync(requirements)).digest("hex").slice(0, 16);
  const cache = process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache");
  const folder = join(cache, "ai-workflow-database", `${name}-${hash}`);
  const interpreter = join("bin", "python");
  if (!existsSync(join(folder, interpreter))) {
    // The folder has another name until it is complete. Python finds its packages beside itself, so it may be moved.
    const half = `${folder}.${process.pid}`;
    try {
      await run("python3", ["-m", "venv", half]);
      await run(join(half, interpreter), [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
        requirements,
      ]);
      if (!existsSync(folder)) renameSync(half, folder);
    } finally {
      rmSync(half, { recursive: true, force: true });
    }
  }
  return join(folder, interpreter);
}

const python = (): Promise<string> => pythonWith(join(FOLDER, "requirements.txt"), "python");

/** What test/python/schema_program.py says at its end. */
export interface SqlalchemySummary {
  readonly role: string;
  readonly reflected_tables: number;
  readonly declared_models: number;
  readonly report_names: number;
  readonly named_changes: number;
}

/** Runs the application's way of using the database, by SQLAlchemy, against a URL that logs in as app_user. */
export async function runSqlalchemyProgram(databaseUrl: string): Promise<SqlalchemySummary> {
  const { stdout } = await run(await python(), [join(FOLDER, "schema_program.py")], {
    env: { ...process.env, DATABASE_URL: databaseUrl, PYTHONDONTWRITEBYTECODE: "1" },
  });
  return JSON.parse(stdout) as SqlalchemySummary;
}

/** What a driver on libpq meets at its limits: by attempt, "done" or an error. */
export async function clientLimits(databaseUrl: string): Promise<Readonly<Record<string, string>>> {
  const { stdout } = await run(await python(), [join(FOLDER, "client_limits.py")], {
    env: { ...process.env, DATABASE_URL: databaseUrl, PYTHONDONTWRITEBYTECODE: "1" },
  });
  return JSON.parse(stdout) as Record<string, string>;
}

/** Prepares `select * from public.users` by psycopg; the names of the columns that it shows. */
export async function preparedColumns(databaseUrl: string): Promise<string[]> {
  const { stdout } = await run(await python(), [join(FOLDER, "prepared_statement.py")], {
    env: { ...process.env, DATABASE_URL: databaseUrl, PYTHONDONTWRITEBYTECODE: "1" },
  });
  return JSON.parse(stdout) as string[];
}
