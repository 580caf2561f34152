import pg from "pg";

/** Clients that are busy meanwhile. More than two cores keep busy, and fewer than the pool has server connections. */
const CLIENTS = 8;

/**
 * Does some work while other clients of the same role keep the pooler busy. In transaction mode the work then gets one
 * server connection after the other, each with what others left there last: their unnamed statement, for one.
 *
 * @param url by which the others connect, in transaction mode
 */
export async function amongOthers<T>(url: string, work: () => Promise<T>): Promise<T> {
  const done = new AbortController();
  const others = Array.from({ length: CLIENTS }, async () => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      while (!done.signal.aborted) await client.query("select $1::text, $2::text", ["of", "another"]);
    } finally {
      await client.end();
    }
  });
  try {
    return await work();
  } finally {
    done.abort();
    await Promise.all(others);
  }
}
