import { describe, expect, test } from "vitest";
import { parseConfig } from "../../infra/settings/check.ts";
import { renderPgbouncerHba, renderPgbouncerIni } from "../../infra/servers/pgbouncer/ini.ts";
import { addresses, renderPgHba } from "../../infra/servers/postgres/hba.ts";
import { RoleAccess } from "../../infra/settings/further-roles.ts";
import { named, ofType, PASSWORD, stackOf, STORED } from "../helpers/registered-stack.ts";
import { problemsOf } from "../helpers/refused-settings.ts";
import { readIni } from "../helpers/server-files.ts";

const ROLES = {
  reporting: { access: RoleAccess.read, connectionLimit: 4 },
  anna: { access: RoleAccess.write, pooled: false },
};
const config = parseConfig("dev", { roles: ROLES });
const without = parseConfig("dev", {});

describe("the servers' files", () => {
  test("let a pooled role in as app_user is let in, and another one directly only", () => {
    const { gateway, pgbouncer } = addresses(config);
    const rules = renderPgHba(config).split("\n");
    expect(rules).toContain(
      `hostssl "ai_workflow_db" app_user,app_readonly,app_monitor,"reporting" ${pgbouncer}/32 scram-sha-256 clientcert=verify-ca`,
    );
    expect(rules).toContain(
      `hostssl "ai_workflow_db" ai_workflow_owner,app_user,app_readonly,app_monitor,"anna","reporting" ${gateway}/32 scram-sha-256 clientcert=verify-full`,
    );
    expect(renderPgbouncerHba(config).split("\n")).toContain(
      'hostssl ai_workflow_db,ai_workflow_db_session app_user,app_readonly,app_monitor,"reporting" all scram-sha-256',
    );
  });

  test("bound a role's server connections, and are as they were without roles", () => {
    const ini = renderPgbouncerIni(config, "postgres");
    expect(readIni(ini)["users"]).toEqual({ reporting: "max_user_connections=4" });
    expect(ini.replace("\n[users]\nreporting = max_user_connections=4\n", "")).toBe(
      renderPgbouncerIni(without, "postgres"),
    );
  });
});

describe("the stack", () => {
  test("makes each role with its limit, its model, a secret and a certificate, and tells clients of it", async () => {
    const resources = await stackOf({ roles: ROLES });
    expect(ofType(resources, "FurtherRole").map(({ inputs }) => inputs)).toEqual([
      { container: expect.any(String), name: "anna", memberOf: "app_user", connectionLimit: 5, secret: STORED },
      {
        container: expect.any(String),
        name: "reporting",
        memberOf: "app_readonly",
        connectionLimit: 4,
        secret: STORED,
      },
    ]);
    for (const { secretInputs } of ofType(resources, "FurtherRole")) expect(secretInputs).toContain("secret");
    const { roles, connection } = named(resources, "database-database-baseline").inputs;
    expect(roles).toEqual(["app_user", "app_readonly", "app_monitor", "reporting"]);
    expect(connection).toBeDefined();
    expect(Object.keys(named(resources, "database-database-login-roles").inputs["secrets"])).toEqual(
      expect.arrayContaining(["anna", "reporting"]),
    );
    const files = Object.keys(named(resources, "database-certificates-client-files").inputs["files"]);
    expect(files).toEqual(expect.arrayContaining(["anna.crt", "anna.key", "reporting.crt", "reporting.key"]));
    for (const role of ["anna", "reporting"]) {
      expect(named(resources, `database-certificates-client-${role}-request`).inputs["subject"]).toMatchObject({
        commonName: role,
      });
      expect(named(resources, `database-database-secret-${role}`).inputs["password"]).toBe(PASSWORD);
    }
  });
});

describe("roles that do not fit are refused", () => {
  const problems = (raw: Record<string, unknown>, stack?: string) =>
    problemsOf(raw, stack).map(({ subject, problem }) => `${subject}: ${problem}`);

  test.each([
    [
      "fewer connections than the pooler keeps",
      { roles: { reporting: { access: "read", connectionLimit: 2 } } },
      /^roles: reporting: a connectionLimit of 2 is below 3/,
    ],
    [
      "more than the pooler has",
      { roles: { reporting: { access: "read", connectionLimit: 60 } } },
      /^roles: reporting: a connectionLimit of 60 is above the \d+ server connections of the pooler/,
    ],
    [
      "more direct ones than PostgreSQL has left",
      {
        postgresMaxConnections: 100,
        roles: {
          anna: { access: "read", connectionLimit: 40, pooled: false },
          ben: { access: "read", connectionLimit: 40, pooled: false },
        },
      },
      /^roles: anna, ben: together 80 direct connections are above the \d+ that postgresMaxConnections leaves/,
    ],
    [
      "a pooled one where each of the package's has a listener of its own",
      { roles: ROLES, pgbouncerBindCertificates: true, pgbouncerMaxDbConnections: 70 },
      /^roles: pgbouncerBindCertificates gives each .*: reporting$/,
    ],
  ])("%s", (_what, raw, problem) => {
    expect(problems(raw)).toContainEqual(expect.stringMatching(problem));
  });

  test("a stack of test databases", () => {
    expect(problems({ roles: ROLES }, "ci-1")).toEqual([expect.stringMatching(/^roles: a stack of the profile ci/)]);
  });

  test("all that is wrong with them, at once and by its place", () => {
    const wrong = {
      Anna: { access: "read" },
      reporting: { access: "admin", connectionLimit: 0, pooled: 7, extra: 1 },
      postgres: { access: "read" },
    };
    expect(
      problemsOf({ roles: wrong })
        .map(({ subject }) => subject)
        .toSorted(),
    ).toEqual([
      "roles.Anna",
      "roles.postgres",
      "roles.reporting.access",
      "roles.reporting.connectionLimit",
      "roles.reporting.extra",
      "roles.reporting.pooled",
    ]);
  });

  test("but a direct one goes with bound certificates", () => {
    const { anna } = ROLES;
    const bound = { pgbouncerBindCertificates: true, pgbouncerMaxDbConnections: 70, postgresMaxConnections: 120 };
    expect(() => parseConfig("dev", { roles: { anna }, ...bound })).not.toThrow();
  });
});
