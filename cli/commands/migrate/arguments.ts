import { fileURLToPath } from "node:url";
import type { ArgsDef } from "citty";
import { Client } from "pg";
import { StateError, messageOf, UsageError } from "../../../toolchain/errors.ts";

const PACKAGE_FOLDER = fileURLToPath(new URL("../../../migrations", import.meta.url));

/** Arguments of every command on migration files. */
export const migrationArguments = {
  folder: { type: "string", description: "Folder of migrations; the package's own if not given", valueHint: "DIR" },
  json: { type: "boolean", default: false, description: "Print the result as JSON on stdout" },
} as const satisfies ArgsDef;

/** Where a command finds its database. */
export const databaseArguments = {
  "database-url": {
    type: "string",
    description: "Direct address of the database, as its owner; DATABASE_URL if not given",
    valueHint: "URL",
  },
} as const satisfies ArgsDef;

/** The folder of migrations a command works on. */
export function migrationsFolder(args: { folder?: string | undefined }): string {
  return args.folder ?? PACKAGE_FOLDER;
}

/**
 * Runs `use` with a connection to the database a command was given.
 *
 * @throws {UsageError} if it was given none.
 * @throws {StateError} if the database can't be reached.
 */
export async function withDatabase<T>(
  args: { "database-url"?: string | undefined },
  use: (client: Client) => Promise<T>,
): Promise<T> {
  const url = args["database-url"] ?? process.env["DATABASE_URL"];
  if (!url) {
    throw new UsageError("No database is given:", [
      {
        subject: "--database-url",
        problem: "missing, and DATABASE_URL is not set.",
        remedy: "`aiwdb url` prints one.",
      },
    ]);
  }
  const client = new Client({ connectionString: url, application_name: "aiwdb", connectionTimeoutMillis: 10_000 });
  try {
    await client.connect();
  } catch (cause) {
    // Host and port, never the URL: it may hold a password.
    throw new StateError(
      "The database can't be reached:",
      [{ subject: `${client.host}:${client.port}`, problem: messageOf(cause) }],
      { cause },
    );
  }
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}
