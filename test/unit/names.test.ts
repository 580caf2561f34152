import fc from "fast-check";
import { expect, test } from "vitest";
import { STACK_NAME } from "../../infra/settings/names.ts";
import { engineNames, sessionDatabase } from "../../infra/settings/names.ts";
import { CLIENT_ROLES, POOLED_ROLES, ROLES } from "../../database/access/roles.ts";

test("engine objects carry the stack", () => {
  expect(engineNames("ci-7")).toEqual({
    network: "aiwdb-ci-7-network",
    postgres: "aiwdb-ci-7-postgres",
    pgbouncer: "aiwdb-ci-7-pgbouncer",
    maintenance: "aiwdb-ci-7-maintenance",
    dataVolume: "aiwdb-ci-7-data",
    postgresConfigVolume: "aiwdb-ci-7-postgres-config",
    pgbouncerConfigVolume: "aiwdb-ci-7-pgbouncer-config",
    maintenanceConfigVolume: "aiwdb-ci-7-maintenance-config",
  });
});

test("two stacks never share a name on the engine, and containers' names are host names", () => {
  const stackName = fc.stringMatching(new RegExp(STACK_NAME.source));
  fc.assert(
    fc.property(stackName, stackName, (one, two) => {
      fc.pre(one !== two);
      const names = [...Object.values(engineNames(one)), ...Object.values(engineNames(two))];
      expect(new Set(names).size).toBe(names.length);
      for (const name of names) expect(name).toMatch(/^[a-z0-9][a-z0-9-]{0,62}$/);
    }),
  );
});

test("the session entry is named after the database", () => {
  expect(sessionDatabase("ai_workflow_db")).toBe("ai_workflow_db_session");
});

test("neither owner nor superuser nor the pooler's own login may come through the pooler", () => {
  expect([...POOLED_ROLES].sort()).toEqual(["app_monitor", "app_readonly", "app_user"]);
});

test("every role that can log in from outside can be asked for, the pooler's cannot", () => {
  expect(new Set(CLIENT_ROLES)).toEqual(
    new Set([ROLES.app, ROLES.readonly, ROLES.monitor, ROLES.owner, ROLES.superuser]),
  );
});
