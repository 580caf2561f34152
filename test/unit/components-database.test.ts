import { describe, expect, test } from "vitest";
import { named, ofType, stackOf } from "../helpers/registered-stack.ts";

const dev = await stackOf({});

const rightsIn = (resources: typeof dev): string[] =>
  [...ofType(resources, "Grant"), ...ofType(resources, "DefaultPrivileges")]
    .map(({ inputs }) => `${inputs["role"]} ${inputs["objectType"]}: ${inputs["privileges"].join(",")}`)
    .sort();

describe("roles", () => {
  const role = (name: string) => named(dev, `database-database-role-${name}`).inputs;

  test("have no attribute beyond login, and the lookup's owner not even that", () => {
    for (const name of ["ai_workflow_owner", "app_user", "app_readonly", "app_monitor", "pgbouncer"]) {
      expect(Object.keys(role(name)).sort()).toEqual(
        [
          "login",
          "name",
          "password",
          ...(name.startsWith("app_") ? ["connectionLimit"] : []),
          ...(name === "app_monitor" ? ["roles"] : []),
        ].sort(),
      );
      expect(role(name)["login"]).toBe(true);
    }
    expect(role("pgbouncer_lookup")).toEqual({ name: "pgbouncer_lookup", login: false });
    expect(role("app_monitor")["roles"]).toEqual(["pg_monitor"]);
    // The pooler's share, and half of what is left to direct connections.
    for (const name of ["app_user", "app_readonly", "app_monitor"]) expect(role(name)["connectionLimit"]).toBe(75);
  });

  test("get exactly these rights", () => {
    expect(rightsIn(dev)).toEqual([
      "app_monitor database: CONNECT",
      "app_readonly database: CONNECT",
      "app_readonly table: SELECT",
      "app_user database: CONNECT",
      "app_user sequence: USAGE,SELECT",
      "app_user table: SELECT,INSERT,UPDATE,DELETE",
      "pgbouncer database: CONNECT",
    ]);
  });

  test("get temporary tables with the setting for them only", async () => {
    expect(rightsIn(await stackOf({ appUserTemporary: true }))).toEqual(
      rightsIn(dev).map((right) => (right === "app_user database: CONNECT" ? `${right},TEMPORARY` : right)),
    );
  });
});

test("takes the address of the database provider from the readiness gate, never from the settings", () => {
  const provider = named(dev, "database-database-provider").inputs;
  expect(provider).toMatchObject({
    host: "127.0.0.1",
    port: "15432",
    sslmode: "verify-full",
    expectedVersion: "16.0.0",
  });
  expect(named(dev, "database-database-provider").dependsOn).toContain("database-postgres-superuser");
});

test("gives migrations their names and checksums, up to the wanted phase", async () => {
  const all = named(dev, "database-database-migrations").inputs;
  const some = named(await stackOf({ rolloutPhase: 1 }), "database-database-migrations").inputs;
  expect(all["migrations"].length).toBeGreaterThan(some["migrations"].length);
  expect(all["migrations"].slice(0, some["migrations"].length)).toEqual(some["migrations"]);
  expect(Object.keys(all["checksums"]).sort()).toEqual([...all["migrations"]].sort());
  expect(all["connection"]).toMatchObject({
    user: "ai_workflow_owner",
    port: 15_432,
    sslKey: "/clients/ai_workflow_owner.key",
  });
});
