import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { listDatabases } from "../../testing/databases/by-name.ts";
import { SERVER_VARIABLE, type TestServer } from "../../testing/description/server.ts";

export const run = promisify(execFile);
export const ROOT = path.join(import.meta.dirname, "../..");
const MAIN = path.join(ROOT, "cli/main.ts");
/** The server that is measured, with a home of its own. */
export const NAME = `ci-bench${process.pid}`;
export const home = mkdtempSync(path.join(tmpdir(), "aiwdb-bench-"));
process.env["XDG_DATA_HOME"] = path.join(home, "data");
process.env["XDG_STATE_HOME"] = path.join(home, "state");
process.env[SERVER_VARIABLE] = NAME;

export const aiwdb = (...args: string[]) => run(process.execPath, [MAIN, ...args]);

/** Arguments for psql that apply every migration. */
export const migrations = readdirSync(path.join(ROOT, "migrations"))
  .filter((file) => file.endsWith(".up.sql"))
  .sort()
  .flatMap((file) => ["-f", path.join(ROOT, "migrations", file)]);

/** psql, which ends with an error at the first statement that fails. */
export const psqlWith =
  (env: NodeJS.ProcessEnv) =>
  (...args: string[]) =>
    run("psql", ["-qX", "-v", "ON_ERROR_STOP=1", ...args], { env, maxBuffer: 1e8 });

/** Environment for libpq as the server's superuser. */
export function libpqOf({ direct, roles: { postgres: superuser } }: TestServer): NodeJS.ProcessEnv {
  return {
    ...process.env,
    PGHOST: direct.host,
    PGPORT: String(direct.port),
    PGUSER: "postgres",
    PGPASSWORD: superuser.password,
    PGSSLMODE: "verify-full",
    PGSSLROOTCERT: superuser.sslRootCert,
    PGSSLCERT: superuser.sslCert,
    PGSSLKEY: superuser.sslKey,
    MIGRATIONS: path.join(ROOT, "migrations"),
  };
}

/** How many databases of one of these states there are. */
export async function countOf(...states: string[]): Promise<number> {
  return (await listDatabases(NAME)).filter(({ state }) => states.includes(state)).length;
}
