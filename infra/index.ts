import "./quiet-sdk.ts";
import * as pulumi from "@pulumi/pulumi";
import { withChosenAddresses } from "./settings/chosen-addresses.ts";
import { clientCertificateFolder, stacksWithSettings } from "./settings/places.ts";
import { checkConfig, configError, disagreements, plainPasswords, type NamedStack } from "./settings/check.ts";
import { PROJECT, STANDARD_DATABASE_NAME } from "./settings/names.ts";
import { PROGRAM_VARIABLES } from "./settings/program-variables.ts";
import { SECRET_SETTINGS, type SecretSetting } from "./settings/table.ts";
import { DatabaseStack } from "./database-stack.ts";

const stack = pulumi.getStack();
const settings = Object.fromEntries(
  Object.entries(pulumi.runtime.allConfig())
    .filter(([key]) => key.startsWith(`${PROJECT}:`))
    .map(([key, value]) => [key.slice(PROJECT.length + 1), value]),
);

// What the program gets has been opened already; the engine says beside it what the file has encrypted.
const encrypted = new Set(JSON.parse(process.env["PULUMI_CONFIG_SECRET_KEYS"] || "[]") as string[]);
const inClear = Object.keys(settings).filter((key) => !encrypted.has(`${PROJECT}:${key}`));
const { config, problems } = checkConfig(stack, withChosenAddresses(stack, settings));
const all = [
  ...plainPasswords(stack, inClear),
  ...problems,
  ...disagreements([
    { stack, databaseName: settings["databaseName"] ?? STANDARD_DATABASE_NAME },
    ...(await otherDatabases()),
  ]),
];
// This kind is shown without a stack trace, which would bury what to do.
if (all.length > 0) throw new pulumi.RunError(configError(stack, all).message);

/** The other stacks' database names. `aiwdb` has compared them already, and spares the program the YAML parser. */
async function otherDatabases(): Promise<NamedStack[]> {
  const isAlone = stacksWithSettings().every((other) => other === stack);
  if (isAlone || process.env[PROGRAM_VARIABLES.comparedStack] === stack) return [];
  const { otherDatabaseNames } = await import("./settings/file.ts");
  return otherDatabaseNames(stack);
}

const secrets = new pulumi.Config(PROJECT);
// In place of those among the settings, which are in clear.
const givenPasswords = Object.fromEntries(SECRET_SETTINGS.map((name) => [name, secrets.getSecret(name)])) as Record<
  SecretSetting,
  pulumi.Output<string> | undefined
>;
const database = new DatabaseStack("database", {
  ...config,
  ...givenPasswords,
  clientDirectory: clientCertificateFolder(stack),
  adopt: (process.env[PROGRAM_VARIABLES.adopt] ?? "").split(",").filter((name) => name !== ""),
  resetPasswords: process.env[PROGRAM_VARIABLES.takeOver] === "1",
  stateIdentity: process.env[PROGRAM_VARIABLES.stateIdentity],
  rotateAuthority: process.env[PROGRAM_VARIABLES.rotateAuthority],
  rotateCertificates: process.env[PROGRAM_VARIABLES.rotateCertificates],
});

export const connections = database.connections;
export const passwords = database.passwords;
