import type { Client } from "pg";
import { beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import maintain from "../../cli/commands/maintain.ts";
import retention from "../../cli/commands/retention.ts";
import { UsageError } from "../../base/errors.ts";
import { approveAll } from "../helpers/approve.ts";
import {
  commandsDatabase,
  database,
  failureOf,
  forgetPrinted,
  printed,
  run,
  owner,
  takeOutput,
} from "../helpers/commands.ts";

// The commands as they are, but for the stack: they get the owner's connection to a test database.
vi.mock("../../stack/connect.ts", () => ({
  asOwner: (_args: unknown, _output: unknown, work: (client: Client) => unknown) => work(owner),
}));

commandsDatabase();
takeOutput();

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
    await owner.query("delete from maintenance.view_refreshes");
    const error = await failureOf(run(maintain));
    await holder.query("rollback");
    expect(error.message).toMatch(/somebody else has locked.*\n- lock: .*lock timeout/);
    // The views don't wait for the policies.
    expect((await owner.query("select from maintenance.view_refreshes")).rowCount).toBe(5);
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

describe("aiwdb retention", () => {
  let app: Client;
  let id: string;
  beforeAll(async () => {
    app = await database.connect("app_user");
  });
  beforeEach(async () => {
    await owner.query("delete from audit.data_retention_logs");
    await owner.query("delete from public.data_retention_policies where conditions -> 'is_default' is null");
    const { rows } = await app.query<{ id: string }>(`
      insert into public.data_retention_policies (table_name, retention_period_days, policy_type, conditions)
      values ('projects', 30, 'DELETE', '{"column": "created_at", "match": {"status": "trash"}}') returning id`);
    id = rows[0]?.id ?? "";
  });

  async function listed(...args: string[]): Promise<{ policyId: string; state: string; digest: string }[]> {
    forgetPrinted();
    await run(retention, "list", "--json", ...args);
    return (JSON.parse(printed) as { policies: { policyId: string; state: string; digest: string }[] }).policies;
  }

  it("says how many more there are than it lists", async () => {
    await app.query(`
      insert into public.data_retention_policies (table_name, retention_period_days, policy_type, conditions)
      select 'projects', 30 + n, 'DELETE', '{"column": "created_at"}' from generate_series(1, 1000) as n`);
    await run(retention, "list", "--json");
    expect(JSON.parse(printed)).toMatchObject({ policies: { length: 1000 }, total: 1001 });
    forgetPrinted();
    await run(retention, "list");
    expect(printed).toContain("These are the first 1000 of 1001 policies.");
    await run(maintain);
    expect(printed).toContain("1001 policies wait for approval");
  });

  it("waits for no lock that the application keeps", async () => {
    const holder = await database.connect("app_user");
    await holder.query("begin; lock table public.data_retention_policies in access exclusive mode");
    expect((await failureOf(run(retention, "list"))).message).toContain("lock timeout");
    const { rows } = await owner.query<{ problem: string }>(
      "select problem from maintenance.plan_retention((select min(policy_id::text)::uuid from maintenance.retention_approvals), now())",
    );
    await holder.query("rollback");
    expect(rows).toEqual([{ problem: "canceling statement due to lock timeout (55P03)" }]);
  });

  it("lists what waits, with what it would do; with --all the others too", async () => {
    expect(await listed()).toMatchObject([
      {
        policyId: id,
        state: "proposed",
        action: 'delete rows of "projects" whose "created_at" is more than 30 days ago and "status" = "trash"',
        problems: [],
      },
    ]);
    const all = await listed("--all");
    expect(all.length).toBeGreaterThan(30);
    expect(all).toContainEqual(
      expect.objectContaining({
        action:
          'delete rows of "auth_queue_operations" whose "created_at" is more than 90 days ago and "completed_at" is null',
      }),
    );
    forgetPrinted();
    await run(retention, "list");
    expect(printed).toMatch(new RegExp(`^proposed {2}${id} {2}delete rows of "projects"`));
  });

  it.each(["12345678901234567890", "1.0", "1e400"])(
    "lists the number %s as the one that is approved",
    async (number) => {
      await app.query("update public.data_retention_policies set conditions = $2 where id = $1", [
        id,
        `{"column": "created_at", "match": {"status": ${number}}}`,
      ]);
      const { rows } = await owner.query<{ value: string }>("select ($1::jsonb)::text as value", [number]);
      expect(await listed()).toMatchObject([
        { action: expect.stringMatching(new RegExp(`"status" = ${rows[0]?.value}$`)) },
      ]);
    },
  );

  it("says what an approval would do before it does, and then wants the digest of what was looked at", async () => {
    const digest = (await listed())[0]?.digest ?? "";
    for (const args of [[], ["--digest", digest], ["--yes"]]) {
      const refusal = run(retention, "approve", "--policy", id, ...args);
      await expect(refusal).rejects.toThrow(UsageError);
      await expect(refusal).rejects.toThrow(
        `This would let maintenance delete rows of "projects" whose "created_at" is more than 30 days ago and "status" = "trash"; nothing has been changed.`,
      );
      await expect(refusal).rejects.toThrow(
        `aiwdb retention approve --policy ${id} --digest ${digest} --yes --stack dev`,
      );
    }
    await app.query("update public.data_retention_policies set conditions = conditions - 'match' where id = $1", [id]);
    const error = await failureOf(run(retention, "approve", "--policy", id, "--digest", digest, "--yes"));
    expect(error.message).toContain("is not what was looked at");
    expect((await listed())[0]?.state).toBe("proposed");
  });

  it("approves, and withdraws", async () => {
    const digest = (await listed())[0]?.digest ?? "";
    await run(retention, "approve", "--policy", id, "--digest", digest, "--yes");
    expect(await listed()).toEqual([]);
    await expect(run(retention, "withdraw", "--policy", id)).rejects.toThrow('no longer delete rows of "projects"');
    await run(retention, "withdraw", "--policy", id, "--yes");
    expect((await listed())[0]?.state).toBe("proposed");
    expect((await failureOf(run(retention, "withdraw", "--policy", id, "--yes"))).message).toContain("is not approved");
  });

  it("says why a policy can't be approved, and that there is none", async () => {
    await app.query("update public.data_retention_policies set table_name = 'nowhere' where id = $1", [id]);
    const digest = (await listed())[0]?.digest ?? "";
    const error = await failureOf(run(retention, "approve", "--policy", id, "--digest", digest, "--yes"));
    expect(error.message).toContain('There is no table "nowhere".');
    const other = "00000000-0000-4000-8000-000000000000";
    expect((await failureOf(run(retention, "approve", "--policy", other))).message).toContain("no such policy");
    await expect(run(retention, "approve", "--policy", "x")).rejects.toThrow(UsageError);
  });

  it("lets nothing that the application wrote steer the terminal", async () => {
    await app.query("update public.data_retention_policies set table_name = $2 where id = $1", [
      id,
      "a\u001b[2J\u009b1m\r\nb",
    ]);
    await run(retention, "list");
    expect(printed).not.toMatch(/[^\P{Cc}\n]/u);
    expect(
      printed
        .trim()
        .split("\n")
        .filter((line) => line.startsWith("b")),
    ).toEqual([]);
  });

  it("says so at `aiwdb maintain` when the application keeps what was done out of the log", async () => {
    await owner.query(
      "insert into public.projects (user_id, name, status, created_at) select min(id), 'x', 'trash', now() - interval '60 days' from public.users",
    );
    const digest = (await listed())[0]?.digest ?? "";
    await run(retention, "approve", "--policy", id, "--digest", digest, "--yes");
    await app.query("begin");
    await app.query("select from public.data_retention_policies where id = $1 for update", [id]);
    const error = await failureOf(run(maintain));
    await app.query("rollback");
    expect(error.message).toMatch(new RegExp(`DELETE by policy ${id} of 1 rows could not be logged`));
  });

  it("leaves word at `aiwdb maintain`, which carries out nothing that waits and believes no entry of the application's", async () => {
    const plant = (executedAt: string) =>
      app.query(
        `insert into audit.data_retention_logs (policy_id, table_name, retention_action, criteria_applied, scheduled_at, executed_at, execution_status, error_message, compliance_reason)
         values ($1, 'projects', 'DELETE', '{}', now(), ${executedAt}, 'FAILURE', 'planted', 'x')`,
        [id],
      );
    await expect(plant("now() + interval '1 hour'")).rejects.toThrow("which is not now, so the entry is refused");
    await plant("now()");
    forgetPrinted();
    await run(maintain, "--json");
    expect(JSON.parse(printed)).toMatchObject({ problems: [], waiting: [{ policyId: id, state: "proposed" }] });
    expect(printed).not.toContain("planted");
    forgetPrinted();
    await run(maintain);
    expect(printed).toContain(
      "approval    1 policy waits for approval and is not carried out; see `aiwdb retention list --stack dev`",
    );
  });
});
