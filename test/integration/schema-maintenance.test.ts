import { describe, expect, it } from "vitest";
import {
  answersDuring,
  app,
  database,
  insertMetrics,
  LOGS,
  maintainedDatabase,
  numberOf,
  owner,
  rowsOf,
} from "../helpers/maintenance.ts";

maintainedDatabase();

describe("make_partitions", () => {
  it("makes this month and those ahead for every log, once", async () => {
    const made = await rowsOf<{ partition_name: string }>("select * from maintenance.make_partitions(2)");
    const logs = made.map(({ partition_name }) => partition_name.replace(/_y\d{4}m\d\d$/, ""));
    expect(logs.toSorted()).toEqual(LOGS.flatMap((log) => [log, log, log]));
    expect(await rowsOf("select * from maintenance.make_partitions(2)")).toEqual([]);
  });

  it("moves rows that came before their month existed, and the application sees no difference", async () => {
    await insertMetrics(3, "100 days");
    const { rows } = await app.query<{ id: string }>("select id from audit.security_metrics limit 1");
    expect(await numberOf("partitions.security_metrics_default")).toBe(3);

    const made = await rowsOf<{ moved_rows: string }>("select * from maintenance.make_partitions(2)");
    expect(made.reduce((sum, each) => sum + Number(each.moved_rows), 0)).toBe(3);
    expect(await numberOf("partitions.security_metrics_default")).toBe(0);
    expect((await app.query("select from audit.security_metrics where id = $1", [rows[0]?.id])).rowCount).toBe(1);
  });

  it("leaves a constraint, an index and a foreign key on a new partition as on its parent", async () => {
    const differences = await rowsOf(`
      select parent.conname from pg_constraint as parent
      join pg_inherits on inhparent = parent.conrelid
      where parent.contype in ('c', 'f', 'p') and not exists (
        select from pg_constraint as child where child.conrelid = inhrelid and child.contype = parent.contype
          and replace(pg_get_constraintdef(child.oid), ' NOT VALID', '') = pg_get_constraintdef(parent.oid) and child.convalidated)`);
    expect(differences).toEqual([]);
  });

  it("refuses nonsense", async () => {
    await expect(owner.query("select * from maintenance.make_partitions(-1)")).rejects.toThrow(
      "between 0 and 120 months",
    );
  });

  it("is not led astray by dates that no month has, nor by one of long ago, and makes a month only where a row is", async () => {
    await owner.query(`
      insert into audit.security_metrics (metric_name, metric_type, metric_value, recorded_at)
      select 'wrong clock', 'counter', 1, moment::timestamptz
      from unnest(array['-infinity', 'infinity', '4000-01-01 BC', '1200-06-01', '9999-12-31', '1975-05-05']) as moment`);
    await owner.query("set statement_timeout = '2min'");
    const made = await rowsOf<{ partition_name: string }>("select * from maintenance.make_partitions(2)");
    await owner.query("reset statement_timeout");
    expect(made.map(({ partition_name }) => partition_name)).toEqual(["security_metrics_y1975m05"]);
    expect(await numberOf("partitions.security_metrics_default")).toBe(5);
    await owner.query("delete from audit.security_metrics where metric_name = 'wrong clock'");
    await owner.query("drop table partitions.security_metrics_y1975m05");
  });

  it("leaves no trace in the audit trail of rows that it moves", async () => {
    await owner.query(
      "insert into audit.security_violations (violation_type, severity, violation_details, created_at) values ('t', 'LOW', '{}', now() - interval '70 days')",
    );
    const before = await numberOf("audit.audit_log");
    const made = await rowsOf("select * from maintenance.make_partitions(2, 'audit.security_violations')");
    expect(made).toMatchObject([{ moved_rows: "1" }]);
    expect(await numberOf("audit.audit_log")).toBe(before);
  });

  it("lets readers go on while it moves rows", async () => {
    await insertMetrics(50_000, "800 days");
    const reader = await database.connect("app_user");
    const move = owner.query("select * from maintenance.make_partitions(2, 'audit.security_metrics')");
    // One that queued behind it would be answered once, when it is done.
    expect(await answersDuring(reader, "select from audit.security_metrics limit 1", move)).toBeGreaterThan(1);
    await owner.query("delete from audit.security_metrics where recorded_at < now() - interval '700 days'");
  });

  it("gives up quickly instead of making logins queue behind it", async () => {
    const other = await database.connect("ai_workflow_owner");
    await other.query("begin");
    await other.query("lock table public.users in row exclusive mode");
    await other.query(
      "insert into public.device_login_attempts (email, device_fingerprint, ip_address, user_agent, was_successful, attempted_at) values ('a', 'b', 'c', 'd', true, '2020-01-15')",
    );
    const made = owner.query("select * from maintenance.make_partitions(4)").catch((error: Error) => error.message);
    // A login behind it, and then one more, are served while the lock that it wants is held all the time.
    const login = await database.connect("app_user");
    await login.query("begin; lock table public.users in row exclusive mode; rollback");
    expect(await made).toContain("lock timeout");
    await login.query("begin; lock table public.users in row exclusive mode; rollback");
    await other.query("rollback");
    await owner.query("select * from maintenance.make_partitions(4)");
  });

  it("waits for a table's lock half a second at most, like all of maintenance", async () => {
    const limits = await rowsOf<{ name: string; ms: number }>(`
      select proname as name, extract(epoch from split_part(setting, '=', 2)::interval)::float8 * 1000 as ms
      from pg_proc cross join lateral unnest(proconfig) as setting
      where pronamespace = 'maintenance'::regnamespace and setting like 'lock_timeout=%'`);
    expect(limits.map(({ name }) => name)).toContain("make_partitions");
    expect(limits.filter(({ ms }) => ms <= 0 || ms > 500)).toEqual([]);
  });
});

describe("refresh_views", () => {
  it("shows new rows and how fresh they are", async () => {
    await insertMetrics(2, "1 day");
    const [before] = await rowsOf<{ now: string }>("select clock_timestamp()::text as now");
    const refreshed = await rowsOf<{ view_name: string }>("select * from maintenance.refresh_views()");
    expect(refreshed.map(({ view_name }) => view_name)).toEqual([
      "auth_security_summary",
      "connection_health_summary",
      "security_metrics_summary",
      "session_health_summary",
      "user_dashboard_summary",
    ]);
    expect(await numberOf("public.security_metrics_summary")).toBeGreaterThan(0);
    expect(await rowsOf("select from maintenance.view_freshness where refreshed_at >= $1", [before?.now])).toHaveLength(
      5,
    );
  });

  it("does not keep readers waiting", async () => {
    await app.query("begin");
    await app.query("select count(*) from public.user_dashboard_summary");
    await owner.query("set statement_timeout = '2min'");
    await owner.query("select * from maintenance.refresh_views()");
    await owner.query("reset statement_timeout");
    expect((await app.query("select count(*) from public.user_dashboard_summary")).rowCount).toBe(1);
    await app.query("commit");
  });
});

describe("run", () => {
  it("does all of it", async () => {
    await owner.query("call maintenance.run(11)");
    expect(await numberOf("maintenance.partitions where starts_at > now() + interval '10 months'")).toBe(LOGS.length);
  });
});

describe("a check that rows from before break", () => {
  it("does not stop the migration, is reported with its rows, and validated once they are corrected", async () => {
    const steps =
      database.migrations.length - database.migrations.findIndex(({ name }) => name.endsWith("add_application_checks"));
    await database.down(steps);
    await owner.query(`
      insert into public.users (username, email, hashed_password) values ('ada', 'ada@example.org', 'x');
      insert into public.tasks (user_id, title, completion_percentage) select id, 'too much', 130 from public.users`);
    await database.up();

    const found = await rowsOf<{ table_name: string; constraint_name: string; row_values: unknown }>(
      "select * from maintenance.check_violations()",
    );
    expect(found).toMatchObject([
      {
        table_name: "public.tasks",
        constraint_name: "tasks_completion_percentage_range",
        row_values: { completion_percentage: 130 },
      },
    ]);
    await expect(
      app.query(
        "insert into public.tasks (user_id, title, completion_percentage) select id, 'new', 140 from public.users",
      ),
    ).rejects.toThrow("tasks_completion_percentage_range");

    await owner.query("update public.tasks set completion_percentage = 100 where completion_percentage > 100");
    expect(await rowsOf("select validated from maintenance.validate_checks()")).toEqual([{ validated: true }]);
    expect(await rowsOf("select * from maintenance.check_violations()")).toEqual([]);
  });
});
