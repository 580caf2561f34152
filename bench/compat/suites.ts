import { spawn } from "node:child_process";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { libpqEnvironment, libpqUrl } from "../../database/libpq.ts";
import type { Connection } from "../../database/connection.ts";
import { pythonWith } from "../python.ts";
import { goModule, pythonSource, VERSIONS } from "./sources.ts";

/** How a suite went against one server. */
export interface Outcome {
  readonly failed: readonly string[];
  readonly passed: number;
  /** It did not come to its end, or a package of it did not. The other figures are those until then. */
  readonly stopped: boolean;
}

export interface Suite {
  readonly name: string;
  run(connection: Connection): Promise<Outcome>;
}

const LIMIT_MS = 8 * 60_000;

/** A Go package that ends in the middle: it took too long, or a test broke it. */
const GO_PANIC = /"Output":"panic: /;

/** What a line of a suite's output says of a test; undefined where it says nothing. */
type Reader = (line: string) => { readonly test: string; readonly state: "passed" | "failed" } | undefined;

/** Runs a suite in a process group of its own, which is ended when it takes too long. */
function outcomeOf(command: readonly string[], cwd: string, env: NodeJS.ProcessEnv, read: Reader): Promise<Outcome> {
  const [name = "", ...args] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(name, args, { cwd, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    const states = new Map<string, "passed" | "failed">();
    let stopped = false;
    let last = "";
    const limit = setTimeout(() => {
      stopped = true;
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
    }, LIMIT_MS);
    createInterface({ input: child.stdout }).on("line", (line) => {
      last = `${last}\n${line}`.slice(-2_000);
      if (GO_PANIC.test(line)) stopped = true;
      const found = read(line);
      // A test that failed in any way has failed: pytest names its set-up and its end apart.
      if (found && states.get(found.test) !== "failed") states.set(found.test, found.state);
    });
    child.stderr.on("data", (chunk: Buffer) => (last = `${last}${chunk.toString()}`.slice(-2_000)));
    child.on("error", reject);
    child.on("close", () => {
      clearTimeout(limit);
      if (states.size === 0) reject(new Error(`${command.join(" ")} ran no test:\n${last}`));
      const failed = [...states].filter(([, state]) => state === "failed").map(([test]) => test);
      resolve({ failed, passed: states.size - failed.length, stopped });
    });
  });
}

/** https://pkg.go.dev/cmd/test2json: tests of the top level; examples and subtests are inside them. */
const readGo: Reader = (line) => {
  if (!line.startsWith("{")) return undefined;
  const { Action, Test, Package } = JSON.parse(line) as { Action: string; Test?: string; Package?: string };
  if (Test === undefined || Test.includes("/") || (Action !== "pass" && Action !== "fail")) return undefined;
  return { test: `${Package?.split("/").at(-1)}.${Test}`, state: Action === "pass" ? "passed" : "failed" };
};

const readPytest: Reader = (line) => {
  const [, test, state] = /^(\S+::.+?) (PASSED|FAILED|ERROR)\b/.exec(line) ?? [];
  return test === undefined ? undefined : { test, state: state === "PASSED" ? "passed" : "failed" };
};

const REQUIREMENTS = path.join(import.meta.dirname, "requirements.txt");
const python = () => pythonWith(REQUIREMENTS, "bench-compat");

const environment = (connection: Connection, more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv => ({
  ...process.env,
  ...libpqEnvironment(connection),
  DATABASE_URL: undefined,
  ...more,
});

const go = (
  name: "github.com/jackc/pgx/v5" | "github.com/lib/pq",
  more: (url: string) => NodeJS.ProcessEnv,
  skipped: readonly string[] = [],
): Suite => ({
  name: `${name} ${VERSIONS[name]}`,
  async run(connection) {
    const folder = await goModule(name);
    const skip = skipped.length === 0 ? [] : [`-skip=^(${skipped.join("|")})$`];
    // One test after the other: some give a connection 100 ms. A package that waits for ever ends alone.
    const command = ["go", "test", "-json", "-count=1", "-p=1", "-parallel=1", "-timeout=2m", ...skip, "./..."];
    return outcomeOf(command, folder, environment(connection, more(libpqUrl(connection))), readGo);
  },
});

/**
 * Tests of lib/pq that are not about this server: against servers of their own without TLS, which wait for ever where the
 * environment demands it, and against a server with the certificates of the suite.
 */
const OF_OTHER_SERVERS = [
  "TestPreProtocolError",
  "TestSimpleQueryWithoutResponse",
  "TestUnexpectedEOF",
  "TestConnectMulti",
  "TestConnectionTargetSessionAttrs",
  "TestProtocolVersion",
  "TestStartupParameters",
  "TestSSL.*",
];

/** Some of asyncpg's tests name the database postgres. The environment's is taken where none is named. */
function useNamedDatabase(folder: string): void {
  for (const name of readdirSync(folder).filter((each) => each.endsWith(".py"))) {
    const file = path.join(folder, name);
    const text = readFileSync(file, "utf8");
    const own = text.replaceAll(/database=(['"])postgres\1/g, "database=None");
    if (own !== text) writeFileSync(file, own);
  }
}

export const SUITES: readonly Suite[] = [
  go("github.com/jackc/pgx/v5", (url) => ({ PGX_TEST_DATABASE: url })),
  go("github.com/lib/pq", () => ({}), OF_OTHER_SERVERS),
  {
    name: `asyncpg ${VERSIONS.asyncpg}`,
    async run(connection) {
      const folder = await pythonSource("asyncpg");
      // The installed one is compiled; its sources would hide it.
      rmSync(path.join(folder, "asyncpg"), { recursive: true, force: true });
      useNamedDatabase(path.join(folder, "tests"));
      const command = [await python(), "-m", "pytest", "-v", "-p", "no:cacheprovider", "tests"];
      return outcomeOf([...command, "--ignore=tests/test__sourcecode.py"], folder, environment(connection), readPytest);
    },
  },
  {
    name: `SQLAlchemy ${VERSIONS.sqlalchemy}, its suites for PostgreSQL, by psycopg`,
    async run(connection) {
      const folder = await pythonSource("sqlalchemy");
      const url = libpqUrl(connection).replace("postgresql:", "postgresql+psycopg:").replaceAll("%", "%%");
      writeFileSync(path.join(folder, "test.cfg"), `[db]\naiwdb = ${url}\n`, { mode: 0o600 });
      const tests = ["test/dialect/postgresql", "test/dialect/test_suite.py"];
      const command = [await python(), "-m", "pytest", "-v", "-p", "no:cacheprovider", "--maxfail=100000"];
      return outcomeOf([...command, "--db", "aiwdb", ...tests], folder, environment(connection), readPytest);
    },
  },
];
