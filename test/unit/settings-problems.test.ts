import { describe, expect, test } from "vitest";
import { SECRET_SETTINGS, type StackConfig } from "../../infra/settings/table.ts";
import { checkStacksAgree, parseConfig, plainPasswords } from "../../infra/settings/check.ts";
import { PROJECT } from "../../infra/settings/names.ts";
import { problemsOf, refusal } from "../helpers/refused-settings.ts";

test("tells every problem at once, in the user's terms and with the count", () => {
  const error = refusal("Dev", {
    postgresMaxConnection: 5,
    pgbouncerPort: "x",
    pgbouncerReservePoolSize: -1,
    databaseName: "No",
    certServerHostNames: ["fine", "-"],
  });
  expect(error.problems.map(({ subject }) => subject)).toEqual([
    'stack "Dev"',
    "databaseName",
    "pgbouncerPort",
    "pgbouncerReservePoolSize",
    "certServerHostNames.1",
    "postgresMaxConnection",
  ]);
  expect(error.message).toMatch(
    /^Configuration of stack "Dev" is not usable \(6 problems\); nothing has been changed:\n/,
  );
});

test.each([
  ["postgresMaxConnection", "postgresMaxConnections"],
  ["databasename", "databaseName"],
  ["pgbouncer_default_pool_size", "pgbouncerDefaultPoolSize"],
])("asks whether the unknown key %s is %s", (key, suggestion) => {
  expect(problemsOf({ [key]: 1 })).toEqual([
    {
      subject: key,
      problem: `there is no such setting; did you mean ${suggestion}?`,
      remedy: `Remove it: \`npx aiwdb pulumi --stack dev -- config rm ${PROJECT}:${key}\`, or see docs/configuration.md.`,
    },
  ]);
});

test("suggests nothing for an unknown key like no other", () => {
  expect(problemsOf({ zzz: 1 })[0]?.problem).toBe("there is no such setting");
});

test.each(SECRET_SETTINGS)("never shows the value of %s, not even a refused one", (key) => {
  const value = "gr3at but has späces";
  expect(refusal("dev", { [key]: value }).message).not.toContain(value);
  expect(refusal("dev", { [key]: "t0o-short" }).message).not.toContain("t0o-short");
});

test.each([
  [{ pgbouncerPort: "x" }, `set ${PROJECT}:pgbouncerPort <value>`],
  [{ postgresClientAddresses: ["192.0.2.7", "x"] }, `set --path '${PROJECT}:postgresClientAddresses[1]' <value>`],
  [
    { postgresSettings: { "pg_stat_statements.max": [] } },
    `set --path '${PROJECT}:postgresSettings["pg_stat_statements.max"]' <value>`,
  ],
])("says how to set what is wrong in %j", (raw, command) => {
  expect(problemsOf(raw).map(({ remedy }) => remedy)).toEqual([
    `Set it with \`npx aiwdb pulumi --stack dev -- config ${command}\`.`,
  ]);
});

test.each(SECRET_SETTINGS)("never tells to write %s in clear", (key) => {
  expect(problemsOf({ [key]: "short" }).map(({ remedy }) => remedy)).toEqual([
    `Run \`npx aiwdb pulumi --stack dev -- config set --secret ${PROJECT}:${key}\`: it asks for a new one and writes it encrypted.`,
  ]);
});

describe("a password in clear", () => {
  test("is named with the command that makes it a secret, and never shown", () => {
    expect(plainPasswords("prod", ["databaseName", "appUserPassword"])).toEqual([
      {
        subject: "appUserPassword",
        problem: "stands in Pulumi.prod.yaml as plain text, for everybody who can read the file or its history",
        remedy: expect.stringContaining(
          "`npx aiwdb pulumi --stack prod -- config set --secret ai-workflow-database:appUserPassword`",
        ) as string,
      },
    ]);
    expect(plainPasswords("prod", SECRET_SETTINGS).map(({ subject }) => subject)).toEqual([...SECRET_SETTINGS]);
    expect(plainPasswords("prod", ["databaseName"])).toEqual([]);
  });
});

test.each(["dev", "ci-42", "a", "x".repeat(30)])("accepts the stack name %s", (stack) => {
  expect(parseConfig(stack, {}).stack).toBe(stack);
});
test.each(["", "Dev", "1st", "a_b", "a.b", "x".repeat(31), "dev\n", "../dev"])("refuses the stack name %j", (stack) => {
  expect(problemsOf({}, stack)[0]?.problem).toContain("1 to 30 characters of a-z, 0-9 and -");
});

describe("stacks", () => {
  const named = (stack: string, databaseName: string): StackConfig => parseConfig(stack, { databaseName });

  test("may differ in everything but the database's name", () => {
    expect(() =>
      checkStacksAgree([named("dev", "one"), parseConfig("prod", { databaseName: "one", postgresMemoryMiB: 4_096 })]),
    ).not.toThrow();
  });

  test("that differ in it are refused, each file named with its name", () => {
    expect(() => checkStacksAgree([named("dev", "one"), named("prod", "two")])).toThrow(
      expect.objectContaining({
        name: "ConfigError",
        problems: [
          expect.objectContaining({ subject: "Pulumi.dev.yaml, databaseName", problem: "one" }),
          expect.objectContaining({ subject: "Pulumi.prod.yaml, databaseName", problem: "two" }),
        ],
      }),
    );
  });
});
