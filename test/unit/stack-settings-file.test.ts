import { describe, expect, test, vi } from "vitest";
import { parseConfig } from "../../infra/settings/check.ts";
import { otherDatabaseNames, readSettingsFile } from "../../infra/settings/file.ts";
import { checkAgreement, checkStackConfig, readStackConfig } from "../../stack/settings-file.ts";
import { renewForEachTest, settingsFile, thrown } from "../helpers/temporary-checkout.ts";

vi.mock(import("../../base/versions.ts"), async (original) => ({
  ...(await original()),
  PACKAGE_ROOT: (await import("../helpers/temporary-checkout.ts")).checkout,
}));
renewForEachTest();

describe("a settings file", () => {
  test("gives the project's settings without prefix and secrets, and knows how secrets are encrypted", () => {
    settingsFile(
      "dev",
      'config:\n  ai-workflow-database:postgresPort: "25432"\n  other:key: x\n  ai-workflow-database:ownerPassword: { secure: "v1:abc" }\n',
    );
    expect(readSettingsFile("dev")).toMatchObject({ settings: { postgresPort: "25432" }, hasSecretsProvider: false });
    settingsFile("prod", "encryptionsalt: v1:x\nconfig: {}\n");
    expect(readSettingsFile("prod").hasSecretsProvider).toBe(true);
  });

  test("that is missing, empty or has no config means the defaults", () => {
    for (const text of [undefined, "", "# nothing\n", "encryptionsalt: x\n", "config:\n"]) {
      if (text !== undefined) settingsFile("dev", text);
      expect(readStackConfig("dev")).toEqual(parseConfig("dev", {}));
    }
  });

  test.each([
    ["config: [", /Pulumi\.dev\.yaml: is no YAML: .*line 1/s],
    ["- a\n- b\n", /Pulumi\.dev\.yaml: must be a YAML mapping with the key `config`/],
    ["text", /Pulumi\.dev\.yaml: must be a YAML mapping with the key `config`/],
    ["config: text\n", /Pulumi\.dev\.yaml: `config` must be a mapping/],
    ["config:\n  - a\n", /Pulumi\.dev\.yaml: `config` must be a mapping/],
    [
      "config:\n  postgresPort: 1\n  other: 2\n",
      /postgresPort: has no namespace.*Write ai-workflow-database:postgresPort.*- other: has no namespace/s,
    ],
    ["config:\n  ai-workflow-database:postgresPrt: 1\n", /postgresPrt: there is no such setting/],
  ])("that reads %j is refused, and says why", (text, reason) => {
    settingsFile("dev", text);
    const error = thrown(() => readStackConfig("dev"));
    expect(error.name).toBe("ConfigError");
    expect(error.message).toMatch(reason);
  });

  test.each([
    'config:\n  ai-workflow-database:appUserPassword: "in-clear-and-known\n',
    "config:\n  ai-workflow-database:appUserPassword: *in-clear-and-known\n",
    "config:\n  ai-workflow-database:appUserPassword: in-clear-and-known: x\n",
  ])("that is no YAML shows nothing of itself, as a password may stand in it: %j", (text) => {
    settingsFile("dev", text);
    const { message } = thrown(() => readStackConfig("dev"));
    expect(message).toMatch(/Pulumi\.dev\.yaml: is no YAML: /);
    expect(message).not.toContain("in-clear-and-known");
  });

  test("of another stack with another database name stops this one, both files named", () => {
    settingsFile("dev", "config:\n  ai-workflow-database:databaseName: one\n");
    settingsFile("prod", "config:\n  ai-workflow-database:databaseName: two\n");
    const { message } = thrown(() => checkAgreement(readStackConfig("dev")));
    expect(message).toMatch(/Pulumi\.dev\.yaml, databaseName: one/);
    expect(message).toMatch(/Pulumi\.prod\.yaml, databaseName: two/);
  });

  test.each([
    ["config: { 'ai-workflow-database:databaseName': \"two\" } # a comment\n", "two"],
    ["config:\n  ai-workflow-database:databaseName: &name two\n  other:name: *name\n", "two"],
    ["config:\n  ai-workflow-database:databaseName: >-\n    two\n", "two"],
    ["config: {}\n", "ai_workflow_db"],
    ["", "ai_workflow_db"],
    ["config:\n  ai-workflow-database:databaseName: No Name\n", undefined],
    ["config:\n  ai-workflow-database:databaseName:\n", undefined],
    ["config: [", undefined],
  ])("of another stack gives its database's name as YAML means it, and none that is not usable: %j", (text, name) => {
    settingsFile("dev", "config:\n  ai-workflow-database:databaseName: one\n");
    settingsFile("prod", text);
    expect(otherDatabaseNames("dev")).toEqual(name === undefined ? [] : [{ stack: "prod", databaseName: name }]);
  });

  test("lists wrong settings, keys without namespace and another stack's other name in one error", () => {
    settingsFile("dev", "config:\n  postgresPort: 1\n  ai-workflow-database:postgresCpus: many\n");
    settingsFile("prod", "config: { 'ai-workflow-database:databaseName': \"two\" } # a comment\n");
    expect(checkStackConfig("dev").problems.map(({ subject }) => subject)).toEqual([
      "postgresPort",
      "postgresCpus",
      "Pulumi.dev.yaml, databaseName",
      "Pulumi.prod.yaml, databaseName",
    ]);
  });

  test("of another stack with the same name, or one that is broken itself, does not", () => {
    settingsFile("dev", "config:\n  ai-workflow-database:databaseName: one\n");
    settingsFile("prod", "config:\n  ai-workflow-database:databaseName: one\n");
    settingsFile("broken", "config: [");
    expect(() => checkAgreement(readStackConfig("dev"))).not.toThrow();
  });
});
