import { Client } from "pg";
import { test } from "ai-workflow-database/testing/vitest";

// Each test has a database of its own with the whole schema, so both may insert the same user.
for (const name of ["first", "second"]) {
  test(`the ${name} test starts with an empty table`, async ({ db, expect }) => {
    const client = await db.connect();
    const before = await client.query("select count(*)::integer as count from users");
    expect(before.rows).toEqual([{ count: 0 }]);
    await client.query("insert into users (username, email, hashed_password) values ('ada', 'ada@example.com', 'x')");
    const after = await client.query("select username from users");
    expect(after.rows).toEqual([{ username: "ada" }]);
  });
}

test("any driver connects with db.config, under the roles of production", async ({ db, expect }) => {
  const client = new Client(db.config);
  await client.connect();
  const { rows } = await client.query("select current_user as role, ssl from pg_stat_ssl where pid = pg_backend_pid()");
  await client.end();
  expect(rows).toEqual([{ role: "app_user", ssl: true }]);
});
