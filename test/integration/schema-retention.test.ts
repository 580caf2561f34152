import type { Client } from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { PROTECT_TABLE_SQL } from "../../migrate/run/applied.ts";
import { createSchemaDatabase, type SchemaDatabase } from "../helpers/schema-database.ts";

let database: SchemaDatabase;
let owner: Client;
let app: Client;

beforeAll(async () => {
  database = await createSchemaDatabase("retention");
  await database.up();
  owner = await database.connect("ai_workflow_owner");
  app = await database.connect("app_user");
  await owner.query(
    "insert into public.users (username, email, hashed_password) values ('ada', 'ada@example.org', 'x')",
  );
});
afterAll(async () => {
  await database?.close();
});

interface Policy {
  readonly table: string;
  readonly days?: number;
  readonly type?: "ARCHIVE" | "DELETE" | "ANONYMIZE";
  readonly conditions?: unknown;
}

/** Writes a policy and gives its key. */
async function write(client: Client, { table, days = 30, type = "DELETE", conditions }: Policy): Promise<string> {
  const { rows } = await client.query<{ id: string }>(
    `insert into public.data_retention_policies (table_name, retention_period_days, policy_type, conditions)
     values ($1, $2, $3, $4) returning id`,
    [table, days, type, conditions === undefined ? null : JSON.stringify(conditions)],
  );
  return rows[0]?.id ?? "";
}

async function rowsOf<Row>(sql: string, values: unknown[] = []): Promise<Row[]> {
  return (await owner.query(sql, values)).rows as Row[];
}

async function stateOf(id: string): Promise<string | undefined> {
  return (
    await rowsOf<{ state: string }>("select state from maintenance.retention_status where policy_id = $1", [id])
  )[0]?.state;
}

async function namesOfProjects(): Promise<string[]> {
  return (await rowsOf<{ name: string }>("select name from public.projects order by 1")).map(({ name }) => name);
}

/** Warnings of the server while something runs. */
async function warningsOf(client: Client, work: () => Promise<unknown>): Promise<string[]> {
  const warnings: string[] = [];
  const listen = ({ message }: { message?: string | undefined }) => void warnings.push(message ?? "");
  client.on("notice", listen);
  await work();
  client.off("notice", listen);
  return warnings;
}

/** Takes policies back that are not the default ones, and the log. */
async function dropPolicies(): Promise<void> {
  await owner.query("delete from audit.data_retention_logs");
  await owner.query("delete from public.data_retention_policies where conditions -> 'is_default' is null");
}

const approve = (id: string, digest?: string) =>
  owner.query("select maintenance.approve_retention($1, $2)", [id, digest ?? null]);
const run = () => owner.query("call maintenance.apply_retention()");

/** What app_user may not propose, and a word of the refusal. */
const REFUSED: [string, Policy, RegExp][] = [
  ["audit rows deleted", { table: "audit_log", days: 1, conditions: { column: "created_at" } }, /audit_log is a log/],
  [
    "audit rows rewritten",
    { table: "audit_log", days: 1, type: "ANONYMIZE", conditions: { column: "created_at", set: { user_id: 4242 } } },
    /audit_log is a log/,
  ],
  ["logins forgotten", { table: "device_login_attempts", conditions: { column: "attempted_at" } }, /is a log/],
  ["retention's own log", { table: "data_retention_logs", conditions: { column: "executed_at" } }, /is a log/],
  ["a history row gone", { table: "pgmigrations", conditions: { column: "run_on" } }, /pgmigrations is nothing/],
  ["the old tool's history", { table: "alembic_version", conditions: { column: "x" } }, /alembic_version is nothing/],
  ["the approvals", { table: "retention_approvals", conditions: { column: "approved_at" } }, /is nothing/],
  ["a partition", { table: "audit_log_default", conditions: { column: "created_at" } }, /is nothing/],
  ["a view over a log", { table: "enterprise_audit_event", conditions: { column: "event_timestamp" } }, /is nothing/],
  ["policies", { table: "data_retention_policies", conditions: { column: "created_at" } }, /is nothing/],
  ["accounts", { table: "users", conditions: { column: "created_at" } }, /users is nothing/],
  [
    "users.is_superuser set",
    { table: "users", type: "ANONYMIZE", conditions: { column: "created_at", set: { is_superuser: "true" } } },
    /users is nothing/,
  ],
  ["second factors", { table: "user_two_factor_auth", conditions: { column: "created_at" } }, /is nothing/],
  ["rights", { table: "user_security_tiers", conditions: { column: "created_at" } }, /is nothing/],
  ["proofs", { table: "forensic_investigations", conditions: { column: "created_at" } }, /is nothing/],
  [
    "a reference set",
    { table: "registered_devices", type: "ANONYMIZE", conditions: { column: "last_seen_at", set: { user_id: null } } },
    /registered_devices.user_id is no column to anonymize/,
  ],
  [
    "a key set",
    { table: "registered_devices", type: "ANONYMIZE", conditions: { column: "last_seen_at", set: { id: null } } },
    /registered_devices.id is no column/,
  ],
  [
    "a secret set",
    {
      table: "registered_devices",
      type: "ANONYMIZE",
      conditions: { column: "last_seen_at", set: { refresh_token_hash: "" } },
    },
    /refresh_token_hash is no column/,
  ],
  [
    "a right set",
    {
      table: "registered_devices",
      type: "ANONYMIZE",
      conditions: { column: "last_seen_at", set: { is_remembered: "true" } },
    },
    /is_remembered is no column/,
  ],
  [
    "words put into rows",
    {
      table: "registered_devices",
      type: "ANONYMIZE",
      conditions: { column: "last_seen_at", set: { location_info: { city: "elsewhere" } } },
    },
    /the value of "location_info" is of type object/,
  ],
  [
    "words put into rows as text",
    {
      table: "registered_devices",
      type: "ANONYMIZE",
      conditions: { column: "last_seen_at", set: { device_name: "mine" } },
    },
    /device_name would say something/,
  ],
  [
    "null where none may be",
    {
      table: "registered_devices",
      type: "ANONYMIZE",
      conditions: { column: "last_seen_at", set: { device_name: null } },
    },
    /device_name can't be null/,
  ],
  [
    "a value of the wrong type",
    {
      table: "registered_devices",
      type: "ANONYMIZE",
      conditions: { column: "last_seen_at", set: { location_info: "erased" } },
    },
    /the value of location_info is no json/,
  ],
  [
    "rows chosen by a secret",
    { table: "secure_token_storage", conditions: { column: "created_at", match: { token_id: "x" } } },
    /not chosen by token_id/,
  ],
  [
    "a restriction of the wrong type",
    { table: "projects", conditions: { column: "created_at", match: { user_id: "me" } } },
    /the value of user_id is no integer/,
  ],
  [
    "an age that is none",
    { table: "projects", conditions: { column: "name" } },
    /name is of type .*, which is no date/,
  ],
  ["days that no calendar has", { table: "projects", days: 2147483647 }, /2147483647, which is not between/],
  ["days below one", { table: "projects", days: -1 }, /-1, which is not between/],
  ["no days", { table: "projects", days: 0 }, /0, which is not between/],
  ["conditions as a list", { table: "projects", conditions: ["column"] }, /of type array, not an object/],
  ["conditions as text", { table: "projects", conditions: "column" }, /of type string, not an object/],
  ["huge conditions", { table: "projects", conditions: { reason: "x".repeat(5000) } }, /more than 4000 characters/],
  ["a column that is no name", { table: "projects", conditions: { column: { a: 1 } } }, /column is of type object/],
  ["a restriction that is a list", { table: "projects", conditions: { match: ["a"] } }, /match is of type array/],
  [
    "a nested restriction",
    { table: "projects", conditions: { column: "created_at", match: { status: { a: 1 } } } },
    /the value of "status" is of type object/,
  ],
  [
    "set beside DELETE",
    { table: "projects", conditions: { column: "created_at", set: { description: null } } },
    /set belongs to ANONYMIZE/,
  ],
];

describe("a policy of app_user", () => {
  it.each(REFUSED)("is refused: %s", async (_what, policy, problem) => {
    await expect(write(app, policy)).rejects.toThrow(problem);
    const id = await write(app, { table: "projects", conditions: { column: "created_at" } });
    const { table, days = 30, type = "DELETE", conditions } = policy;
    await expect(
      app.query(
        `update public.data_retention_policies
         set table_name = $2, retention_period_days = $3, policy_type = $4, conditions = $5 where id = $1`,
        [id, table, days, type, conditions === undefined ? null : JSON.stringify(conditions)],
      ),
    ).rejects.toThrow(problem);
    await app.query("delete from public.data_retention_policies where id = $1", [id]);
  });

  it("is refused with all that is wrong at once, and with where to look", async () => {
    const error = (await write(app, {
      table: "registered_devices",
      days: 0,
      type: "ANONYMIZE",
      conditions: { column: "device_name", match: { refresh_token_hash: "x" }, set: { user_id: 1 } },
    }).catch((thrown: unknown) => thrown)) as { message: string; hint: string; code: string };
    expect(error.message.split("\n- ")).toHaveLength(5);
    expect(error.message).toContain("(4 problems)");
    expect(error.hint).toContain("maintenance.retention_columns");
    expect(error.code).toBe("23514");
  });

  it("has no effect until the owner approves it", async () => {
    await owner.query(
      "insert into public.projects (user_id, name, created_at) select id, 'old', now() - interval '60 days' from public.users",
    );
    const id = await write(app, { table: "projects", conditions: { column: "created_at" } });
    expect(await stateOf(id)).toBe("proposed");
    await run();
    expect(await namesOfProjects()).toEqual(["old"]);
    expect(await rowsOf("select from audit.data_retention_logs where policy_id = $1", [id])).toEqual([]);
    expect(await rowsOf("select last_run_at from public.data_retention_policies where id = $1", [id])).toEqual([
      { last_run_at: null },
    ]);
    await approve(id);
    expect(await stateOf(id)).toBe("approved");
    await run();
    expect(await namesOfProjects()).toEqual([]);
  });

  it("is taken when it is only incomplete, as the application's models may write it, but can't be approved", async () => {
    const policies: [Policy, RegExp][] = [
      [{ table: "no_such_table", conditions: { column: "created_at" } }, /There is no table "no_such_table"/],
      [{ table: "projects" }, /conditions has no key column/],
      // What SQLAlchemy writes for None.
      [{ table: "projects", conditions: null }, /conditions has no key column/],
      [{ table: "projects", conditions: { column: "no_such_column" } }, /column "no_such_column" does not exist/],
      [
        { table: "projects", conditions: { column: "created_at", where: "true" } },
        /a key "where", which nothing reads/,
      ],
      [{ table: "projects", type: "ARCHIVE", conditions: { column: "created_at" } }, /no archive/],
      [{ table: "projects", type: "ANONYMIZE", conditions: { column: "created_at" } }, /nothing to anonymize/],
    ];
    for (const [policy, problem] of policies) {
      const id = await write(app, policy);
      await expect(approve(id)).rejects.toThrow(problem);
      expect(await stateOf(id)).toBe("proposed");
    }
    await expect(
      app.query(
        "insert into public.data_retention_policies (table_name, retention_period_days, policy_type, is_active) values ('projects', 1, 'DELETE', null)",
      ),
    ).rejects.toThrow("not-null");
    await dropPolicies();
  });
});

describe("an approval", () => {
  beforeEach(async () => {
    await dropPolicies();
    await owner.query("delete from public.projects");
    await owner.query(
      "insert into public.projects (user_id, name, created_at) select id, 'old', now() - interval '60 days' from public.users",
    );
  });

  const PROPOSAL: Policy = { table: "projects", conditions: { column: "created_at", match: { name: "other" } } };

  it("is the owner's alone", async () => {
    const id = await write(app, PROPOSAL);
    for (const sql of [
      "select maintenance.approve_retention($1)",
      "select maintenance.withdraw_retention($1)",
      "select from maintenance.plan_retention($1, now())",
      "select from maintenance.retention_status where policy_id = $1",
      "delete from maintenance.retention_approvals where policy_id = $1",
      "update maintenance.retention_approvals set policy_id = $1",
      "insert into maintenance.retention_approvals select id, table_name, retention_period_days, policy_type, conditions from public.data_retention_policies where id = $1",
    ]) {
      await expect(app.query(sql, [id])).rejects.toThrow("permission denied");
    }
  });

  it("is for what was looked at only", async () => {
    const id = await write(app, PROPOSAL);
    const digest = async () =>
      (
        await rowsOf<{ digest: string }>(
          `select maintenance.retention_digest(table_name, retention_period_days, policy_type, conditions) as digest
           from public.data_retention_policies where id = $1`,
          [id],
        )
      )[0]?.digest;
    const seen = await digest();
    await app.query("update public.data_retention_policies set conditions = conditions - 'match' where id = $1", [id]);
    await expect(approve(id, seen)).rejects.toThrow("is not what was looked at");
    await approve(id, await digest());
    expect(await stateOf(id)).toBe("approved");
  });

  it.each([
    ["its restriction goes", "conditions = conditions - 'match'"],
    ["another table is named", "table_name = 'tasks'"],
    ["the days become fewer", "retention_period_days = 1"],
    [
      "what is done is another",
      `policy_type = 'ANONYMIZE', conditions = '{"column": "created_at", "set": {"description": null}}'`,
    ],
  ])("lapses when %s", async (_what, change) => {
    const id = await write(app, PROPOSAL);
    await approve(id);
    await app.query(`update public.data_retention_policies set ${change} where id = $1`, [id]);
    expect(await stateOf(id)).toBe("changed");
    await run();
    expect(await namesOfProjects()).toEqual(["old"]);
    expect(await rowsOf("select problem from maintenance.retention_batch($1, now(), 10)", [id])).toEqual([
      { problem: expect.stringContaining("not what was approved any more") },
    ]);
  });

  it("lapses when the application switches the policy off, or deletes it", async () => {
    const id = await write(app, PROPOSAL);
    await approve(id);
    await app.query("update public.data_retention_policies set is_active = false where id = $1", [id]);
    expect(await stateOf(id)).toBe("off");
    await app.query("update public.data_retention_policies set is_active = true where id = $1", [id]);
    expect(await stateOf(id)).toBe("approved");
    await app.query("delete from public.data_retention_policies where id = $1", [id]);
    expect(await stateOf(id)).toBe("gone");
    await run();
    await owner.query("select maintenance.withdraw_retention($1)", [id]);
    expect(await stateOf(id)).toBeUndefined();
  });

  it("does not come back when the owner switches the policy off or deletes it, and the application undoes that", async () => {
    const id = await write(app, { table: "projects", conditions: { column: "created_at" } });
    await approve(id);
    await owner.query("update public.data_retention_policies set is_active = false where id = $1", [id]);
    await app.query("update public.data_retention_policies set is_active = true where id = $1", [id]);
    expect(await stateOf(id)).toBe("proposed");
    await approve(id);
    await owner.query("delete from public.data_retention_policies where id = $1", [id]);
    await app.query(
      `insert into public.data_retention_policies (id, table_name, retention_period_days, policy_type, conditions)
       values ($1, 'projects', 30, 'DELETE', '{"column": "created_at"}')`,
      [id],
    );
    expect(await stateOf(id)).toBe("proposed");
    await run();
    expect(await namesOfProjects()).toEqual(["old"]);
  });

  it("is refused for a policy that is switched off, and for one that is not there", async () => {
    const id = await write(app, PROPOSAL);
    await app.query("update public.data_retention_policies set is_active = false where id = $1", [id]);
    await expect(approve(id)).rejects.toThrow("switched off");
    await app.query("delete from public.data_retention_policies where id = $1", [id]);
    await expect(approve(id)).rejects.toThrow("There is no retention policy");
    await expect(owner.query("select maintenance.withdraw_retention($1)", [id])).rejects.toThrow("is not approved");
  });

  it("of an ANONYMIZE writes each row once", async () => {
    await owner.query("update public.projects set description = 'x'");
    const id = await write(app, {
      table: "projects",
      type: "ANONYMIZE",
      conditions: { column: "created_at", set: { description: "erased" } },
    });
    await approve(id);
    await run();
    expect(await rowsOf("select description from public.projects")).toEqual([{ description: "erased" }]);
    await run();
    expect(await rowsOf("select records_affected from audit.data_retention_logs where policy_id = $1", [id])).toEqual([
      { records_affected: 1 },
    ]);
  });
});

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

describe("a policy of the owner", () => {
  it("may thin a log out by age, but never by what its rows say, nor rewrite it", async () => {
    const id = await write(owner, { table: "audit_log", days: 900, conditions: { column: "created_at" } });
    await approve(id);
    await owner.query("delete from public.data_retention_policies where id = $1", [id]);
    for (const match of [{ user_id: 1 }, { table_name: "users" }, { ip_address: null }]) {
      await expect(write(owner, { table: "audit_log", conditions: { column: "created_at", match } })).rejects.toThrow(
        "are not chosen by",
      );
    }
    await expect(
      write(owner, {
        table: "audit_log",
        type: "ANONYMIZE",
        conditions: { column: "created_at", set: { query: null } },
      }),
    ).rejects.toThrow("in which nothing is rewritten");
    await expect(write(owner, { table: "pgmigrations", conditions: { column: "run_on" } })).rejects.toThrow(
      "is nothing",
    );
  });

  it("can't be changed by app_user where it is about a log, but switched off", async () => {
    const log = "table_name = 'audit_log' and conditions -> 'is_default' is not null";
    await expect(
      app.query(`update public.data_retention_policies set retention_period_days = 1 where ${log}`),
    ).rejects.toThrow("whose policies only the owner writes");
    await app.query("begin");
    expect((await app.query(`update public.data_retention_policies set is_active = false where ${log}`)).rowCount).toBe(
      1,
    );
    await app.query("rollback");
  });

  it("is approved from the start where it is a default as shipped", async () => {
    expect(
      await rowsOf(
        "select distinct state from maintenance.retention_status where conditions -> 'is_default' is not null",
      ),
    ).toEqual([{ state: "approved" }]);
    // Nothing that is shipped breaks the rules.
    expect(
      await rowsOf(
        `select table_name, problem from public.data_retention_policies,
           maintenance.retention_problems(table_name, retention_period_days, policy_type, conditions, true)
         where conditions -> 'is_default' is not null`,
      ),
    ).toEqual([]);
  });
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

describe("a database from before the approvals", () => {
  it("carries out no row that was planted, and all defaults as shipped", async () => {
    const steps =
      database.migrations.length -
      database.migrations.findIndex(({ name }) => name.endsWith("limit_retention_policies"));
    await dropPolicies();
    await database.down(steps);
    for (const [, policy] of REFUSED) {
      await write(app, policy).catch((error: Error) => {
        // What the check of before refuses.
        expect(error.message).toContain("data_retention_policies_period_positive");
      });
    }
    await app.query(
      "update public.data_retention_policies set retention_period_days = 1 where table_name = 'audit_log' and conditions -> 'is_default' is not null",
    );
    await app.query(
      "update public.data_retention_policies set is_active = false where table_name = 'session_state' and conditions -> 'is_default' is not null",
    );
    await app.query("update public.users set theme = 'light'");
    await owner.query("update audit.audit_log set created_at = now() - interval '500 days'");
    await database.up();

    const before = await rowsOf("select * from audit.audit_log order by id");
    const applied = await rowsOf("select * from public.pgmigrations");
    await owner.query("call maintenance.run(0)");
    expect(
      await rowsOf("select * from audit.audit_log where id = any ($1) order by id", [
        before.map((row) => (row as { id: string }).id),
      ]),
    ).toEqual(before);
    expect(await rowsOf("select * from public.pgmigrations")).toEqual(applied);
    expect(await rowsOf("select is_superuser from public.users")).toEqual([{ is_superuser: false }]);
    expect(
      await rowsOf(`
        select state, count(*)::integer from maintenance.retention_status
        where conditions -> 'is_default' is not null group by 1 order by 1`),
    ).toEqual([
      { state: "approved", count: 28 },
      { state: "off", count: 1 },
      { state: "proposed", count: 1 },
    ]);
    expect(
      await rowsOf("select distinct state from maintenance.retention_status where conditions -> 'is_default' is null"),
    ).toEqual([{ state: "proposed" }]);
  });
});
