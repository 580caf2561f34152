import { fileURLToPath } from "node:url";
import * as pulumi from "@pulumi/pulumi";
import { DatabaseStack, type DatabaseStackArgs } from "../../infra/database-stack.ts";
import { register, type Registered } from "./pulumi-mocks.ts";

/** The package's own migrations. */
export const migrationsFolder = fileURLToPath(new URL("../../migrations", import.meta.url));

/** Values of secrets that are easy to find where they must not be. */
const KEY = `-----BEGIN ${"PRIVATE"} KEY----- mark`;
export const PASSWORD = "generated-password-mark";
export const STORED = "SCRAM-secret-mark";

/** Outputs that the engine and the providers would return. */
export function outputsOf(type: string): Record<string, unknown> {
  if (type === "tls:index/privateKey:PrivateKey") return { privateKeyPem: KEY, privateKeyPemPkcs8: KEY };
  if (type.startsWith("tls:"))
    return {
      certPem: "CERT",
      certRequestPem: "REQUEST",
      validityEndTime: new Date(Date.now() + 3_650 * 86_400_000).toISOString(),
    };
  if (type.endsWith(":AuthorityRotation"))
    return { phase: 0, signer: "first", trusted: ["first"], firstGeneration: 1, secondGeneration: 1 };
  if (type.endsWith(":Password")) return { password: pulumi.secret(PASSWORD) };
  if (type.endsWith(":ScramSecret")) return { secret: pulumi.secret(STORED) };
  if (type.endsWith(":Renewal")) return { generation: 1 };
  if (/:(ContainerReady|SuperuserPassword)$/.test(type)) return { readyHost: "127.0.0.1", readyPort: 15_432 };
  return {};
}

/** What a stack with these arguments registers. */
export const stackOf = (args: Partial<DatabaseStackArgs>, stack = "dev") =>
  register(() => new DatabaseStack("database", { stack, migrationsFolder, clientDirectory: "/clients", ...args }), {
    stack,
    outputs: outputsOf,
  });

/** A large stack whose data are protected. */
export const PROD = {
  protect: true,
  postgresPort: 15_432,
  postgresMemoryMiB: 4_096,
  postgresCpus: 2.5,
  postgresMaxConnections: 100,
  pgbouncerPort: 6_432,
  pgbouncerPublishAddress: "0.0.0.0",
  pgbouncerMemoryMiB: 256,
};

/** The one resource of this name. */
export const named = (resources: readonly Registered[], name: string): Registered => {
  const found = resources.find((each) => each.name === name);
  if (!found) throw new Error(`no resource ${name}`);
  return found;
};

/** Resources by the last part of their type. */
export const ofType = (resources: readonly Registered[], type: string) =>
  resources.filter((each) => each.type.split(":").at(-1) === type);
