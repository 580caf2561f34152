import { beforeEach, describe, expect, it } from "vitest";
import { approveAll } from "../helpers/approve.ts";
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

/** A policy of 30 days beside the default ones. */
async function insertPolicy(table: string, conditions: Record<string, unknown>): Promise<void> {
  await owner.query(
    "insert into public.data_retention_policies (table_name, retention_period_days, policy_type, conditions) values ($1, 30, 'DELETE', $2)",
    [table, conditions],
  );
  await approveAll(owner);
}

/** Takes policies back that are not the default ones. */
async function dropPolicies(): Promise<void> {
  await owner.query("delete from audit.data_retention_logs");
  await owner.query("delete from public.data_retention_policies where conditions -> 'is_default' is null");
}

describe("apply_retention", () => {
  beforeEach(async () => {
    await owner.query("delete from audit.data_retention_logs");
  });

  it("drops a month when all of it is past its time, and says so", async () => {
    await insertMetrics(5, "300 days");
    await insertMetrics(7, "10 days");
    await owner.query("select * from maintenance.make_partitions(0)");
    await owner.query("analyze");
    await owner.query("call maintenance.apply_retention()");
    expect(
      await rowsOf(
        "select count(*)::integer from audit.security_metrics where recorded_at < now() - interval '180 days'",
      ),
    ).toEqual([{ count: 0 }]);
    expect(await numberOf("audit.security_metrics where recorded_at > now() - interval '20 days'")).toBe(7);
    expect(
      await rowsOf(
        "select table_name, retention_action, records_affected, execution_status, legal_basis from audit.data_retention_logs",
      ),
    ).toEqual([
      {
        table_name: "security_metrics",
        retention_action: "PURGE",
        records_affected: 5,
        execution_status: "SUCCESS",
        legal_basis: "GDPR Art. 6(1)(f)",
      },
    ]);
  });

  it("deletes from a plain table in batches, each committed by itself", async () => {
    await owner.query(
      "insert into public.users (username, email, hashed_password) values ('ada', 'ada@example.org', 'x')",
    );
    await owner.query(`
      insert into public.two_factor_challenges (user_id, challenge_type, challenge_data, session_token, created_at, expires_at)
      select users.id, 'totp', '{}', number::text, now() - interval '10 days', now() - case when number <= 25 then interval '9 days' else interval '1 day' end
      from public.users, generate_series(1, 30) as number where username = 'ada'`);
    // Batches of ten: two full ones and one of five.
    const before = await rowsOf<{ xid: string }>("select pg_current_xact_id()::text as xid");
    await owner.query("call maintenance.apply_retention(10)");
    const after = await rowsOf<{ xid: string }>("select pg_current_xact_id()::text as xid");
    expect(Number(after[0]?.xid) - Number(before[0]?.xid)).toBeGreaterThan(3);
    expect(await numberOf("public.two_factor_challenges")).toBe(5);
    expect(
      await rowsOf(
        "select records_affected, retention_action from audit.data_retention_logs where table_name = 'two_factor_challenges'",
      ),
    ).toEqual([{ records_affected: 25, retention_action: "DELETE" }]);
  });

  it("anonymizes what a policy names, once", async () => {
    await owner.query(`
      insert into public.registered_devices (user_id, device_name, device_fingerprint, user_agent, last_seen_at, last_ip_address)
      select id, 'laptop', 'print', 'browser', now() - interval '400 days', '192.0.2.1' from public.users`);
    await owner.query("call maintenance.apply_retention()");
    expect(await rowsOf("select device_name, last_ip_address from public.registered_devices")).toEqual([
      { device_name: "laptop", last_ip_address: null },
    ]);
    await owner.query("delete from audit.data_retention_logs");
    await owner.query("call maintenance.apply_retention()");
    expect(await rowsOf("select * from audit.data_retention_logs")).toEqual([]);
  });

  it("keeps to the restriction of a policy", async () => {
    await owner.query(`
      insert into public.data_retention_policies (table_name, retention_period_days, policy_type, conditions)
      values ('projects', 30, 'DELETE', '{"column": "created_at", "match": {"status": "trash", "framework": null}}')`);
    await approveAll(owner);
    await owner.query(`
      insert into public.projects (user_id, name, status, framework, created_at)
      select id, name, project.status, framework, now() - interval '31 days' from public.users, (values
        ('goes', 'trash', null), ('stays: active', 'active', null), ('stays: framework', 'trash', 'x')) as project (name, status, framework)`);
    await owner.query("call maintenance.apply_retention()");
    expect(await rowsOf("select name from public.projects order by 1")).toEqual([
      { name: "stays: active" },
      { name: "stays: framework" },
    ]);
  });

  it("keeps to the restriction of a policy on a log as well, and drops no month for it", async () => {
    await insertPolicy("security_violations", { column: "created_at", match: { resolved: "true" } });
    await owner.query(`
      insert into audit.security_violations (violation_type, severity, violation_details, resolved, created_at)
      select 'restricted', 'LOW', '{}', number % 3 = 0, now() - interval '90 days' from generate_series(1, 30) as number`);
    await owner.query("select * from maintenance.make_partitions(0)");
    await owner.query("call maintenance.apply_retention(4)");
    expect(await numberOf("audit.security_violations where violation_type = 'restricted' and resolved")).toBe(0);
    expect(await numberOf("audit.security_violations where violation_type = 'restricted'")).toBe(20);
    expect(
      await rowsOf("select retention_action, records_affected from audit.data_retention_logs where table_name = $1", [
        "security_violations",
      ]),
    ).toEqual([{ retention_action: "DELETE", records_affected: 10 }]);
    await dropPolicies();
  });

  it("carries out a policy on a log by another column than the month's", async () => {
    await insertPolicy("security_violations", { column: "resolved_at" });
    await owner.query(`
      insert into audit.security_violations (violation_type, severity, violation_details, created_at, resolved_at)
      select 'by another', 'LOW', '{}', now() - interval '90 days', now() - days * interval '1 day'
      from unnest(array[null, 1, 40, 80]) as days`);
    await owner.query("select * from maintenance.make_partitions(0)");
    await owner.query("call maintenance.apply_retention()");
    expect(await numberOf("audit.security_violations where violation_type = 'by another'")).toBe(2);
    await dropPolicies();
  });

  it("takes rows out of a default partition whose date no month has", async () => {
    await insertMetrics(1, "1 day");
    await owner.query(
      "update audit.security_metrics set recorded_at = '-infinity' where id in (select id from audit.security_metrics limit 1)",
    );
    await owner.query("call maintenance.apply_retention()");
    expect(await numberOf("audit.security_metrics where recorded_at = '-infinity'")).toBe(0);
  });

  it("goes on with the other tables while a reader holds one, makes nobody wait for long, and says which failed", async () => {
    await insertMetrics(3, "300 days");
    await owner.query("select * from maintenance.make_partitions(0)");
    await app.query(`
      insert into public.connection_health_metrics (recorded_at) values (now() - interval '70 days')`);
    await owner.query("select * from maintenance.make_partitions(0)");
    await owner.query("delete from maintenance.view_refreshes");

    const holder = await database.connect("app_user");
    await holder.query("begin");
    await holder.query("select count(*) from audit.security_metrics");
    const reader = await database.connect("app_user");
    const run = owner.query("call maintenance.run(3)");
    // The holder never lets go: whoever read was served because each try of the run ended by itself.
    expect(await answersDuring(reader, "select from audit.security_metrics limit 1", run)).toBeGreaterThan(0);
    expect((await holder.query("select pg_current_xact_id_if_assigned() is null as reads")).rows).toHaveLength(1);

    expect(await numberOf("audit.security_metrics where recorded_at < now() - interval '180 days'")).toBe(3);
    expect(await numberOf("public.connection_health_metrics where recorded_at < now() - interval '60 days'")).toBe(0);
    expect(
      await rowsOf(
        "select table_name, retention_action, execution_status, error_message from audit.data_retention_logs where execution_status <> 'SUCCESS'",
      ),
    ).toEqual([
      {
        table_name: "security_metrics",
        retention_action: "PURGE",
        execution_status: "FAILURE",
        error_message: expect.stringContaining("lock timeout (55P03)"),
      },
    ]);
    expect(await numberOf("maintenance.view_refreshes")).toBe(5);

    await holder.query("commit");
    await owner.query("call maintenance.run(3)");
    expect(await numberOf("audit.security_metrics where recorded_at < now() - interval '180 days'")).toBe(0);
  });

  it("goes on with the other tables while somebody locks one as a whole, or a view", async () => {
    await owner.query("delete from maintenance.view_refreshes");
    const holder = await database.connect("ai_workflow_owner");
    await holder.query("begin");
    await holder.query("lock table public.session_state in access exclusive mode");
    await holder.query("lock table only audit.audit_log in access exclusive mode");
    await holder.query("lock table public.tasks in access exclusive mode");
    await owner.query("call maintenance.run(9)");
    await holder.query("rollback");
    expect(
      await rowsOf(
        "select table_name, execution_status from audit.data_retention_logs where execution_status <> 'SUCCESS' order by 1",
      ),
    ).toEqual([{ table_name: "session_state", execution_status: "FAILURE" }]);
    // The user's dashboard counts tasks.
    expect(
      (await rowsOf<{ view_name: string }>("select view_name from maintenance.view_refreshes order by 1")).map(
        ({ view_name }) => view_name,
      ),
    ).not.toContain("user_dashboard_summary");
    expect(await numberOf("maintenance.view_refreshes")).toBe(4);
    expect(
      await rowsOf(
        "select distinct parent_table from maintenance.partitions where starts_at > now() + interval '8 months' order by 1",
      ),
    ).toEqual(LOGS.filter((log) => log !== "audit_log").map((parent_table) => ({ parent_table })));
    await owner.query("call maintenance.run(3)");
  });

  it("leaves rows that somebody else has locked to the next run, and waits for nobody", async () => {
    await insertPolicy("projects", { column: "created_at", match: { status: "old" } });
    await owner.query(`
      insert into public.projects (user_id, name, status, created_at)
      select id, number::text, 'old', now() - interval '40 days' from public.users, generate_series(1, 20) as number`);
    await app.query("begin");
    await app.query("select from public.projects where name in ('3', '4') for update");
    const second = await database.connect("ai_workflow_owner");
    await Promise.all([
      owner.query("call maintenance.apply_retention(3)"),
      second.query("call maintenance.apply_retention(3)"),
    ]);
    expect(await rowsOf("select name from public.projects where status = 'old' order by 1")).toEqual([
      { name: "3" },
      { name: "4" },
    ]);
    await app.query("rollback");
    // Two runs at once count every row once.
    expect(
      await rowsOf(
        "select sum(records_affected)::integer as rows, min(execution_status) as status from audit.data_retention_logs where table_name = 'projects'",
      ),
    ).toEqual([{ rows: 18, status: "SUCCESS" }]);
    await owner.query("call maintenance.apply_retention(3)");
    expect(await numberOf("public.projects where status = 'old'")).toBe(0);
    await dropPolicies();
  });

  it("leaves rows that are written meanwhile alone", async () => {
    await insertPolicy("projects", { column: "created_at", match: { status: "old" } });
    await owner.query(`
      insert into public.projects (user_id, name, status, created_at)
      select id, number::text, 'old', now() - interval '40 days' from public.users, generate_series(1, 300) as number`);
    const run = owner.query("call maintenance.apply_retention(10)");
    for (let n = 0; n < 20; n++) {
      await app.query(
        "insert into public.projects (user_id, name, status) select id, 'fresh', 'old' from public.users",
      );
      await app.query(
        "update public.projects set status = 'kept', name = 'changed' where id in (select id from public.projects where status = 'old' and name <> 'fresh' limit 1)",
      );
    }
    await run;
    expect(
      await rowsOf("select distinct name from public.projects where status in ('old', 'kept') order by 1"),
    ).toContainEqual({ name: "fresh" });
    expect(await numberOf("public.projects where name = 'fresh'")).toBe(20);
    expect(await numberOf("public.projects where status = 'old' and name <> 'fresh'")).toBe(0);
    await owner.query("delete from public.projects where name in ('fresh', 'changed')");
    await dropPolicies();
  });

  it("says which rows went and whose they were, but leaves no copy of them in the audit trail", async () => {
    await owner.query(`
      insert into public.authentication_sessions (session_id, user_id, ip_address, created_at, last_activity_at, expires_at)
      select 'long gone', id, '192.0.2.99', now() - interval '400 days', now() - interval '400 days', now() - interval '399 days' from public.users`);
    await owner.query("delete from audit.audit_log");
    await owner.query("call maintenance.apply_retention()");
    const trail = await rowsOf<Record<string, unknown>>(
      "select * from audit.audit_log where table_name = 'authentication_sessions'",
    );
    expect(trail).toHaveLength(1);
    expect(trail[0]).toMatchObject({
      operation: "DELETE",
      row_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      old_values: null,
      new_values: null,
      security_context: { maintenance: "retention", subject_user_id: expect.any(Number) },
    });
    expect(JSON.stringify(trail)).not.toContain("192.0.2.99");
  });

  it("can't be imitated by the application, whose deletions are copied whole", async () => {
    await owner.query("delete from audit.audit_log");
    await app.query("select set_config('aiwdb.maintenance', 'move', false)");
    await app.query("update public.registered_devices set device_name = 'another'");
    await app.query("select set_config('aiwdb.maintenance', 'retention', false)");
    await app.query("update public.registered_devices set device_name = 'a third'");
    await app.query("reset aiwdb.maintenance");
    expect(await rowsOf("select old_values, new_values from audit.audit_log order by created_at")).toEqual([
      { old_values: { device_name: "laptop" }, new_values: { device_name: "another" } },
      { old_values: { device_name: "another" }, new_values: { device_name: "a third" } },
    ]);
  });

  it("says what went wrong with one policy and goes on with the others", async () => {
    await owner.query(`
      insert into public.data_retention_policies (table_name, retention_period_days, policy_type, conditions) values
        ('no_such_table', 1, 'DELETE', '{"column": "created_at"}'),
        ('tasks', 1, 'DELETE', '{"column": "no_such_column"}'),
        ('tasks', 1, 'DELETE', null),
        ('documents', 1, 'ARCHIVE', '{"column": "created_at"}')`);
    await approveAll(owner);
    await owner.query("call maintenance.apply_retention()");
    const logged = await rowsOf<{ execution_status: string; error_message: string }>(
      "select execution_status, error_message from audit.data_retention_logs order by error_message",
    );
    expect(logged.map(({ execution_status }) => execution_status).toSorted()).toEqual([
      "FAILURE",
      "FAILURE",
      "FAILURE",
      "SKIPPED",
    ]);
    expect(logged.map(({ error_message }) => error_message).join()).toContain('column "no_such_column" does not exist');
    expect(await numberOf("public.data_retention_policies where is_active and last_run_at is null")).toBe(0);
  });

  it("takes names and values of a policy as data, never as SQL", async () => {
    await owner.query(`
      insert into public.data_retention_policies (table_name, retention_period_days, policy_type, conditions) values
        ('tasks; drop table public.tasks', 1, 'DELETE', '{"column": "created_at"}'),
        ('projects', 1, 'DELETE', '{"column": "created_at\\" < now() or true; --", "match": {"name": "x'' or true --"}}')`);
    await approveAll(owner);
    const before = await numberOf("public.projects");
    await owner.query("call maintenance.apply_retention()");
    expect(await numberOf("public.projects")).toBe(before);
  });
});

describe("the default policies", () => {
  /** A row without an end of its own; why no other policy takes it. */
  const KEPT_WITHOUT_AN_AGE: Record<string, string> = {
    "simple_chat_context.expires_at": "meant to last as long as its conversation",
    "access_requests.created_at": "has a default; nobody writes null",
  };

  it("take rows whose age is null by a second policy", async () => {
    const open = await rowsOf<{ column: string }>(`
      select format('%s.%s', table_name, conditions ->> 'column') as column
      from public.data_retention_policies as policy
      join pg_attribute on attrelid = maintenance.resolve_table(table_name) and attname = conditions ->> 'column'
      where conditions -> 'is_default' is not null and not attnotnull and conditions -> 'match' is null
        and not exists (
          select from public.data_retention_policies as other
          where other.table_name = policy.table_name and other.conditions -> 'match' -> attname = 'null'
        )
      order by 1`);
    expect(open.map(({ column }) => column)).toEqual(Object.keys(KEPT_WITHOUT_AN_AGE).toSorted());
  });

  it("remove sessions, tokens and work of the queue that never end, once nobody has used them for long", async () => {
    await owner.query(`
      insert into public.authentication_sessions (session_id, user_id, created_at, last_activity_at)
      select name, id, now() - interval '900 days', now() - days * interval '1 day'
      from public.users, (values ('idle', 400), ('in use', 3)) as session (name, days);
      insert into public.secure_token_storage (token_id, user_id, token_type, encrypted_value, created_at, last_accessed_at)
      select name, id, 'api', 'x', now() - interval '900 days', now() - days * interval '1 day'
      from public.users, (values ('idle', 400), ('in use', 3), ('never used', null)) as token (name, days);
      insert into public.auth_queue_operations (operation_id, operation_type, created_at)
      values ('stuck', 'x', now() - interval '100 days'), ('waiting', 'x', now() - interval '1 day')`);
    await owner.query("call maintenance.apply_retention()");
    expect(await rowsOf("select session_id from public.authentication_sessions")).toEqual([{ session_id: "in use" }]);
    expect(await rowsOf("select token_id from public.secure_token_storage")).toEqual([{ token_id: "in use" }]);
    expect(await rowsOf("select operation_id from public.auth_queue_operations")).toEqual([
      { operation_id: "waiting" },
    ]);
  });

  it("keep measures in force, however old", async () => {
    await owner.query(`
      insert into public.security_actions (action_type, target, reason, evidence, severity, status, created_at)
      select 'IP_BLOCK', status::text, 'r', '{}', 'LOW', status, now() - interval '900 days'
      from unnest(enum_range(null::public.securityactionstatus)) as status`);
    await owner.query("call maintenance.apply_retention()");
    expect(await rowsOf("select target from public.security_actions")).toEqual([{ target: "ACTIVE" }]);
  });

  it("find their rows by an index, on tables that no partition is dropped from", async () => {
    const scanned = await rowsOf(`
      select table_name, conditions ->> 'column' as column
      from public.data_retention_policies as policy
      where conditions -> 'is_default' is not null and not maintenance.goes_by_partition(policy) and not exists (
        select from pg_index join pg_attribute on attrelid = indrelid and attnum = indkey[0]
        where indrelid = maintenance.resolve_table(table_name) and attname = conditions ->> 'column'
          and (indpred is null or pg_get_expr(indpred, indrelid) in (
            select format('(%s IS NULL)', key) from jsonb_object_keys(conditions -> 'match') as key)))`);
    expect(scanned).toEqual([]);
  });
});
