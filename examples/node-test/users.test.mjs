import assert from "node:assert/strict";
import { test } from "node:test";
import { testDatabase } from "ai-workflow-database/testing";

test("inserts a user", async () => {
  const db = await testDatabase({ label: "inserts a user", connect: true });
  try {
    await db.client.query(
      "insert into users (username, email, hashed_password) values ('ada', 'ada@example.com', 'x')",
    );
    const { rows } = await db.client.query("select username from users");
    assert.deepEqual(rows, [{ username: "ada" }]);
  } finally {
    await db.drop();
  }
});
