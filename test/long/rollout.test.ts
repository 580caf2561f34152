import type pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { StackStatus } from "../../stack/status/status.ts";
import { readMigrations } from "../../migrate/chain/files.ts";
import { PHASE_NAMES, PHASES } from "../../migrate/chain/phases.ts";
import { fillTables, readTables, type Filled } from "../helpers/fill-tables.ts";
import { known } from "../helpers/known.ts";
import { mustSucceed } from "../helpers/real-stack.ts";
import { MIGRATIONS_FOLDER } from "../helpers/schema-database.ts";
import { temporaryStacks, type TemporaryStacks } from "../helpers/temporary-stacks.ts";

let stacks: TemporaryStacks;

beforeAll(async () => {
  stacks = await temporaryStacks();
});

afterAll(async () => {
  await stacks.sweep();
  stacks.checkout.remove();
});

/** Rows of each of the tables that were filled. */
async function countRows(client: pg.Client, filled: Filled): Promise<Filled> {
  const counts: Filled = new Map();
  for (const table of filled.keys())
    counts.set(table, Number((await client.query(`select count(*) from ${table}`)).rows[0].count));
  return counts;
}

test("goes from phase 1 to 4 one at a time on a stack with rows in every table, and loses none", async () => {
  const { checkout } = stacks;
  // Without the maintenance container: the retention policies that come with phase 4 would remove old rows, as they
  // should.
  const stack = stacks.add("rollout");
  let filled: Filled = new Map();
  const tablesByPhase: number[] = [];
  for (const phase of [1, 2, 3, 4]) {
    checkout.settings(stack, { rolloutPhase: phase, maintenanceIntervalMin: 0 });
    const preview = mustSucceed(await checkout.aiwdb(["preview", "--stack", stack])).all;
    for (const each of PHASES) {
      const left = readMigrations(MIGRATIONS_FOLDER).filter((migration) => migration.phase === each);
      const names = left.map(({ name }) => name).join(", ");
      expect(preview).toContain(
        `phase ${each} ${PHASE_NAMES[each]}: ${
          each < phase
            ? `all ${left.length} applied`
            : each === phase
              ? `${left.length} pending: ${names}`
              : `not asked for by rolloutPhase, ${left.length} left out`
        }`,
      );
    }
    mustSucceed(await stacks.up(stack));

    const status = JSON.parse(
      mustSucceed(await checkout.aiwdb(["status", "--stack", stack, "--json"])).stdout,
    ) as StackStatus;
    expect(known(status.migrations).pending).toEqual([]);
    expect(
      known(status.migrations).phases.map(({ applied, total }) =>
        applied === total ? "complete" : applied === 0 ? "none" : "partly",
      ),
    ).toEqual([1, 2, 3, 4].map((each) => (each <= phase ? "complete" : "none")));
    await stacks.asOwner(stack, async (client) => {
      for (const [table, rows] of await countRows(client, filled))
        expect(rows, `${table} after phase ${phase}`).toBeGreaterThanOrEqual(filled.get(table) ?? 0);
      tablesByPhase.push((await readTables(client)).length);
      filled = await fillTables(client);
    });
  }
  expect(tablesByPhase.at(-1)).toBe(78);
  expect(tablesByPhase).toEqual([...tablesByPhase].sort((a, b) => a - b));
});
