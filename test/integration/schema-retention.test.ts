import { describe, expect, it } from "vitest";
import { PROTECT_TABLE_SQL } from "../../migrate/run/applied.ts";
import {
  app,
  approve,
  database,
  dropPolicies,
  namesOfProjects,
  owner,
  retentionDatabase,
  rowsOf,
  stateOf,
  warningsOf,
  write,
} from "../helpers/retention.ts";

retentionDatabase();

it("judges each value by its own column's type, whatever came before", async () => {
  const id = await write(app, {
    table: "registered_devices",
    type: "ANONYMIZE",
    conditions: {
      column: "last_seen_at",
      set: { device_name: "erased", location_info: {}, last_ip_address: "0.0.0.0" },
    },
  });
  await approve(id);
  expect(await stateOf(id)).toBe("approved");
  await dropPolicies();
});

describe("a policy that can't be carried out", () => {
  it("fails alone: the others go on, the views are refreshed, and it is reported", async () => {
    await owner.query("delete from audit.data_retention_logs");
    await owner.query("delete from maintenance.view_refreshes");
    await owner.query("delete from public.projects");
    await owner.query(
      "insert into public.projects (user_id, name, created_at) select id, 'old', now() - interval '60 days' from public.users",
    );
    // As if from before the rules, approved or not.
    await owner.query("alter table public.data_retention_policies disable trigger data_retention_policies_check");
    const impossible = [
      { table: "calendars", days: 2147483647, conditions: { column: "created_at" } },
      { table: "calendars", conditions: ["column"] },
      { table: "calendars", conditions: "column" },
      { table: "calendars", conditions: { column: "created_at", match: [1] } },
      { table: "calendars", conditions: { column: "created_at", match: { user_id: "me" } } },
      { table: "calendars", conditions: { column: "name" } },
      { table: "calendars", conditions: { column: "gone" } },
      { table: "users", type: "ANONYMIZE", conditions: { column: "created_at", set: { is_superuser: "true" } } },
    ] as const;
    for (const policy of impossible) await write(app, policy);
    await owner.query("alter table public.data_retention_policies enable trigger data_retention_policies_check");
    await write(owner, { table: "projects", conditions: { column: "created_at" } });
    await owner.query(`
      insert into maintenance.retention_approvals (policy_id, table_name, retention_period_days, policy_type, conditions)
      select policy_id, table_name, retention_period_days, policy_type, conditions from maintenance.retention_status where state = 'proposed'`);

    const warnings = await warningsOf(owner, () => owner.query("call maintenance.run(0)"));
    expect(await namesOfProjects()).toEqual([]);
    expect(await rowsOf("select is_superuser from public.users")).toEqual([{ is_superuser: false }]);
    expect(await rowsOf("select from maintenance.view_refreshes")).toHaveLength(5);
    const logged = await rowsOf<{ execution_status: string }>(
      "select execution_status from audit.data_retention_logs where table_name in ('calendars', 'users')",
    );
    expect(logged.map(({ execution_status }) => execution_status)).toEqual(impossible.map(() => "FAILURE"));
    expect(warnings.filter((warning) => /^Retention: policy .*: FAILURE: /.test(warning))).toHaveLength(
      impossible.length,
    );
    await dropPolicies();
  });
});

describe("the tables and columns of policies", () => {
  it("are all there, once", async () => {
    const tables = await rowsOf<{ table_name: string }>("select table_name from maintenance.retention_tables");
    expect(tables).toHaveLength(46);
    expect(new Set(tables.map(({ table_name }) => table_name)).size).toBe(46);
  });

  it("take along nothing that policies are not for when they are deleted from", async () => {
    const taken = await rowsOf(`
      with recursive reached (relation, by) as (
        select format('%I.%I', table_schema, table_name)::regclass, table_name from maintenance.retention_tables where not is_log
        union
        select conrelid::regclass, by from pg_constraint join reached on confrelid = relation and contype = 'f' and confdeltype = 'c'
      )
      select distinct by, relation::text from reached
      where relation not in (
        select format('%I.%I', table_schema, table_name)::regclass from maintenance.retention_tables where not is_log)`);
    expect(taken).toEqual([]);
  });

  it("leave alone what app_user may only add to, in whatever schema", async () => {
    const appendOnly = await rowsOf<{ name: string }>(`
      select format('%s.%s', nspname, relname) as name
      from pg_class as class join pg_namespace as namespace on namespace.oid = relnamespace
      where nspname in ('public', 'audit') and relkind in ('r', 'p') and relname <> 'pgmigrations'
        and not has_table_privilege('app_user', class.oid, 'delete') order by 1`);
    expect(appendOnly).toEqual(
      await rowsOf(
        "select format('%s.%s', table_schema, table_name) as name from maintenance.retention_tables where is_append_only order by 1",
      ),
    );
    expect(
      await rowsOf(
        "select from maintenance.retention_columns join maintenance.retention_tables using (table_schema, table_name) where is_append_only and may_match or is_log and may_anonymize",
      ),
    ).toEqual([]);
  });

  it("can be anonymized only where no key, reference, right or secret is", async () => {
    const columns = await rowsOf<{ name: string; data_type: string }>(
      "select table_name || '.' || column_name as name, data_type from maintenance.retention_columns where may_anonymize",
    );
    expect(columns.filter(({ data_type }) => !/^(character varying|text|jsonb?|inet)/.test(data_type))).toEqual([]);
    expect(
      columns.filter(({ name }) => /(_id|_hash|token|secret|password|status|role|scope|tier)$/.test(name)),
    ).toEqual([]);
    expect(columns.map(({ name }) => name)).toContain("registered_devices.location_info");
  });
});

describe("what is applied", () => {
  const WRITES = [
    "delete from public.pgmigrations",
    "update public.pgmigrations set name = 'x'",
    "insert into public.pgmigrations (id, name, run_on) values (-1, 'x', now())",
    "truncate public.pgmigrations",
    "select nextval('public.pgmigrations_id_seq')",
    "select setval('public.pgmigrations_id_seq', 2147483647)",
    "do $$ begin lock table public.pgmigrations in access exclusive mode; end $$",
  ];

  it.each(WRITES)("is not app_user's to write: %s", async (sql) => {
    await expect(app.query(sql)).rejects.toThrow("permission denied");
  });

  it("is taken from everybody in a database from before, also when nothing is pending", async () => {
    await owner.query("grant all on public.pgmigrations to app_user, public");
    await owner.query("grant all on sequence public.pgmigrations_id_seq to app_user");
    await database.up();
    for (const sql of WRITES) await expect(app.query(sql)).rejects.toThrow("permission denied");
  });

  it("is taken from everybody by the superuser too, as the baseline of a stack does", async () => {
    await owner.query("grant all on public.pgmigrations to app_user");
    await owner.query("grant all on sequence public.pgmigrations_id_seq to app_user");
    const superuser = await database.connect("postgres");
    await superuser.query(PROTECT_TABLE_SQL);
    for (const sql of WRITES) await expect(app.query(sql)).rejects.toThrow("permission denied");
  });
});
