import { readFileSync } from "node:fs";
import path from "node:path";
import { Analyzer } from "@pulumi/pulumi/provider/experimental/analyzer.js";
import { beforeAll, describe, expect, test } from "vitest";
import { PACKAGE_ROOT } from "../../base/versions.ts";
import { renderCommands } from "../../dev/docs/commands.ts";
import { renderConfiguration } from "../../dev/docs/configuration.ts";
import { renderStackSettings } from "../../dev/docs/stack-settings.ts";
import { SECRET_SETTINGS, settings } from "../../infra/settings/table.ts";

const read = (file: string) => readFileSync(path.join(PACKAGE_ROOT, file), "utf8");

test.each([
  ["infra/settings/stack-settings.ts", renderStackSettings],
  ["docs/configuration.md", renderConfiguration],
  ["docs/commands.md", renderCommands],
])("%s says what its source says; if not, `npm run docs` writes it anew", async (file, render) => {
  expect(read(file)).toBe(await render());
});

describe("Pulumi's analyser of components", () => {
  let analysed: ReturnType<Analyzer["analyze"]>;
  beforeAll(() => {
    const manifest = JSON.parse(read("package.json")) as object;
    analysed = new Analyzer(PACKAGE_ROOT, "aiwdb", manifest, new Set(["DatabaseStack"])).analyze();
  });

  test("takes every argument, with its meaning; settings are plain, passwords and paths are inputs", () => {
    const { inputs = {} } = analysed.components["DatabaseStack"] ?? {};
    const later = [...SECRET_SETTINGS, "clientDirectory"];
    const further = [
      "adopt",
      "migrationsFolder",
      "resetPasswords",
      "rotateAuthority",
      "rotateCertificates",
      "stack",
      "stateIdentity",
    ];
    expect(Object.keys(inputs).sort()).toEqual([...new Set([...Object.keys(settings), ...later, ...further])].sort());
    for (const [name, input] of Object.entries(inputs)) {
      expect(input.description, name).toMatch(/\S/);
      expect(input.plain === true, name).toBe(!later.includes(name));
      expect(input.optional === true, name).toBe(name !== "stack" && name !== "clientDirectory");
    }
    expect(inputs["pgbouncerDefaultPoolSize"]).toMatchObject({ type: "number" });
    expect(inputs["protect"]).toMatchObject({ type: "boolean" });
    expect(inputs["postgresSettings"]).toMatchObject({ type: "object", additionalProperties: { type: "string" } });
    expect(inputs["certServerHostNames"]).toMatchObject({ type: "array", items: { type: "string" } });
    expect(inputs["roles"]).toMatchObject({
      type: "object",
      additionalProperties: { $ref: "#/types/aiwdb:index:FurtherRole" },
    });
    expect(analysed.typeDefinitions["FurtherRole"]?.properties).toMatchObject({
      access: { $ref: "#/types/aiwdb:index:RoleAccess" },
      connectionLimit: { type: "number", optional: true },
      pooled: { type: "boolean", optional: true },
    });
    expect(inputs["profile"]).toMatchObject({ $ref: "#/types/aiwdb:index:Profile" });
    expect(analysed.typeDefinitions["Profile"]?.enum?.map(({ value }) => value)).toEqual(["standard", "ci"]);
  });

  test("takes what the stack gives back", () => {
    expect(analysed.components["DatabaseStack"]?.outputs).toMatchObject({
      connections: { $ref: "#/types/aiwdb:index:ConnectionInfo" },
      passwords: { type: "object", additionalProperties: { type: "string" } },
    });
  });
});
