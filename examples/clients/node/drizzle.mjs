import assert from "node:assert/strict";
import { eq, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import { integer, pgTable, varchar } from "drizzle-orm/pg-core";

const users = pgTable("users", {
  id: integer("id").generatedByDefaultAsIdentity(),
  username: varchar("username"),
  email: varchar("email"),
  hashed_password: varchar("hashed_password"),
});
const database = drizzle(process.env.DATABASE_URL);
const read = database
  .select({ email: users.email })
  .from(users)
  .where(eq(users.username, sql.placeholder("username")))
  .prepare("email");
for (let number = 0; number < 10; number += 1) {
  const [username, email] = [`ada${number}`, `ada${number}@example.com`];
  await database.transaction((transaction) =>
    transaction.insert(users).values({ username, email, hashed_password: "x" }),
  );
  assert.deepEqual(await read.execute({ username }), [{ email }]);
  await database.delete(users).where(eq(users.username, username));
}
await database.$client.end();
