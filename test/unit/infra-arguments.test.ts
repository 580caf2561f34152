import * as pulumi from "@pulumi/pulumi";
import { describe, expect, test } from "vitest";
import { ConfigError } from "../../base/errors.ts";
import { checkPassword } from "../../infra/arguments.ts";
import { DatabaseStack } from "../../infra/database-stack.ts";
import { register, type Registered } from "../helpers/pulumi-mocks.ts";
import { named, stackOf } from "../helpers/registered-stack.ts";

const dev = await stackOf({});

describe("arguments", () => {
  const refusal = (args: object): ConfigError => {
    try {
      new DatabaseStack("database", { stack: "dev", clientDirectory: "/clients", ...args });
    } catch (error) {
      if (error instanceof ConfigError) return error;
      throw error;
    }
    throw new Error("accepted");
  };

  test("that are wrong are refused before anything is registered", () => {
    expect(refusal({ pgbouncerPort: "x" }).message).toMatch(
      /Configuration of stack "dev" is not usable \(1 problem\); nothing has been changed:\n- pgbouncerPort: must be a whole number/,
    );
  });

  test("are checked as a settings file is, all problems at once, and the remedies are the program's", async () => {
    const args = {
      stack: "Dev",
      clientDirectory: 7,
      adopt: "app_user",
      rotateAuthority: 1,
      resetPasswords: "yes",
      postgresMaxConnection: 1,
      postgresCpus: "many",
      pgbouncerSettings: { verbose: "1" },
      certLeafValidityDays: 5_000,
      certRenewBeforeDays: 95,
      postgresMaxConnections: 20,
      ownerPassword: "owner-password-in-clear-mark",
    };
    const { message, problems } = refusal(args);
    expect(problems.map(({ subject }) => subject).sort()).toEqual([
      "adopt",
      "certLeafValidityDays",
      "clientDirectory",
      "ownerPassword",
      "pgbouncerSettings.verbose",
      "postgresCpus",
      "postgresMaxConnection",
      "postgresMaxConnections",
      "resetPasswords",
      "rotateAuthority",
      'stack "Dev"',
    ]);
    expect(message).not.toMatch(/mark|config set/);
    const registered = await register(() =>
      expect(() => new DatabaseStack("database", args as never)).toThrow(
        'Configuration of stack "Dev" is not usable (11 problems); nothing has been changed:',
      ),
    );
    expect(registered.map(({ type }) => type)).toEqual(["pulumi:pulumi:Stack"]);
    expect(refusal({ stack: undefined }).problems).toEqual([
      { subject: "stack", problem: "must be text", remedy: "Correct it in the program." },
      expect.objectContaining({ subject: 'stack ""' }),
    ]);
  });

  test("that a program leaves undefined mean the defaults, also those of the profile", async () => {
    const resources = await stackOf({ postgresMemoryMiB: undefined } as object, "ci-1");
    expect(named(resources, "database-postgres-container").inputs["memory"]).toBe(6_144);
  });

  test.each([
    ["too-short-mark", "must have at least 20 characters"],
    ["no-printable-ASCII-\n-mark", "must be printable ASCII"],
  ])("are checked also where a password is known only later, and %j is not shown", (password, problem) => {
    const check = () => checkPassword("dev", "appUserPassword", password);
    expect(check).toThrow(
      expect.objectContaining({
        name: "ConfigError",
        problems: [expect.objectContaining({ subject: "appUserPassword", problem })],
        message: expect.not.stringContaining(password) as string,
      }),
    );
  });

  test("make a password secret whatever the program says", async () => {
    const resources = await stackOf({ appUserPassword: pulumi.output("not-marked-as-a-secret-by-anybody") });
    const { inputs, secretInputs } = named(resources, "database-database-secret-app_user");
    expect([inputs["password"], secretInputs]).toEqual(["not-marked-as-a-secret-by-anybody", ["password"]]);
  });

  test("say what is taken over into the state, and nothing else is", async () => {
    const adopting = await stackOf({ adopt: ["app_user", "ai_workflow_db"] });
    const imported = (resources: readonly Registered[]) =>
      resources.flatMap(({ importId, name }) => (importId ? [[name, importId]] : []));
    expect(imported(adopting).sort()).toEqual([
      ["database-database-database", "ai_workflow_db"],
      ["database-database-role-app_user", "app_user"],
    ]);
    expect(imported(dev)).toEqual([]);
  });

  test("tell those resources that look whose a stack is that another state is lost", async () => {
    const taking = await stackOf({ resetPasswords: true });
    const told = taking.filter(({ inputs }) => (inputs["run"] as { takeOver?: boolean } | undefined)?.takeOver);
    expect(told.map(({ name }) => name).sort()).toEqual([
      "database-identity",
      "database-maintenance-files",
      "database-pgbouncer-files",
      "database-postgres-files",
      "database-postgres-superuser",
    ]);
  });

  test("say how far the authority's replacement goes, and that all certificates are replaced", async () => {
    const inputs = (resources: readonly Registered[], part: string) =>
      named(resources, `database-certificates-${part}`).inputs;
    expect([inputs(dev, "authority")["step"], inputs(dev, "renewal")]).toMatchObject([undefined, { hold: false }]);
    const step = await stackOf({ rotateAuthority: "one", rotateCertificates: "two" });
    expect([inputs(step, "authority")["step"], inputs(step, "renewal")]).toMatchObject([
      "one",
      { hold: true, force: "two" },
    ]);
    const hold = await stackOf({ rotateAuthority: "hold" });
    expect([inputs(hold, "authority")["step"], inputs(hold, "renewal")]).toMatchObject([undefined, { hold: true }]);
    const kept = (resources: readonly Registered[], part: string) =>
      named(resources, `database-certificates-${part}`).ignoreChanges;
    expect([kept(dev, "authority"), kept(hold, "authority"), kept(step, "authority")]).toEqual([
      ["step"],
      ["step"],
      [],
    ]);
    expect([kept(dev, "renewal"), kept(step, "renewal")]).toEqual([["force"], []]);
  });
});
