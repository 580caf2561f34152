import "./quiet-sdk.ts";
import * as pulumi from "@pulumi/pulumi";
import { clientCertificateFolder, otherDatabaseNames, withChosenAddresses } from "./settings/local-files.ts";
import { SECRET_SETTINGS } from "./settings/table.ts";
import { checkConfig, configError, disagreements, plainPasswords, withoutPasswords } from "./settings/check.ts";
import { PROJECT, STANDARD_DATABASE_NAME } from "./settings/names.ts";
import { DatabaseStack } from "./database-stack.ts";
import { ROLES } from "../database/access/roles.ts";

const stack = pulumi.getStack();
const secrets = new pulumi.Config(PROJECT);
const settings = Object.fromEntries(
  Object.entries(pulumi.runtime.allConfig())
    .filter(([key]) => key.startsWith(`${PROJECT}:`))
    .map(([key, value]) => [key.slice(PROJECT.length + 1), value]),
);

// What the program gets has been opened already; the engine says beside it what the file has encrypted.
const encrypted = new Set(JSON.parse(process.env["PULUMI_CONFIG_SECRET_KEYS"] || "[]") as string[]);
const problems = [
  ...plainPasswords(
    stack,
    Object.keys(settings).filter((key) => !encrypted.has(`${PROJECT}:${key}`)),
  ),
  ...checkConfig(stack, withChosenAddresses(stack, settings)).problems,
  ...disagreements([
    { stack, databaseName: settings["databaseName"] ?? STANDARD_DATABASE_NAME },
    ...otherDatabaseNames(stack),
  ]),
];
// This kind is shown without a stack trace, which would bury what to do.
if (problems.length > 0) throw new pulumi.RunError(configError(stack, problems).message);

const [ownerPassword, appPassword, readonlyPassword, monitorPassword] = SECRET_SETTINGS.map((key) =>
  secrets.getSecret(key),
);
const database = new DatabaseStack("database", {
  stack,
  settings: withChosenAddresses(stack, withoutPasswords(settings)),
  passwords: {
    ...(ownerPassword ? { [ROLES.owner]: ownerPassword } : {}),
    ...(appPassword ? { [ROLES.app]: appPassword } : {}),
    ...(readonlyPassword ? { [ROLES.readonly]: readonlyPassword } : {}),
    ...(monitorPassword ? { [ROLES.monitor]: monitorPassword } : {}),
  },
  clientDirectory: clientCertificateFolder(stack),
});

export const connections = database.connections;
export const passwords = database.passwords;
