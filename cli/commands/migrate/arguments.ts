import type { ArgsDef } from "citty";
import { Client } from "pg";
import { StateError, UsageError, messageOf } from "../../../base/errors.ts";
import type { Output } from "../../../base/output.ts";
import { asOwner } from "../../../stack/connect.ts";
import { MIGRATIONS_FOLDER } from "../../../stack/migrations-folder.ts";

/** Arguments of every command on migration files. */
export const migrationArguments = {
  folder: { type: "string", description: "Folder of migrations; the package's own if not given", valueHint: "DIR" },
  json: { type: "boolean", default: false, description: "Print the result as JSON on stdout" },
} as const satisfies ArgsDef;

/** Where a command finds its database. */
export const databaseArguments = {
  "database-url": {
    type: "string",
    description: "Direct address of a database as its owner, instead of the stack's",
    valueHint: "URL",
  },
} as const satisfies ArgsDef;

/** The folder of migrations a command works on. */
export function migrationsFolder(args: { folder?: string | undefined }): string {
  return args.folder ?? MIGRATIONS_FOLDER;
}

/**
 * Runs `use` with a connection to the database a command was given: the stack's own, as its owner and past the pooler,
 * unless a URL says otherwise.
 *
 * @throws {StateError} if the stack is not up, or the database can't be reached.
 * @throws {UsageError} if the URL can't be used.
 */
export async function withDatabase<T>(
  args: { stack: string; "database-url"?: string | undefined },
  output: Output,
  use: (client: Client) => Promise<T>,
): Promise<T> {
  const url = args["database-url"];
  if (url === undefined) return asOwner(args, output, use);
  const client = clientOf(url);
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

/** Reads the URL and the certificates that it names. */
function clientOf(url: string): Client {
  try {
    return new Client({ connectionString: url, application_name: "aiwdb", connectionTimeoutMillis: 10_000 });
  } catch (error) {
    // Without its cause, which has the URL: it may hold a password.
    throw new UsageError("The database's URL can't be used:", [
      { subject: "--database-url", problem: messageOf(error) },
    ]);
  }
}
