import { type ArgsDef, type CommandDef, runCommand } from "citty";
import type { Client } from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import maintain from "../../cli/commands/maintain.ts";
import privacy from "../../cli/commands/privacy.ts";
import { StateError, UsageError } from "../../toolchain/errors.ts";
import { approveAll } from "../helpers/approve.ts";
import { fillTables } from "../helpers/fill-tables.ts";
import { createSchemaDatabase, type SchemaDatabase } from "../helpers/schema-database.ts";

// The commands as they are, but for the stack: they get the owner's connection to a test database.
let owner: Client;
vi.mock("../../cli/stack/connect.ts", () => ({ requestedConnection: () => ({}) }));
vi.mock("../../infra/provider/connection.ts", () => ({
  withConnection: (_connection: unknown, use: (client: Client) => unknown) => use(owner),
}));

let database: SchemaDatabase;
let printed: string;

beforeAll(async () => {
  database = await createSchemaDatabase("commands");
  owner = await database.connect("ai_workflow_owner");
  await fillTables(owner, 2);
}, 60_000);
afterAll(async () => {
  await database?.close();
});
beforeEach(() => {
  printed = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    printed += String(text);
    return true;
  });
  vi.spyOn(process.stderr, "write").mockReturnValue(true);
});
afterEach(() => {
  vi.restoreAllMocks();
});

function run<T extends ArgsDef>(command: CommandDef<T>, ...rawArgs: string[]): Promise<unknown> {
  return runCommand(command, { rawArgs });
}

async function failureOf(work: Promise<unknown>): Promise<StateError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(StateError);
  return error as StateError;
}

describe("aiwdb maintain", () => {
  it.each([
    ["--months-ahead", "x"],
    ["--months-ahead", "-1"],
    ["--months-ahead", "121"],
    ["--months-ahead", "1.5"],
    ["--batch-size", "0"],
    ["--batch-size", "1e9"],
    ["--batch-size", ""],
  ])("refuses %s %j as wrong usage", async (argument, value) => {
    const error = run(maintain, `${argument}=${value}`);
    await expect(error).rejects.toThrow(UsageError);
    await expect(error).rejects.toThrow(argument);
  });

  it("makes the partitions log by log, each in a transaction of its own", async () => {
    await run(maintain, "--json", "--months-ahead", "2");
    const report = JSON.parse(printed) as { partitions: { partition_name: string }[]; problems: unknown[] };
    expect(report.problems).toEqual([]);
    expect(new Set(report.partitions.map(({ partition_name }) => partition_name.replace(/_y\d+m\d+$/, ""))).size).toBe(
      8,
    );
    const { rows } = await owner.query<{ transactions: number }>(`
      select count(distinct child.xmin::text)::integer as transactions
      from pg_class as child join pg_inherits on inhrelid = child.oid join maintenance.partitions as part on part.partition_name = child.relname
      where child.relkind = 'r' and not part.is_default`);
    expect(rows[0]?.transactions).toBe(8);
  });

  it("does what it can when a table is locked, then fails and names it", async () => {
    const holder = await database.connect("app_user");
    await holder.query("begin");
    await holder.query("select from public.device_login_attempts");
    const error = await failureOf(run(maintain, "--months-ahead", "4"));
    await holder.query("commit");
    expect(error.exitCode).toBe(1);
    expect(error.problems).toEqual([
      { subject: "public.device_login_attempts", problem: expect.stringMatching(/^partitions were not made: .*55P03/) },
    ]);
    expect(printed).toMatch(/views {7}5 refreshed/);
    const { rows } = await owner.query(
      "select distinct parent_table from maintenance.partitions where starts_at > now() + interval '3 months'",
    );
    expect(rows).toHaveLength(7);
    await run(maintain, "--months-ahead", "4");
  });

  it("says in words that the list of policies is locked, instead of waiting for ever", async () => {
    const holder = await database.connect("ai_workflow_owner");
    await holder.query("begin");
    await holder.query("lock table public.data_retention_policies in access exclusive mode");
    const error = await failureOf(run(maintain));
    await holder.query("rollback");
    expect(error.message).toMatch(/somebody else has locked.*\n- lock: .*lock timeout/);
  });

  it("fails when a policy does", async () => {
    await owner.query(`
      insert into public.data_retention_policies (table_name, retention_period_days, policy_type, conditions)
      values ('tasks', 1, 'DELETE', '{"column": "no_such_column"}')`);
    await approveAll(owner);
    const error = await failureOf(run(maintain));
    expect(error.message).toContain('tasks: retention: FAILURE: column "no_such_column" does not exist');
    await owner.query("delete from audit.data_retention_logs");
    await owner.query("delete from public.data_retention_policies where table_name = 'tasks'");
  });
});

describe("aiwdb privacy", () => {
  it("says why a user under a legal hold stays, and what to do", async () => {
    const { rows } = await owner.query<{ id: number }>("select min(id) as id from public.users");
    const id = rows[0]?.id ?? 0;
    await owner.query(
      "update public.forensic_investigations set legal_hold = true, status = 'ANALYSIS', affected_users = array[$1::integer]",
      [id],
    );
    for (const what of ["erase", "pseudonymise"]) {
      const error = await failureOf(run(privacy, what, "--user", String(id), "--yes"));
      expect(error.message).toContain(`User ${id} is under a legal hold`);
      expect(error.message).toContain("Close the case or lift its legal hold first.");
    }
    await owner.query("update public.forensic_investigations set legal_hold = false");
    await run(privacy, "erase", "--user", String(id), "--yes");
    expect(printed).toContain("user_id");
  });

  it("says that there is no such user", async () => {
    expect((await failureOf(run(privacy, "export", "--user", "999999"))).message).toContain("There is no user 999999");
  });
});
