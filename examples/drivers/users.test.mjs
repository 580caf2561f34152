import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { testDatabase } from "ai-workflow-database/testing";
import { drizzle } from "drizzle-orm/node-postgres";
import { pgTable, serial, varchar } from "drizzle-orm/pg-core";
import knex from "knex";
import { Kysely, PostgresDialect } from "kysely";
import pg from "pg";

const ada = { username: "ada", email: "ada@example.com", hashed_password: "x" };

let db;
beforeEach(async ({ name }) => {
  db = await testDatabase({ label: name });
});
afterEach(() => db.drop());

// End a pool before you give its database back. Connections that are still open are cut off, and the pool reports an error.

test("kysely", async () => {
  const kysely = new Kysely({ dialect: new PostgresDialect({ pool: new pg.Pool(db.config) }) });
  await kysely.insertInto("users").values(ada).execute();
  assert.deepEqual(await kysely.selectFrom("users").select("username").execute(), [{ username: "ada" }]);
  await kysely.destroy(); // ends the pool
});

test("drizzle", async () => {
  const users = pgTable("users", {
    id: serial("id"),
    username: varchar("username"),
    email: varchar("email"),
    hashed_password: varchar("hashed_password"),
  });
  const pool = new pg.Pool(db.config);
  const orm = drizzle(pool);
  await orm.insert(users).values(ada);
  assert.deepEqual(await orm.select({ username: users.username }).from(users), [{ username: "ada" }]);
  await pool.end();
});

test("knex", async () => {
  const query = knex({ client: "pg", connection: db.config });
  await query("users").insert(ada);
  assert.deepEqual(await query("users").select("username"), [{ username: "ada" }]);
  await query.destroy(); // ends the pool
});
