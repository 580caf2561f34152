import { describe, expect, test } from "vitest";
import { UNKNOWN } from "../../infra/provider/resource.ts";
import { databaseBaseline as databaseBaselineType } from "../../infra/provider/resources/database-baseline.ts";
import { migrations as migrationsType } from "../../infra/provider/resources/migrations.ts";
import { superuserPassword as superuserPasswordType } from "../../infra/provider/resources/superuser-password.ts";
import { called, recorder, type Called } from "../helpers/provider.ts";

const quiet = recorder();
const databaseBaseline = called(databaseBaselineType);
const migrations = called(migrationsType);
const superuserPassword = called(superuserPasswordType);

describe("migrations as a resource", () => {
  const olds = {
    connection: { database: "db" },
    folder: "migrations",
    migrations: ["0001_a", "0002_b"],
    checksums: { "0001_a": "aa", "0002_b": "bb" },
  };
  const more = {
    ...olds,
    migrations: [...olds.migrations, "0003_c"],
    checksums: { ...olds.checksums, "0003_c": "cc" },
  };

  test("are unchanged when nothing changed", async () => {
    const report = recorder();
    expect(await migrations.check!(olds, olds, report)).toEqual([]);
    expect(await migrations.diff!(olds, olds, report)).toEqual({ changed: [], replaces: [] });
    expect(report.lines).toEqual([]);
  });

  // What the preview says about them: migration-preview.test.ts.
  test("are changed when one is pending", async () => {
    expect(await migrations.check!(more, olds, quiet)).toEqual([]);
    expect(await migrations.diff!(olds, more, quiet)).toEqual({ changed: ["migrations"], replaces: [] });
  });

  test("stop the preview with the name of an applied file whose SQL changed", async () => {
    const edited = { ...more, checksums: { ...more.checksums, "0002_b": "other" } };
    expect(await migrations.check!(edited, olds, quiet)).toEqual([
      {
        property: "0002_b",
        reason: expect.stringMatching(/changed after it had been applied.*Restore the file.*new migration/s),
      },
    ]);
  });

  test("stop the preview when the phase was lowered or a file vanished, naming what the database already has", async () => {
    const lowered = { ...olds, migrations: ["0001_a"], checksums: { "0001_a": "aa" } };
    expect(await migrations.check!(lowered, more, quiet)).toEqual([
      {
        property: "migrations",
        reason: expect.stringMatching(
          /already has 0002_b, 0003_c.*rolloutPhase was lowered or files were removed.*aiwdb rollback/s,
        ),
      },
    ]);
  });

  test("tell of a changed and of a missing file at once", async () => {
    const both = { ...olds, migrations: ["0001_a"], checksums: { "0001_a": "other" } };
    expect((await migrations.check!(both, olds, quiet)).map(({ property }) => property)).toEqual([
      "0001_a",
      "migrations",
    ]);
  });

  test("take any files for a stack that has none yet, and wait where the names are not known", async () => {
    expect(await migrations.check!(more, {}, quiet)).toEqual([]);
    expect(await migrations.check!({ ...more, migrations: UNKNOWN }, olds, quiet)).toEqual([]);
  });

  test("accept the checksum of a file that a refresh found applied without one", async () => {
    const adopted = { ...olds, checksums: { "0001_a": "aa" } };
    expect(await migrations.check!(olds, adopted, quiet)).toEqual([]);
  });

  test("do not change when only the folder does, take a new password over, and are made anew in another database", async () => {
    expect((await migrations.diff!(olds, { ...olds, folder: "/another/clone" }, quiet)).changed).toEqual([]);
    // Without it the state would keep a password that a refresh cannot log in with.
    const renewed = { ...olds, connection: { database: "db", password: "new" } };
    expect(await migrations.diff!(olds, renewed, quiet)).toEqual({ changed: ["connection"], replaces: [] });
    expect(await migrations.update("db", olds, renewed, quiet)).toBeUndefined(); // and connects to nothing
    expect(await migrations.diff!(olds, { ...olds, connection: { database: "other" } }, quiet)).toEqual({
      changed: ["connection"],
      replaces: ["connection"],
    });
    expect((await migrations.diff!(olds, { ...olds, connection: UNKNOWN }, quiet)).changed).toEqual([]);
  });
});

describe("the superuser's password", () => {
  const connection = { host: "h", port: 1, user: "postgres", password: "one" };
  const inputs = { container: "c", volume: "v", connection };

  test("is set again when it changes or when the connection is not known yet, and when what hides it in logs did", async () => {
    const { version } = await currentVersion(superuserPassword);
    const state = { ...inputs, version };
    expect(await superuserPassword.diff!(state, inputs, quiet)).toEqual({ changed: [] });
    expect(
      await superuserPassword.diff!(state, { ...inputs, connection: { ...connection, password: "two" } }, quiet),
    ).toEqual({ changed: ["connection"] });
    expect(await superuserPassword.diff!(state, { ...inputs, connection: UNKNOWN }, quiet)).toEqual({
      changed: ["connection"],
    });
    expect(await superuserPassword.diff!(inputs, inputs, quiet)).toEqual({ changed: ["version"] });
  });

  test("leaves the server's address known in previews, so that nothing behind it looks changed", () => {
    expect(superuserPassword.plan!({}, inputs)).toEqual({ readyHost: "h", readyPort: 1 });
    expect(superuserPassword.plan!({}, { ...inputs, connection: UNKNOWN })).toEqual({});
  });
});

describe("the database baseline", () => {
  test("is applied again when the roles change or when its own statements did, and with a new password", async () => {
    const { version } = await currentVersion(databaseBaseline);
    const inputs = { connection: { password: "one" }, owner: "o", caller: "c", roles: ["a"] };
    const state = { ...inputs, version };
    expect(await databaseBaseline.diff!(state, inputs, quiet)).toEqual({ changed: [] });
    expect(await databaseBaseline.diff!(state, { ...inputs, connection: { password: "two" } }, quiet)).toEqual({
      changed: ["connection"],
    });
    expect(await databaseBaseline.diff!(state, { ...inputs, connection: UNKNOWN }, quiet)).toEqual({ changed: [] });
    expect((await databaseBaseline.diff!(state, { ...inputs, roles: ["a", "b"] }, quiet)).changed).toEqual(["roles"]);
    expect((await databaseBaseline.diff!({ ...state, version: version - 1 }, inputs, quiet)).changed).toEqual([
      "version",
    ]);
  });
});

/** The version that `diff` is content with. */
async function currentVersion(type: Called): Promise<{ version: number }> {
  for (let version = 1; version < 100; version += 1) {
    if ((await type.diff!({ version }, {}, quiet)).changed.length === 0) return { version };
  }
  throw new Error("no version is current");
}
