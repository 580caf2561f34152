import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dropByName, listDatabases } from "../../testing/databases/by-name.ts";
import { serverFiles } from "../../testing/description/files.ts";
import { localServer } from "../helpers/local-server.ts";
import { aiwdb, driverExamples, MAIN, mustSucceed, node, program, pytest } from "../helpers/testdb.ts";

const NAME = `ci-tn${process.pid}`;
const { held } = localServer(NAME);

describe("the examples", () => {
  const EXAMPLES = path.join(import.meta.dirname, "../../examples");

  test("run with kysely, drizzle and knex", async () => {
    const folder = await driverExamples();
    const { stdout } = mustSucceed(await node(["--test", path.join(folder, "users.test.mjs")]));
    expect(stdout).toMatch(/pass 3/);
  });

  test("run with pytest, and a failed test's database is kept", async () => {
    const python = await pytest();
    const folder = mkdtempSync(path.join(tmpdir(), "aiwdb-pytest-"));
    cpSync(path.join(EXAMPLES, "pytest"), folder, { recursive: true });
    const runPytest = () =>
      program(python, ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", folder, folder], {
        PYTHONDONTWRITEBYTECODE: "1",
      });
    expect(mustSucceed(await runPytest()).stdout).toMatch(/^3 passed/m);
    writeFileSync(
      path.join(folder, "test_fails.py"),
      "def test_fails(connection):\n    assert connection.execute('select 1').fetchone() == (2,)\n",
    );
    const failed = await runPytest();
    expect(failed.stdout).toMatch(/1 failed, 3 passed/);
    const kept = (await held()).filter(({ state }) => state === "kept");
    expect(failed.stdout).toContain(`kept: npx aiwdb testdb psql ${kept[0]?.name}`);
    expect(kept).toHaveLength(1);
    expect(await dropByName(NAME, kept[0]!.name)).toBe(true);
    rmSync(folder, { recursive: true });
  });

  test("pytest's databases are in the leak report of the run they belong to", async () => {
    const python = await pytest();
    const script =
      "import aiwdb_testdb, subprocess, sys; taken = aiwdb_testdb.create('left by python', pid=int(sys.argv[1])); print(taken['name'])";
    const result = mustSucceed(
      await program(process.execPath, [MAIN, "testdb", "run", "--", python, "-c", script, String(process.pid)], {
        PYTHONPATH: path.join(EXAMPLES, "pytest"),
        PYTHONDONTWRITEBYTECODE: "1",
      }),
    );
    const name = result.stdout.trim();
    expect(result.stderr).toContain("1 test database was not given back");
    expect(result.stderr).toContain(`${name}, process ${process.pid}`);
    expect(await dropByName(NAME, name)).toBe(true);
  });

  test("run with node:test", async () => {
    const result = mustSucceed(await node(["--test", path.join(EXAMPLES, "node-test/users.test.mjs")]));
    expect(result.stdout).toMatch(/pass 1/);
  });
});

describe("a suite of a user's own with vitest", () => {
  const SERVER = `ci-tv${process.pid}`;
  let folder: string;

  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), "aiwdb-suite-"));
    const packages = path.join(folder, "node_modules");
    mkdirSync(packages);
    symlinkSync(path.join(import.meta.dirname, "../.."), path.join(packages, "ai-workflow-database"));
    symlinkSync(path.join(import.meta.dirname, "../../node_modules/vitest"), path.join(packages, "vitest"));
    mkdirSync(path.join(folder, "migrations"));
    write("migrations/0001_create_notes.up.sql", MIGRATION);
    write("migrations/0001_create_notes.down.sql", "drop table public.notes;\n");
    write("seed.sql", "insert into notes (text) values ('seeded');\n");
    const source = { migrationsFolder: path.join(folder, "migrations"), seed: path.join(folder, "seed.sql") };
    write("source.mjs", `export const source = ${JSON.stringify(source)};\n`);
    write(
      "setup.mjs",
      'import { setupWith } from "ai-workflow-database/testing/vitest-setup";\nimport { source } from "./source.mjs";\nexport default setupWith(source);\n',
    );
    write("vitest.config.mjs", 'export default { test: { globalSetup: ["./setup.mjs"] } };\n');
  });
  afterAll(async () => {
    if (existsSync(serverFiles(SERVER).local)) mustSucceed(await aiwdb(["testdb", "stop", "--name", SERVER]));
    rmSync(folder, { recursive: true, force: true });
  });

  const write = (file: string, text: string) => writeFileSync(path.join(folder, file), text);
  const MIGRATION =
    "-- Phase: 1\n-- Why: a suite of its own.\n-- Lock: none.\ncreate table public.notes (text text);\ngrant select, insert on public.notes to app_user;\n";
  const suite = (expected: string) =>
    write(
      "notes.test.mjs",
      `import { testWith } from "ai-workflow-database/testing/vitest";
      import { source } from "./source.mjs";
      const test = testWith(source);
      test("reads what is seeded", async ({ db, expect }) => {
        const client = await db.connect();
        expect((await client.query("select text from notes")).rows).toEqual([{ text: ${JSON.stringify(expected)} }]);
      });\n`,
    );
  const vitest = () =>
    program(
      process.execPath,
      [path.join(import.meta.dirname, "../../node_modules/vitest/vitest.mjs"), "run", "--root", folder, "--no-color"],
      { AIWDB_TESTDB_SERVER: SERVER, AIWDB_TESTDB_ENGINE: "local", VITEST: "", NODE_OPTIONS: "" },
    );

  test("has its own migrations and seed, and the server it started is stopped", async () => {
    suite("seeded");
    const { stdout } = mustSucceed(await vitest());
    expect(stdout).toMatch(/Tests +1 passed/);
    expect(existsSync(serverFiles(SERVER).local)).toBe(false);
  });

  test("whose seed is broken says so once, before any test, and leaves no server", async () => {
    write("seed.sql", "insert into nowhere values (1);\n");
    const { exitCode, stdout, stderr } = await vitest();
    expect(exitCode).toBe(1);
    expect(`${stdout}${stderr}`.split('relation "nowhere" does not exist').length - 1).toBeGreaterThanOrEqual(1);
    expect(stdout).not.toContain("reads what is seeded");
    expect(existsSync(serverFiles(SERVER).local)).toBe(false);
    write("seed.sql", "insert into notes (text) values ('seeded');\n");
  });

  test("keeps a failed test's database, and the server with it", async () => {
    suite("another");
    const { exitCode, stdout, stderr } = await vitest();
    expect([exitCode, stdout]).toEqual([1, expect.stringMatching(/Tests +1 failed/)]);
    const kept = (await listDatabases(SERVER)).filter(({ state }) => state === "kept");
    expect(kept).toMatchObject([{ label: "failed: reads what is seeded" }]);
    const printed = `${stdout}${stderr}`;
    expect(printed).toContain(`npx aiwdb testdb psql ${kept[0]!.name} --name ${SERVER}`);
    expect(printed).toContain(`npx aiwdb testdb stop --name ${SERVER}`);
    mustSucceed(await aiwdb(["testdb", "drop", kept[0]!.name, "--name", SERVER]));
  });
});
