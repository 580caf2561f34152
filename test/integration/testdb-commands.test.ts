import { describe, expect, test } from "vitest";
import { listDatabases, renewByName, type ListedDatabase } from "../../testing/databases/by-name.ts";
import { localServer } from "../helpers/local-server.ts";
import { aiwdb, MAIN, mustSucceed, until } from "../helpers/testdb.ts";

const NAME = `ci-tm${process.pid}`;
const { existing, held } = localServer(NAME);

describe("the command line", () => {
  test("runs a command with a database of its own, gives its exit code back and drops the database", async () => {
    const result = await aiwdb([
      "testdb",
      "run",
      "--",
      "sh",
      "-c",
      'echo "$PGDATABASE $PGUSER"; psql "$DATABASE_URL" -Atc "select current_database()"; exit 3',
    ]);
    expect(result.exitCode).toBe(3);
    const [, name] = /^(aiwdb_test_\w+) app_user\n\1\n$/.exec(result.stdout) ?? [];
    expect(result.stdout).toMatch(/^(aiwdb_test_\w+) app_user\n\1\n$/);
    await until(existing, (names) => !names.includes(name ?? ""));
  });

  test("reports what a run did not give back", async () => {
    const result = mustSucceed(
      await aiwdb(["testdb", "run", "--", process.execPath, MAIN, "testdb", "create", "--label", "forgotten"]),
    );
    expect(result.stderr).toMatch(/1 test database was not given back[^]*aiwdb_test_\w+, forgotten, 0 sessions/);
    // The run's own may be on its way out still.
    const left = (await held()).find(({ label }) => label === "forgotten");
    mustSucceed(await aiwdb(["testdb", "drop", left!.name]));
  });

  test("creates, lists and drops, and refuses what is wrong", async () => {
    const created = JSON.parse(
      mustSucceed(await aiwdb(["testdb", "create", "--json", "--label", "by hand"])).stdout,
    ) as { name: string; env: Record<string, string> };
    expect(created.env["PGDATABASE"]).toBe(created.name);
    const listed = JSON.parse(mustSucceed(await aiwdb(["testdb", "list", "--json"])).stdout) as ListedDatabase[];
    expect(listed.find(({ name }) => name === created.name)).toMatchObject({ state: "taken", label: "by hand" });
    mustSucceed(await aiwdb(["testdb", "drop", created.name]));
    const bound = JSON.parse(
      mustSucceed(await aiwdb(["testdb", "create", "--json", "--pid", String(process.pid)])).stdout,
    ) as { name: string };
    const ends = async () => (await listDatabases(NAME)).find(({ name }) => name === bound.name)?.expiresInSec;
    expect(await ends()).toBeNull(); // with its process, and at no time
    expect(await renewByName(NAME, bound.name, 600)).toBe(true);
    expect(await ends()).toBeNull();
    mustSucceed(await aiwdb(["testdb", "drop", bound.name]));
    for (const [args, code, message] of [
      [["drop", created.name], 1, "There is no test database"],
      [["drop", created.name, "--name", NAME], 1, `\`npx aiwdb testdb list --name ${NAME}\``],
      [["psql", created.name, "--name", NAME], 1, `\`npx aiwdb testdb list --name ${NAME}\``],
      [["drop"], 2, "takes the name"],
      [["create", "--ttl", "0"], 2, "--ttl"],
      [["create", "--pid", "4194303"], 2, "There is no process 4194303"],
      [["create", "--pid", "x"], 2, "--pid"],
      [["create", "--role", "root"], 2, 'no role "root"'],
      [["create", "--mode", "transaction"], 2, "has no pooler"],
      [["start", "--name", "prod"], 2, "must be named ci-"],
      [["start", "--engine", "cloud"], 2, "container or local"],
      [["run"], 2, "takes it behind --"],
    ] as const) {
      const result = await aiwdb(["testdb", ...args]);
      expect([args, result.exitCode]).toEqual([args, code]);
      expect(result.stderr).toContain(message);
    }
  });
});
