import type { Client } from "pg";
import { StateError } from "../../base/errors.ts";

/**
 * Looks whether somebody has frozen the database of a connection.
 *
 * @throws {StateError} if it is frozen.
 */
export async function refuseFrozenDatabase(client: Client): Promise<void> {
  const { rows } = await client.query<{ frozen: boolean }>(
    "select current_setting('transaction_read_only') = 'on' as frozen",
  );
  if (rows[0]?.frozen) throw frozenDatabase(client);
}

/**
 * The error of a change to a frozen database.
 *
 * A read-write transaction could still change it. The package never opens one, because somebody has frozen the database
 * on purpose.
 */
export function frozenDatabase(client: Client): StateError {
  return new StateError("The database is frozen; nothing was changed:", [
    {
      subject: client.database ?? "database",
      problem: "takes no changes: default_transaction_read_only is on for it, its role or its server.",
      remedy:
        "`aiwdb status` says where. When changes are allowed again, take it back there, as by " +
        "`begin read write; alter database … reset default_transaction_read_only; commit`.",
    },
  ]);
}
