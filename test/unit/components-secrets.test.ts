import * as pulumi from "@pulumi/pulumi";
import { describe, expect, test } from "vitest";
import { DatabaseStack } from "../../infra/database-stack.ts";
import { register } from "../helpers/pulumi-mocks.ts";
import {
  migrationsFolder,
  named,
  ofType,
  outputsOf,
  PASSWORD,
  PROD,
  stackOf,
  STORED,
} from "../helpers/registered-stack.ts";

const dev = await stackOf({});
const prod = await stackOf(PROD, "prod");

describe("secrets", () => {
  test("are marked wherever a password or a key is an input", () => {
    for (const resource of [...dev, ...prod]) {
      for (const [key, value] of Object.entries(resource.inputs)) {
        if (!/mark/.test(JSON.stringify(value))) continue;
        expect(resource.secretInputs, `${resource.name}.${key}`).toContain(key);
      }
    }
    // The mocks do hand them out, so the loop above has something to find.
    expect(dev.filter(({ inputs }) => /mark/.test(JSON.stringify(inputs))).length).toBeGreaterThan(20);
  });

  test("are outputs of keys and passwords, so that the state encrypts them", () => {
    for (const { additionalSecretOutputs } of ofType(dev, "PrivateKey")) {
      expect(additionalSecretOutputs).toEqual(
        expect.arrayContaining(["privateKeyPem", "privateKeyPemPkcs8", "privateKeyOpenssh"]),
      );
    }
    for (const { additionalSecretOutputs } of ofType(dev, "Password"))
      expect(additionalSecretOutputs).toContain("password");
    for (const { additionalSecretOutputs } of ofType(dev, "Role"))
      expect(additionalSecretOutputs).toContain("password");
    for (const { additionalSecretOutputs } of ofType(dev, "ScramSecret"))
      expect(additionalSecretOutputs).toContain("secret");
  });

  test("go to the server as what it stores for a password: no role of the provider's gets a password", () => {
    const roles = ofType(dev, "Role").filter(({ inputs }) => inputs["login"]);
    expect(roles).toHaveLength(5);
    for (const { inputs, secretInputs } of roles) {
      const secret = named(dev, `database-database-secret-${inputs["name"]}`);
      expect(inputs["password"]).toBe(STORED);
      expect(secretInputs).toEqual(["password"]);
      expect(secret.inputs).toEqual({ password: PASSWORD, iterations: 4_096 });
      expect(secret.secretInputs).toEqual(["password"]);
    }
    // The server's own setting would apply only to passwords that it is given in clear.
    expect(JSON.stringify(ofType(dev, "Role").map(({ inputs }) => inputs))).not.toContain(PASSWORD);
  });

  test("are made with as many iterations as the server's setting says", async () => {
    const resources = await stackOf({ postgresSettings: { scram_iterations: "1024" } });
    expect(ofType(resources, "ScramSecret").map(({ inputs }) => inputs["iterations"])).toEqual(
      Array.from({ length: 5 }, () => 1_024),
    );
  });

  test("are refused as plain texts of a program, where they would be in clear", () => {
    const settings = { appUserPassword: "appuser-password-that-is-given-mark" };
    expect(() => new DatabaseStack("database", { stack: "dev", clientDirectory: "/clients", ...settings })).toThrow(
      expect.objectContaining({
        name: "ConfigError",
        problems: [expect.objectContaining({ subject: "appUserPassword" })],
        message: expect.not.stringContaining(settings.appUserPassword) as string,
      }),
    );
  });

  test("that are given do not reach the state through the component's own inputs", async () => {
    const given = "appuser-password-that-is-given-mark";
    const resources = await stackOf({ appUserPassword: pulumi.secret(given) });
    for (const { type, inputs } of resources.filter(
      (each) => each.type.startsWith("aiwdb:index:") && each.parent === "database",
    )) {
      expect(JSON.stringify(inputs), type).not.toContain(given);
    }
    const secret = named(resources, "database-database-secret-app_user");
    expect([secret.inputs["password"], secret.secretInputs]).toEqual([given, ["password"]]);
    expect(resources.map(({ name }) => name)).not.toContain("database-password-app_user");
  });

  test("leave the stack only as secret outputs", async () => {
    let connections: unknown;
    let passwordsSecret: boolean | undefined;
    await register(
      async () => {
        const database = new DatabaseStack("database", {
          stack: "dev",
          migrationsFolder,
          clientDirectory: "/clients",
        });
        database.connections.apply((value) => {
          connections = value;
        });
        passwordsSecret = await pulumi.isSecret(database.passwords);
      },
      { outputs: outputsOf },
    );
    await expect.poll(() => [passwordsSecret, connections !== undefined]).toEqual([true, true]);
    expect(JSON.stringify(connections)).not.toMatch(/mark/);
    expect(connections).toMatchObject({
      database: "ai_workflow_db",
      direct: { host: "127.0.0.1", port: 15_432, database: "ai_workflow_db" },
      session: { database: "ai_workflow_db_session" },
      certificates: {
        app_user: { sslRootCert: "/clients/ca.crt", sslCert: "/clients/app_user.crt", sslKey: "/clients/app_user.key" },
      },
    });
  });
});
