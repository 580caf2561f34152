import assert from "node:assert/strict";
import pg from "pg";

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL });
for (let number = 0; number < 10; number += 1) {
  const [name, email] = [`ada${number}`, `ada${number}@example.com`];
  const client = await pool.connect();
  try {
    await client.query("begin");
    await client.query("insert into users (username, email, hashed_password) values ($1, $2, 'x')", [name, email]);
    await client.query("commit");
  } catch (error) {
    await client.query("rollback");
    throw error;
  } finally {
    client.release();
  }
  // A query with a name is prepared once on each connection.
  const read = { name: "email", text: "select email from users where username = $1", values: [name] };
  assert.deepEqual((await pool.query(read)).rows, [{ email }]);
  await pool.query("delete from users where username = $1", [name]);
}
await pool.end();
