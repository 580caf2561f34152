import { describe, expect, it } from "vitest";
import {
  app,
  approve,
  database,
  dropPolicies,
  namesOfProjects,
  owner,
  type Policy,
  retentionDatabase,
  rowsOf,
  run,
  stateOf,
  write,
} from "../helpers/retention.ts";

retentionDatabase();

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
