import type { ArgsDef } from "citty";
import { Client } from "pg";
import { messageOf, StateError } from "../../../base/errors.ts";
import type { Output } from "../../../base/output.ts";
import { MIGRATIONS_FOLDER } from "../../../migrate/chain/files.ts";
import { asOwner } from "../../../stack/connect.ts";
import { jsonArgument, option, optionError } from "../../arguments.ts";

/** Arguments of every command on migration files. */
export const migrationArguments = {
  folder: option("DIR", "Folder of migrations; the package's own if not given"),
  ...jsonArgument,
} as const satisfies ArgsDef;

/** Says in which database a command works. */
export const databaseArguments = {
  "database-url": option("URL", "Direct address of a database as its owner, instead of the stack's"),
} as const satisfies ArgsDef;

/** The folder of migrations a command works on. */
export function migrationsFolder(args: { folder?: string | undefined }): string {
  return args.folder ?? MIGRATIONS_FOLDER;
}

/**
 * Runs `use` with a connection to the database at `--database-url`. Without that option it connects to the stack's own
 * database, as its owner and past the pooler.
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
  await client.connect().catch((cause: unknown) => {
    // Host and port, never the URL: it may have a password.
    const problem = { subject: `${client.host}:${client.port}`, problem: messageOf(cause) };
    throw new StateError("The database can't be reached:", [problem], { cause });
  });
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
    // Without its cause, which has the URL: it may have a password.
    throw optionError("The database's URL can't be used:", "--database-url", messageOf(error));
  }
}
