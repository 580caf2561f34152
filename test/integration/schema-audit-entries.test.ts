import pg, { type Client } from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { insertInto, LOGS, USER } from "../helpers/logs.ts";
import { createSchemaDatabase, type SchemaDatabase } from "../helpers/schema-database.ts";

let database: SchemaDatabase;
let owner: Client;
let app: Client;

beforeAll(async () => {
  database = await createSchemaDatabase("audit-entries");
  await database.up();
  owner = await database.connect("ai_workflow_owner");
  app = await database.connect("app_user");
  await owner.query(`
    insert into public.users (username, email, hashed_password) values ('ada', 'ada@example.org', 'x');
    insert into public.data_retention_policies (id, table_name, retention_period_days, policy_type)
      values ('00000000-0000-4000-8000-000000000001', 'tasks', 30, 'DELETE');
    insert into public.chat_mode_sessions (session_id, user_id, chat_mode) select 'chat', id, 'simple' from public.users;`);
});
afterAll(async () => {
  await database?.close();
});

async function rowsOf(sql: string, client = owner): Promise<Record<string, unknown>[]> {
  return (await client.query(sql)).rows as Record<string, unknown>[];
}

/** Sends rows in COPY's text format. */
async function copy(client: Client, target: string, text: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const query = new pg.Query(`copy ${target} from stdin`, (error?: Error) => (error ? reject(error) : resolve()));
    Object.assign(query, {
      handleCopyInResponse: (connection: { sendCopyFromChunk(chunk: Buffer): void; endCopyFrom(): void }) => {
        connection.sendCopyFromChunk(Buffer.from(text));
        connection.endCopyFrom();
      },
    });
    client.query(query);
  });
}

const WRONG_DATES = [
  "'2020-01-15'",
  "now() - interval '6 minutes'",
  "now() + interval '6 minutes'",
  "now() + interval '40 days'",
  "'infinity'",
  "'-infinity'",
  "null",
];

describe.each(LOGS)("an entry that the application adds to $table", (log) => {
  const relations = [log.table, ...(log.view ? [log.view] : [])];

  it.each(relations)("through %s is dated now, or refused", async (relation) => {
    for (const date of WRONG_DATES) {
      await expect(app.query(insertInto(relation, log, { [log.date]: date })), date).rejects.toMatchObject({
        code: "23514",
        message: expect.stringMatching(
          new RegExp(`^${log.date} of ${log.table} is .*, which is not now, so the entry is refused\\.$`),
        ),
        hint: expect.stringContaining(`Leave ${log.date} out`),
      });
    }
    // Clocks differ; a model that sends its own time is served.
    for (const date of ["now() - interval '4 minutes'", "clock_timestamp() + interval '4 minutes'"]) {
      await app.query("begin");
      await app.query(insertInto(relation, log, { [log.date]: date }));
      await app.query("rollback");
    }
    const { rows } = await app.query<{ id: string }>(`${insertInto(relation, log)} returning id`);
    expect(
      await rowsOf(
        `select ${log.date} between now() - interval '5 minutes' and now() as now from ${log.table} where id = '${rows[0]?.id}'`,
      ),
    ).toEqual([{ now: true }]);
  });

  it("is dated by the clock, so that a transaction that is kept open dates nothing back", async () => {
    await app.query("begin");
    const { rows } = await app.query(`${insertInto(log.table, log)} returning ${log.date} > now() as later`);
    await app.query("rollback");
    expect(rows).toEqual([{ later: true }]);
    const [trigger] = await rowsOf(
      `select pg_get_triggerdef(oid) as definition from pg_trigger
       where tgrelid = '${log.table}'::regclass and tgname ~ '_refuse_date$'`,
    );
    expect(trigger?.["definition"]).not.toContain("now()");
  });

  it("bears the role that added it, whatever it says", async () => {
    const forged: Record<string, string> =
      log.table === "audit.audit_log"
        ? { security_context: `'{"db_role": "ai_workflow_owner", "origin": "trigger"}'` }
        : { recorded_by: "'ai_workflow_owner'" };
    const who = log.table === "audit.audit_log" ? "security_context ->> 'db_role' as recorded_by" : "recorded_by::text";
    const report = log.view ?? log.report;
    for (const sql of [
      insertInto(log.table, log, forged),
      insertInto(log.table, log),
      ...(report ? [insertInto(report, log)] : []),
    ]) {
      const { rows } = await app.query<{ id: string }>(`${sql} returning id`);
      expect(await rowsOf(`select ${who} from ${log.table} where id = '${rows[0]?.id}'`)).toEqual([
        { recorded_by: "app_user" },
      ]);
    }
  });

  it("is told from the owner's, whose word on date and role is taken, as a restore needs it", async () => {
    await owner.query("begin");
    const restored =
      log.table === "audit.audit_log"
        ? { security_context: `'{"db_role": "app_user", "origin": "trigger"}'` }
        : { recorded_by: "'app_user'" };
    const date = "'2020-01-15 12:00:00Z'";
    await owner.query(insertInto(log.table, log, { ...restored, [log.date]: date }));
    const column =
      log.table === "audit.audit_log"
        ? 'security_context = \'{"db_role": "app_user", "origin": "trigger"}\''
        : "recorded_by = 'app_user'";
    expect(await rowsOf(`select ${column} as kept from ${log.table} where ${log.date} = ${date}`)).toEqual([
      { kept: true },
    ]);
    await owner.query("rollback");
  });
});

describe.each(LOGS.filter(({ changeable }) => changeable))("an entry of $table that the application changes", (log) => {
  it("keeps date and role", async () => {
    await app.query(insertInto(log.table, log));
    for (const change of [
      `recorded_by = 'ai_workflow_owner'`,
      `recorded_by = null`,
      `${log.date} = ${log.date} - interval '1 second'`,
      `${log.date} = '2020-01-15'`,
    ]) {
      await expect(app.query(`update ${log.table} set ${change}`), change).rejects.toThrow(
        `recorded_by and ${log.date} of ${log.table} are the server's and stay as they are.`,
      );
    }
    // As a model does that sends every column.
    await app.query(`update ${log.table} set ${log.date} = ${log.date}, recorded_by = recorded_by, user_id = null`);
    await owner.query(`update ${log.table} set ${log.date} = now(), recorded_by = recorded_by`);
  });

  it("bears its role from then on, where another had added it, whom the owner leaves standing", async () => {
    await owner.query(`delete from ${log.table}`);
    await owner.query(insertInto(log.table, log));
    const author = `select recorded_by from ${log.table}`;
    expect(await rowsOf(author)).toEqual([{ recorded_by: "ai_workflow_owner" }]);
    await app.query(`update ${log.table} set user_id = null, recorded_by = recorded_by`);
    expect(await rowsOf(author)).toEqual([{ recorded_by: "app_user" }]);
    await owner.query(`update ${log.table} set user_id = null`);
    expect(await rowsOf(author)).toEqual([{ recorded_by: "app_user" }]);
    await owner.query(`update ${log.table} set recorded_by = null`);
    await app.query(`update ${log.table} set user_id = null`);
    expect(await rowsOf(author)).toEqual([{ recorded_by: null }]);
  });

  it("bears the role that made a foreign key empty it", async () => {
    const { rows } = await owner.query<{ references: boolean }>(
      "select exists (select from pg_constraint where conrelid = $1::regclass and confrelid = 'public.users'::regclass) as references",
      [log.table],
    );
    // security_violations has none, so that a violation outlives its user.
    expect(rows[0]?.references).toBe(log.table !== "audit.security_violations");
    if (!rows[0]?.references) return;
    await owner.query(`delete from ${log.table}`);
    const [user] = await rowsOf(
      "insert into public.users (username, email, hashed_password) values ('leaves', 'leaves@example.org', 'x') returning id",
    );
    await owner.query(insertInto(log.table, log, { user_id: String(user?.id) }));
    await app.query("delete from public.users where id = $1", [user?.id]);
    expect(await rowsOf(`select user_id, recorded_by from ${log.table}`)).toEqual([
      { user_id: null, recorded_by: "app_user" },
    ]);
  });
});

describe("an entry of audit_log that looks like the trigger's", () => {
  const CONTEXT =
    '{"db_role": "ai_workflow_owner", "origin": "trigger", "maintenance": "retention", "unproven_identity": true, "subject_user_id": 1, "own": "kept"}';
  const COLUMNS = "(table_name, operation, user_id, row_id, transaction_id, security_context)";
  const VALUES = `('users', 'DELETE'::public.auditoperation, 42, '1', 1, '${CONTEXT}'::jsonb)`;

  beforeEach(async () => {
    await owner.query("delete from audit.audit_log");
  });

  it.each([
    ["insert", `insert into audit.audit_log ${COLUMNS} values ${VALUES}`],
    ["the view", `insert into public.audit_log ${COLUMNS} values ${VALUES}`],
    ["on conflict", `insert into audit.audit_log ${COLUMNS} values ${VALUES} on conflict do nothing`],
    [
      "a common table expression",
      `with made as (insert into audit.audit_log ${COLUMNS} values ${VALUES} returning id) select id from made`,
    ],
    ["a select", `insert into audit.audit_log ${COLUMNS} select * from (values ${VALUES}) as row`],
    [
      "merge",
      `merge into audit.audit_log using (values (1)) as source (n) on false
       when not matched then insert ${COLUMNS} values ${VALUES}`,
    ],
    [
      "a prepared statement",
      `prepare forged as insert into audit.audit_log ${COLUMNS} values ${VALUES}; execute forged`,
    ],
    ["a block", `do $block$ begin insert into audit.audit_log ${COLUMNS} values ${VALUES}; end $block$`],
  ])("by %s says that it is the application's", async (_, sql) => {
    await app.query("begin");
    await app.query(sql);
    const xid = (await app.query("select pg_current_xact_id()::text as xid")).rows[0].xid;
    await app.query("commit");
    expect(
      await rowsOf("select transaction_id, security_context, created_at <= now() as dated from audit.audit_log"),
    ).toEqual([
      {
        transaction_id: xid,
        security_context: { db_role: "app_user", origin: "application", subject_user_id: 1, own: "kept" },
        dated: true,
      },
    ]);
  });

  it("by COPY says so too, and COPY can't date it back", async () => {
    await copy(app, `audit.audit_log ${COLUMNS}`, `users\tDELETE\t42\t1\t1\t${CONTEXT}\n`);
    expect(
      await rowsOf("select security_context -> 'origin' as origin, transaction_id = 1 as own from audit.audit_log"),
    ).toEqual([{ origin: "application", own: false }]);
    await expect(
      copy(app, "audit.audit_log (table_name, operation, created_at)", "users\tDELETE\t2020-01-15\n"),
    ).rejects.toThrow("which is not now");
  });

  it.each([
    ["[1, 2]", { context: [1, 2] }],
    ['"trigger"', { context: "trigger" }],
    ["null", {}],
  ])("with %s for its context keeps that beside the server's word", async (context, kept) => {
    await app.query(
      "insert into audit.audit_log (table_name, operation, security_context) values ('x', 'INSERT', $1)",
      [context],
    );
    expect(await rowsOf("select security_context from audit.audit_log")).toEqual([
      { security_context: { ...kept, db_role: "app_user", origin: "application" } },
    ]);
  });

  it("can't go into a partition by its own name, nor past the triggers", async () => {
    for (const sql of [
      "insert into partitions.audit_log_default (table_name, operation) values ('users', 'DELETE')",
      "alter table audit.audit_log disable trigger user",
      "drop trigger audit_log_stamp on audit.audit_log",
      "set session_replication_role = replica",
      "create rule forged as on insert to audit.audit_log do instead nothing",
    ]) {
      await expect(app.query(sql)).rejects.toThrow(/permission denied|must be owner/);
    }
  });

  it("is told from the trigger's own, and from the owner's", async () => {
    await app.query("update public.users set theme = 'x'");
    await app.query(insertInto("audit.audit_log", LOGS[0]!));
    await owner.query(insertInto("audit.audit_log", LOGS[0]!));
    expect(
      await rowsOf(
        "select security_context ->> 'origin' as origin, security_context ->> 'db_role' as role from audit.audit_log order by created_at",
      ),
    ).toEqual([
      { origin: "trigger", role: "app_user" },
      { origin: "application", role: "app_user" },
      { origin: "maintenance", role: "ai_workflow_owner" },
    ]);
  });
});

describe("what the owner's functions write", () => {
  it("bears the owner's role", async () => {
    await owner.query(`select privacy.export_user(${USER})`);
    expect(
      await rowsOf(
        "select distinct recorded_by::text from audit.data_access_log where service_name = 'privacy.export_user'",
      ),
    ).toEqual([{ recorded_by: "ai_workflow_owner" }]);
  });

  it("comes back from a dump as it was, by COPY with its dates", async () => {
    await copy(
      owner,
      "audit.security_metrics (id, metric_name, metric_type, metric_value, recorded_at, recorded_by)",
      "00000000-0000-4000-8000-000000000009\tlogins\tcounter\t1\t2019-05-05 10:00:00+00\tapp_user\n",
    );
    await owner.query("select * from maintenance.make_partitions(0, 'audit.security_metrics')");
    expect(
      await rowsOf(
        "select recorded_by::text, recorded_at, tableoid::regclass::text as part from audit.security_metrics where id = '00000000-0000-4000-8000-000000000009'",
      ),
    ).toEqual([
      {
        recorded_by: "app_user",
        recorded_at: new Date("2019-05-05T10:00:00Z"),
        part: "partitions.security_metrics_y2019m05",
      },
    ]);
  });
});

describe("every log that the application may only add to", () => {
  it("and every partition of it, made now or later, has the triggers that date and stamp", async () => {
    await owner.query("select * from maintenance.make_partitions(2)");
    const missing = await rowsOf(`
      select class.oid::regclass::text as log, wanted as trigger
      from pg_class as class
      left join pg_inherits on inhrelid = class.oid
      cross join unnest(array['refuse_date', 'stamp_(entry|trail)']) as wanted
      where class.relkind in ('r', 'p')
        and (
          has_table_privilege('app_user', coalesce(inhparent, class.oid), 'insert')
            and not has_table_privilege('app_user', coalesce(inhparent, class.oid), 'update')
            and class.relnamespace in ('public'::regnamespace, 'audit'::regnamespace, 'partitions'::regnamespace)
          or coalesce(inhparent, class.oid) = any (array[
            'audit.security_violations', 'audit.enterprise_audit_events', 'audit.threat_intelligence_events'
          ]::regclass[])
        )
        and not exists (
          select from pg_trigger join pg_proc on pg_proc.oid = tgfoid
          where tgrelid = class.oid and proname ~ ('^' || wanted || '$') and tgenabled = 'O'
        )`);
    expect(missing).toEqual([]);
  });

  it("has the same triggers in the month that rows go to now", async () => {
    await owner.query("select * from maintenance.make_partitions(0)");
    await app.query(
      insertInto("audit.audit_log", LOGS[0]!, { security_context: `'{"origin": "trigger"}'`, row_id: "'new'" }),
    );
    expect(
      await rowsOf(
        "select security_context ->> 'origin' as origin, tableoid::regclass::text ~ '_y[0-9]{4}m[0-9]{2}$' as month from audit.audit_log where row_id = 'new'",
      ),
    ).toEqual([{ origin: "application", month: true }]);
  });
});
