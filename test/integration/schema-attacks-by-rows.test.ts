import type { Client } from "pg";
import { afterEach, describe, expect, it } from "vitest";
import { attackDatabase, clients, database, endsOf, owner, valuesOf } from "../helpers/attackers.ts";

attackDatabase();

describe("an approval", () => {
  const propose = async (conditions: unknown): Promise<string> => {
    const [id] = await valuesOf(
      clients.app_user,
      `insert into public.data_retention_policies (table_name, retention_period_days, policy_type, conditions)
       values ('tasks', 4000, 'DELETE', $1) returning id`,
      [JSON.stringify(conditions)],
    );
    return String(id);
  };
  const stateOf = (id: string) =>
    valuesOf(owner, "select state from maintenance.retention_status where policy_id = $1", [id]);
  const approve = (id: string) => owner.query("select maintenance.approve_retention($1)", [id]);
  afterEach(async () => {
    await owner.query("delete from public.data_retention_policies where table_name in ('tasks', 'documents')");
  });

  it("goes by a digest of which nobody makes two alike: 160 bits", async () => {
    const id = await propose({ column: "created_at", reason: "harmless" });
    const [digest] = await valuesOf(
      owner,
      `select maintenance.retention_digest(table_name, retention_period_days, policy_type, conditions)
       from public.data_retention_policies where id = $1`,
      [id],
    );
    expect(digest).toMatch(/^[0-9a-f]{40}$/);
  });

  it.each([
    [
      "ON CONFLICT",
      "insert into public.data_retention_policies (id, table_name, retention_period_days, policy_type) values ($1, 'documents', 1, 'DELETE') on conflict (id) do update set retention_period_days = 1",
    ],
    [
      "a type that only looks alike",
      `update public.data_retention_policies set conditions = '{"column": "created_at", "match": {"title": "true"}}' where id = $1`,
    ],
    [
      "a longer restriction that means less",
      `update public.data_retention_policies set conditions = '{"column": "created_at", "match": null}' where id = $1`,
    ],
    [
      "another date",
      `update public.data_retention_policies set conditions = '{"column": "updated_at", "match": {"title": "x"}}' where id = $1`,
    ],
    ["another table", "update public.data_retention_policies set table_name = 'documents' where id = $1"],
  ])("does not follow the row through %s", async (_what, sql) => {
    const id = await propose({ column: "created_at", match: { title: "x" } });
    await approve(id);
    expect(await stateOf(id)).toEqual(["approved"]);
    await clients.app_user.query(sql, [id]);
    expect(await stateOf(id)).toEqual(["changed"]);
  });

  it("does not go over to another row that takes its key", async () => {
    const id = await propose({ column: "created_at", match: { title: "x" } });
    await approve(id);
    const other = await propose({ column: "created_at" });
    await clients.app_user.query("delete from public.data_retention_policies where id = $1", [id]);
    await clients.app_user.query("update public.data_retention_policies set id = $1 where id = $2", [id, other]);
    expect(await stateOf(id)).toEqual(["changed"]);
  });

  it("is not brought about by an entry in the log of retention, nor by dates of the row", async () => {
    const id = await propose({ column: "created_at" });
    await clients.app_user.query(
      `insert into audit.data_retention_logs (policy_id, table_name, retention_action, records_affected, criteria_applied, scheduled_at, execution_duration_seconds, execution_status, compliance_reason)
       values ($1, 'tasks', 'DELETE', 0, '{}', now(), 0, 'SUCCESS', 'planted')`,
      [id],
    );
    await clients.app_user.query(
      "update public.data_retention_policies set created_at = '-infinity', last_run_at = 'infinity' where id = $1",
      [id],
    );
    expect(await stateOf(id)).toEqual(["proposed"]);
    await owner.query("delete from audit.data_retention_logs where policy_id = $1", [id]);
  });
});

describe("who acts", () => {
  const trail = async (): Promise<{ user_id: number | null; security_context: Record<string, unknown> } | undefined> =>
    (await owner.query("select user_id, security_context from audit.audit_log order by created_at desc, id limit 1"))
      .rows[0];
  const change = (client: Client) =>
    client.query(
      "update public.users set theme = md5(clock_timestamp()::text) where id = (select min(id) from public.users)",
    );

  it("is not planted in the role's own settings", async () => {
    for (const name of ["app.user_id", "app.identity_seal", "aiwdb.maintenance"]) {
      expect(
        await endsOf(
          clients.app_user,
          `do $$ begin execute format('alter role app_user in database %I set ${name} = 42', current_database()); end $$`,
        ),
      ).toEqual([`42501: permission denied to set parameter "${name}"`]);
    }
    const victim = await database.connect("app_user");
    await change(victim);
    await victim.end();
    const entry = await trail();
    expect(entry?.user_id).toBeNull();
    expect(entry?.security_context).not.toHaveProperty("unproven_identity");
  });

  it.each([
    "set quote_all_identifiers = on",
    "set transform_null_equals = on",
    "set standard_conforming_strings = off",
    "set array_nulls = off",
    "set datestyle = 'sql, dmy'; set timezone = 'UTC+167:59'; set intervalstyle = 'sql_standard'",
    "set search_path = ''",
    "set plpgsql.extra_errors = 'all'",
    "set default_transaction_isolation = 'serializable'",
  ])("and what was changed is told under %s as without", async (setting) => {
    const client = await database.connect("app_user");
    await client.query(setting);
    await client.query("begin");
    await client.query("select audit.act_as(7, 'session', '192.0.2.7', 'browser')");
    await change(client);
    await client.query("commit");
    await client.end();
    const entry = await trail();
    expect(entry?.user_id).toBe(7);
    expect(entry?.security_context).toMatchObject({ origin: "trigger", db_role: "app_user" });
  });

  it("is not borrowed by a savepoint that is rolled back after the settings were copied", async () => {
    const client = clients.app_user;
    await client.query("begin");
    await client.query("savepoint before; select audit.act_as(4242)");
    const [seal] = await valuesOf(client, "select current_setting('app.identity_seal')");
    await client.query("rollback to savepoint before");
    await client.query("select audit.act_as(7)");
    await client.query("select set_config('app.user_id', '4242', true)");
    await change(client);
    await client.query("commit");
    expect((await trail())?.user_id).toBeNull();
    await client.query("begin");
    await client.query("select set_config('app.user_id', '4242', true), set_config('app.identity_seal', $1, true)", [
      seal,
    ]);
    await change(client);
    await client.query("commit");
    expect((await trail())?.user_id).toBeNull();
  });
});

describe("rows that the application dates or fills itself", () => {
  it("make 24 months of the past at a time, however many they name", async () => {
    await clients.app_user.query(
      `insert into public.connection_health_metrics (recorded_at, health_status, total_requests, successful_requests, failed_requests, consecutive_failures, queue_size)
       select make_date(1970 + month / 12, 1 + month % 12, 3), 'healthy', 1, 1, 0, 0, 0 from generate_series(0, 599) as month`,
    );
    const made = () =>
      valuesOf(
        owner,
        `select starts_at::date::text from maintenance.make_partitions(0, 'public.connection_health_metrics')
         where starts_at < date_trunc('month', now(), 'UTC') order by 1`,
      );
    const [first, second] = [await made(), await made()];
    expect([first.length, second.length]).toEqual([24, 24]);
    // The latest first, so that the oldest of one call is next to the latest of the next.
    expect(String(second.at(-1)) < String(first[0])).toBe(true);
    expect(first).toContain("2019-12-01");
    await owner.query("call maintenance.run(0)");
    expect(
      await valuesOf(
        owner,
        "select count(*)::int from public.connection_health_metrics where recorded_at < '2020-01-01'",
      ),
    ).toEqual([0]);
  });

  it.each([
    ["a NUL", String.raw`{"a": "\u0000"}`],
    ["half a surrogate", String.raw`{"a": "\ud800"}`],
    ["a number beyond all types", `{"a": 1e999999}`],
    ["a depth that jsonb does not walk", `${'{"a":'.repeat(5_000)}1${"}".repeat(5_000)}`],
  ])("go into an audited table, the trail, the export and the erasure with %s in JSON", async (_what, json) => {
    const [id] = await valuesOf(
      clients.app_user,
      "insert into public.users (username, email, hashed_password) values ($1::text, $1 || '@example.org', 'x') returning id",
      [`odd.${Buffer.from(json).toString("hex").slice(0, 20)}.${json.length}`],
    );
    const sessions =
      "select new_values -> 'session_metadata' as value from audit.audit_log where table_name = 'authentication_sessions' order by created_at desc limit 1";
    await clients.app_user.query(
      "insert into public.authentication_sessions (session_id, user_id, session_metadata) values ('odd', $1, $2)",
      [id, json],
    );
    const [first] = await valuesOf(owner, sessions);
    await clients.app_user.query("update public.authentication_sessions set session_metadata = $2 where user_id = $1", [
      id,
      json.replaceAll('"a"', '"b"'),
    ]);
    const [second] = await valuesOf(owner, sessions);
    expect(first).not.toBeNull();
    expect(second).not.toEqual(first);
    await owner.query("select privacy.export_user($1)", [id]);
    await owner.query("select privacy.erase_user($1)", [id]);
    expect(
      await valuesOf(owner, "select count(*)::int from public.authentication_sessions where user_id = $1", [id]),
    ).toEqual([0]);
  });

  it("stop the refresh of no view: infinite dates, dates too far apart, sums beyond the type", async () => {
    const [id] = await valuesOf(owner, "select min(id) from public.users");
    await clients.app_user.query(
      `insert into public.authentication_sessions (session_id, user_id, created_at, last_activity_at, ended_at) values
       ('i1', $1, '-infinity', now(), null), ('i2', $1, now(), now(), 'infinity'), ('i3', $1, '4713-01-01 BC', now(), '294276-12-31')`,
      [id],
    );
    await clients.app_user.query(
      `insert into audit.security_metrics (metric_name, metric_type, metric_value)
       select 'odd', 'counter', value from unnest(array[1.7e308, 1.7e308, -1.7e308, 4, 6]) as value`,
    );
    await clients.app_user.query(
      "insert into audit.security_metrics (metric_name, metric_type, metric_value) select 'many', 'counter', 9e149 * (-1) ^ n from generate_series(1, 40000) as n",
    );
    await clients.app_user.query(
      "insert into audit.security_metrics (metric_name, metric_type, metric_value) values ('none', 'counter', 'infinity'), ('none', 'counter', 'nan')",
    );
    expect(await valuesOf(owner, "select problem from maintenance.refresh_views() where problem is not null")).toEqual(
      [],
    );
    expect(
      await valuesOf(owner, "select average from public.security_metrics_summary where metric_name = 'odd'"),
    ).toEqual([5]);
  });

  it("are rewritten by no expression in a user's name, in no time to speak of", async () => {
    const [id] = await valuesOf(
      clients.app_user,
      "insert into public.users (username, email, hashed_password) values ('((a*)*)*$.9', 'a+a+a+@example.org', 'x') returning id",
    );
    const bystander = await valuesOf(
      clients.app_user,
      `insert into public.system_settings (key, value, category, data_type) values ('bystander', to_json(repeat('a', 50000) || 'b'), 'a', 'string') returning key`,
    ).catch(() => []);
    await owner.query("set statement_timeout = '2min'");
    await owner.query("select privacy.erase_user($1)", [id]);
    await owner.query("reset statement_timeout");
    if (bystander.length > 0) {
      expect(
        await valuesOf(owner, "select length(value::text) from public.system_settings where key = 'bystander'"),
      ).toEqual([50_003]);
    }
  });
});

describe("erasing a user", () => {
  it("who is named like a mail provider neither fails nor takes it out of others' addresses", async () => {
    const [id] = await valuesOf(
      clients.app_user,
      "insert into public.users (username, email, hashed_password) values ('example.com', 'trap@elsewhere.org', 'x') returning id",
    );
    const addresses = ["bystander@example.com", "bystander@mail.example.com"];
    await clients.app_user.query("insert into public.access_requests (email) select unnest($1::text[])", [addresses]);
    await clients.app_user.query(
      "insert into public.system_prompts (prompt_key, prompt_category, prompt_name, prompt_text) values ('trap', 'a', 'b', 'Ask example.com.')",
    );
    await owner.query("select privacy.erase_user($1)", [id]);
    expect(
      await valuesOf(owner, "select email from public.access_requests where email like 'bystander@%' order by 1"),
    ).toEqual(addresses);
    expect(await valuesOf(owner, "select prompt_text from public.system_prompts where prompt_key = 'trap'")).toEqual([
      "Ask erased.",
    ]);
  });

  it.each(["Mozilla/5.0", "2001:db8::17", "0f8fad5b-d9cb-469f-a165-70867728950e", "9e107d9d372bb6826bd81d3542a419d6"])(
    "who is named %s takes that out of nobody else's entries",
    async (name) => {
      const [id] = await valuesOf(
        clients.app_user,
        "insert into public.users (username, email, hashed_password) values ($1::text, 'u' || md5($1) || '@example.org', 'x') returning id",
        [name],
      );
      const [entry] = await valuesOf(
        clients.app_user,
        `insert into public.device_login_attempts (email, device_fingerprint, ip_address, user_agent, was_successful)
       values ('someone.else@example.org', $1::text, '192.0.2.1', $1 || ' (X11)', false) returning id`,
        [name],
      );
      await owner.query("select privacy.erase_user($1)", [id]);
      expect(
        await valuesOf(owner, "select device_fingerprint, user_agent from public.device_login_attempts where id = $1", [
          entry,
        ]),
      ).toEqual([name, `${name} (X11)`]);
      expect(await valuesOf(owner, "select username from public.users where id = $1", [id])).not.toEqual([name]);
    },
  );
});

describe("locks of the application's", () => {
  it("on the policies stop the retention, which says so, and not the views", async () => {
    await owner.query("delete from maintenance.view_refreshes");
    await clients.app_user.query("begin; lock table public.data_retention_policies in access exclusive mode");
    await expect(owner.query("call maintenance.run(0)")).rejects.toThrow(
      /^Retention was not applied, as somebody has locked/,
    );
    await clients.app_user.query("rollback");
    expect(await valuesOf(owner, "select count(*)::int from maintenance.view_refreshes")).toEqual([5]);
  });
});
