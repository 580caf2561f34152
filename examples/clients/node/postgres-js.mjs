import assert from "node:assert/strict";
import { sql } from "./database.mjs"; // aiwdb url --format postgres.js > database.mjs

for (let number = 0; number < 10; number += 1) {
  const [username, email] = [`ada${number}`, `ada${number}@example.com`];
  await sql.begin((sql) => sql`insert into users ${sql({ username, email, hashed_password: "x" })}`);
  assert.deepEqual([...(await sql`select email from users where username = ${username}`)], [{ email }]);
  await sql`delete from users where username = ${username}`;
}
await sql.end();
