import "./quiet-sdk.ts";
import * as pulumi from "@pulumi/pulumi";
import { clientCertificateFolder, otherDatabaseNames, withChosenAddresses } from "./local-files.ts";
import { checkStacksAgree, PROJECT, SECRET_SETTINGS, STANDARD_DATABASE_NAME } from "./config.ts";
import { DatabaseStack } from "./database-stack.ts";
import { ROLES } from "./names.ts";

const stack = pulumi.getStack();
const secrets = new pulumi.Config(PROJECT);
const settings = Object.fromEntries(
  Object.entries(pulumi.runtime.allConfig())
    .filter(([key]) => key.startsWith(`${PROJECT}:`))
    .map(([key, value]) => [key.slice(PROJECT.length + 1), value]),
);

const databaseName = settings["databaseName"] ?? STANDARD_DATABASE_NAME;
checkStacksAgree([{ stack, databaseName }, ...otherDatabaseNames(stack)]);

const [ownerPassword, appPassword, readonlyPassword, monitorPassword] = SECRET_SETTINGS.map((key) =>
  secrets.getSecret(key),
);
const database = new DatabaseStack("database", {
  stack,
  settings: withChosenAddresses(stack, settings),
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
