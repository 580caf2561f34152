import { writeFileSync } from "node:fs";
import path from "node:path";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { preparedColumns } from "../helpers/python.ts";
import { mustSucceed } from "../helpers/real-stack.ts";
import { temporaryStacks, type TemporaryStacks } from "../helpers/temporary-stacks.ts";

// PgBouncer keeps what clients prepared on its server connections. After a change of a table's columns every new client
// that prepares the same statement was refused there: `cached plan must not change result type`.
let temporary: TemporaryStacks;
let stack: string;
let url: string;

beforeAll(async () => {
  temporary = await temporaryStacks();
  stack = temporary.add("prepared", { rolloutPhase: 4, pgbouncerDefaultPoolSize: 2 });
  mustSucceed(await temporary.up(stack));
  url = mustSucceed(await temporary.checkout.aiwdb(["url", "--stack", stack, "--role", "app_user"])).stdout.trim();
});
afterAll(async () => {
  await temporary.sweep();
  temporary.checkout.remove();
});

/** A new client of node-postgres, which prepares the statement under a name. */
async function nodeColumns(): Promise<string[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { fields } = await client.query({ name: "everything", text: "select * from public.users limit 1" });
    return fields.map(({ name }) => name);
  } finally {
    await client.end();
  }
}

const DRIVERS = [
  ["node-postgres", nodeColumns],
  ["psycopg", () => preparedColumns(url)],
] as const;

/** What each driver's new clients see; several, so that every server connection of the pool is met. */
async function columns(): Promise<Record<string, string[]>> {
  const seen: Record<string, string[]> = {};
  for (const [name, ask] of DRIVERS) for (let each = 0; each < 4; each += 1) seen[name] = await ask();
  return seen;
}

test("clients that prepare a statement again are served after a migration of its table, and after a rollback", async () => {
  const before = await columns();
  const narrow = before["psycopg"] ?? [];
  expect(before).toEqual({ "node-postgres": narrow, psycopg: narrow });

  const folder = path.join(temporary.checkout.root, "migrations");
  const header =
    "-- Phase: 4\n-- Why: a test needs another column.\n-- Lock: access exclusive on users, for a moment.\n\n";
  writeFileSync(
    path.join(folder, "0065_widen_users.up.sql"),
    `${header}alter table public.users add column widened integer;\n`,
  );
  writeFileSync(
    path.join(folder, "0065_widen_users.down.sql"),
    `${header}alter table public.users drop column widened;\n`,
  );
  mustSucceed(await temporary.up(stack));
  const wide = [...narrow, "widened"];
  expect(await columns()).toEqual({ "node-postgres": wide, psycopg: wide });

  mustSucceed(await temporary.checkout.aiwdb(["rollback", "--stack", stack, "--steps", "1", "--accept-data-loss"]));
  expect(await columns()).toEqual({ "node-postgres": narrow, psycopg: narrow });
});
