import type { Client } from "pg";
import { StateError } from "../../base/errors.ts";

/**
 * Keeps off a database that somebody froze, before anything is prepared for a change.
 *
 * @throws StateError
 */
export async function refuseFrozenDatabase(client: Client): Promise<void> {
  const { rows } = await client.query<{ frozen: boolean }>(
    "select current_setting('transaction_read_only') = 'on' as frozen",
  );
  if (rows[0]?.frozen) throw frozenDatabase(client);
}

/** Somebody said on purpose that nothing is to be written; a transaction could say otherwise, and would go over their head. */
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
