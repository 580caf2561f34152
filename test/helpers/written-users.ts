import pg from "pg";

/** Changes of the table users, as the audit trail has them. */
export interface WrittenUsers {
  readonly inserts: number;
  readonly deletes: number;
  /** In how many transactions. */
  readonly transactions: number;
}

/**
 * Does some work and says what it changed in the table users.
 *
 * @param url of a role that may read the audit trail
 */
export async function writtenBy(url: string, work: () => Promise<unknown>): Promise<WrittenUsers> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const before = await counted(client);
    await work();
    const after = await counted(client);
    return {
      inserts: after.inserts - before.inserts,
      deletes: after.deletes - before.deletes,
      transactions: after.transactions - before.transactions,
    };
  } finally {
    await client.end();
  }
}

async function counted(client: pg.Client): Promise<WrittenUsers> {
  const { rows } = await client.query<WrittenUsers>(
    `select count(*) filter (where operation = 'INSERT')::int as inserts,
       count(*) filter (where operation = 'DELETE')::int as deletes,
       count(distinct transaction_id)::int as transactions
     from audit.audit_log where table_name = 'users'`,
  );
  return rows[0] as WrittenUsers;
}
