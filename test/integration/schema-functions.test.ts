import type { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TAKEN_FROM_PUBLIC } from "../../database/access/public-functions.ts";
import { CALLABLE_BY_PUBLIC } from "../helpers/callable-by-public.ts";
import { fillTables } from "../helpers/fill-tables.ts";
import { createSchemaDatabase, type SchemaDatabase } from "../helpers/schema-database.ts";
import { functionsWhere, plantShadows, SHADOW_KINDS, type ShadowKind } from "../helpers/shadows.ts";

const BOUND = "proc.prosqlbody is not null";
const SAFE_PATH = "'search_path=pg_catalog, pg_temp' = any (proc.proconfig)";
const COMMITS = String.raw`proc.prokind = 'p' and proc.prosrc ~* '\mcommit\M'`;

let database: SchemaDatabase;
let admin: Client;
/** What the application does: a row into every table, then a change and a removal. */
let changes: string[];
/** What of it is refused even without an attack. */
let refused: string[];

beforeAll(async () => {
  database = await createSchemaDatabase("functions");
  admin = await database.connect("postgres");
  await admin.query(`
    do $$ begin execute format('grant temporary on database %I to app_user', current_database()); end $$;
    grant usage on schema pgbouncer to app_user;
    create schema hostile authorization app_user;
    grant usage on schema hostile to public;
    create schema owners authorization ai_workflow_owner`);
  changes = await recordChanges();
  refused = (await spiedBy("app_user", undefined, "hostile", [...changes, ...(await definerCalls())])).failed;
});
afterAll(async () => {
  await database?.close();
});

async function recordChanges(): Promise<string[]> {
  const recorded: string[] = [];
  const owner = await database.connect("ai_workflow_owner");
  const query = owner.query.bind(owner) as (sql: string) => Promise<unknown>;
  await owner.query("begin");
  await fillTables(
    {
      query: (sql: string) => {
        if (sql.startsWith("insert ")) recorded.push(sql);
        return query(sql);
      },
    } as Client,
    1,
  );
  await owner.query("rollback");
  await owner.end();
  const statements = recorded.flatMap((sql) => {
    // No function and no operator of the statement's own; then, for the logs, with a time that they take.
    const plain = sql.replaceAll(/ order by 1 offset \d+ % \(select count\(\*\) from [^)]+\) limit 1/g, " limit 1");
    const now = plain.replaceAll(/'[^']+'::timestamp with time zone/g, "current_timestamp");
    return now === plain ? [plain] : [plain, now];
  });
  return [...statements, "update public.users set status = 'disabled'", "delete from public.user_profiles"];
}

/** Calls of every definer function that is no trigger, with arguments that its types allow. */
async function definerCalls(): Promise<string[]> {
  const { rows } = await admin.query<{ sql: string }>(`
    select format('select %s(%s)', oid::regproc, (
      select string_agg(case when type = 'integer'::regtype then '1' when proisstrict then '''app_user''' else 'null' end
        || '::pg_catalog.' || (select typname from pg_type where pg_type.oid = type), ', ' order by place)
      from unnest(proargtypes) with ordinality as argument (type, place))) as sql
    from pg_proc where prosecdef and prorettype <> 'trigger'::regtype order by 1`);
  await admin.query(
    (await functionsWhere(admin, "proc.prosecdef"))
      .map((signature) => `grant execute on function ${signature} to app_user`)
      .join(";"),
  );
  return rows.map(({ sql }) => sql);
}

/** What is planted in the schema and runs as another role than the attacker while the statements do. */
async function spiedBy(
  role: "app_user" | "ai_workflow_owner",
  kind: ShadowKind | undefined,
  schema: string,
  statements: readonly string[],
): Promise<{ planted: number; spied: string[]; failed: string[] }> {
  const attacker = await database.connect(role);
  const spied = new Set<string>();
  attacker.on("notice", ({ message }) => {
    if (message?.startsWith("spied: ")) spied.add(message);
  });
  const failed: string[] = [];
  try {
    const planted = kind ? await plantShadows(admin, attacker, kind, schema) : 0;
    // What a shadow answers may make a loop endless.
    await attacker.query(`set statement_timeout = '2min'; set search_path = ${schema}, pg_catalog`);
    if (role === "app_user") await attacker.query("begin");
    for (const sql of statements) {
      if (role === "app_user") await attacker.query("savepoint attempt");
      await attacker.query(sql).catch(async (error: Error) => {
        failed.push(`${sql}: ${error.message}`);
        if (role === "app_user") await attacker.query("rollback to savepoint attempt");
      });
    }
    return { planted, spied: [...spied].sort(), failed };
  } finally {
    await attacker.query("rollback").catch(() => {});
    await attacker.end();
    if (schema !== "pg_temp") {
      const { rows } = await admin.query<{ owner: string }>(
        "select nspowner::regrole::text as owner from pg_namespace where nspname = $1",
        [schema],
      );
      await admin.query(
        `set client_min_messages = error; drop schema ${schema} cascade; create schema ${schema} authorization ${rows[0]?.owner};
         grant usage on schema ${schema} to public`,
      );
    }
  }
}

describe("every function of the package", () => {
  it("has a search_path with the caller's temporary schema last, or a body without names to look up", async () => {
    expect(
      await functionsWhere(admin, `not (${BOUND}) and not coalesce(${SAFE_PATH}, false) and not (${COMMITS})`),
    ).toEqual([]);
  });

  it("is for nobody unless a migration says so", async () => {
    expect(
      await functionsWhere(
        admin,
        "exists (select from aclexplode(coalesce(proc.proacl, acldefault('f', proc.proowner))) where grantee = 0)",
      ),
    ).toEqual([]);
    const owner = await database.connect("ai_workflow_owner");
    await owner.query("begin; create function public.new_one() returns integer language sql return 1");
    expect(
      (await owner.query("select has_function_privilege('app_user', 'public.new_one()', 'execute') as may")).rows,
    ).toEqual([{ may: false }]);
    await owner.query("rollback");
  });
});

describe.each(["pg_temp", "hostile"])("objects of app_user's in %s, ahead in its path,", (schema) => {
  it.each(SHADOW_KINDS)("never run as another role: %s", async (kind) => {
    const statements = [...changes, ...(await definerCalls())];
    const { planted, spied, failed } = await spiedBy("app_user", kind, schema, statements);
    expect(planted).toBeGreaterThan(10);
    const ofUsers = /^\w+( into)? public\.users/;
    expect(refused.filter((line) => ofUsers.test(line) && !line.includes("current_timestamp"))).toEqual([]);
    expect(spied.filter((line) => !line.endsWith(" as app_user"))).toEqual([]);
    expect(failed).toEqual(refused);
  });
});

describe("a procedure that commits, and so can't have a path,", () => {
  // Operators are not looked up in pg_temp; in the owner's path only the owner makes some.
  const kinds = SHADOW_KINDS.filter((kind) => kind !== "operators");

  it.each(kinds)("looks up no name of the owner's own path: %s", async (kind) => {
    const procedures = await functionsWhere(admin, COMMITS);
    expect(procedures.length).toBeGreaterThan(1);
    const calls = procedures.map((signature) => `call ${signature.replace(/\(.*/, "()")}`);
    const { planted, spied, failed } = await spiedBy("ai_workflow_owner", kind, "owners", calls);
    expect(planted).toBeGreaterThan(10);
    expect(spied).toEqual([]);
    expect(failed).toEqual([]);
  });
});

/** A definer function without a path, which looks up a name of every kind. */
const CARELESS = `
  create function public.careless() returns void language plpgsql security definer as $$
  begin
    begin perform 'a'::text; exception when others then null; end;
    begin perform from users; exception when others then null; end;
    begin insert into turns default values; exception when others then null; end;
    begin perform lower('A'); exception when others then null; end;
    begin perform 1 + 1; exception when others then null; end;
  end $$;
  alter function public.careless() owner to ai_workflow_owner;
  grant execute on function public.careless() to app_user`;

describe("the same attempts", () => {
  it.each([
    ["pg_temp", "types", "text"],
    ["pg_temp", "views", "users"],
    ["pg_temp", "tables", "turns"],
    ["hostile", "types", "text"],
    ["hostile", "views", "users"],
    ["hostile", "tables", "turns"],
    ["hostile", "functions", "lower"],
    ["hostile", "operators", "+"],
  ] as const)("reach the owner through a function without a path: %s, %s", async (schema, kind, name) => {
    await admin.query(CARELESS);
    try {
      const { spied } = await spiedBy("app_user", kind, schema, ["select public.careless()"]);
      expect(spied).toContain(`spied: ${kind} ${name} as ai_workflow_owner`);
    } finally {
      await admin.query("drop function public.careless()");
    }
  });

  it("reached the owner before the functions had a safe path", async () => {
    const safe = database.migrations.findIndex(({ name }) => name.endsWith("set_safe_search_path"));
    await database.down(database.migrations.length - safe);
    const { spied } = await spiedBy("app_user", "types", "pg_temp", changes);
    expect(spied).toContain("spied: types text as ai_workflow_owner");
    await database.up();
  });
});

describe("PUBLIC", () => {
  it("may call exactly these volatile functions, of extensions too", async () => {
    const { rows } = await admin.query<{ name: string }>(`
      select distinct proname as name from pg_proc
      where provolatile = 'v' and not 'internal'::regtype = any (proargtypes)
        and exists (select from aclexplode(coalesce(proacl, acldefault('f', proowner))) where grantee = 0)`);
    expect(rows.map(({ name }) => name).sort()).toEqual(Object.values(CALLABLE_BY_PUBLIC).flat().sort());
  });

  it("has lost every function of the list, and who keeps it is as written there", async () => {
    for (const { names, kept } of TAKEN_FROM_PUBLIC) {
      const { rows } = await admin.query<{ name: string; callers: string[] }>(
        `select proname as name, array(
           select rolname from pg_roles where rolname in ('ai_workflow_owner', 'app_user', 'app_readonly', 'app_monitor', 'pgbouncer', 'pgbouncer_lookup')
             and has_function_privilege(pg_roles.oid, pg_proc.oid, 'execute') order by rolname)::text[] as callers
         from pg_proc where proname = any ($1)`,
        [names],
      );
      expect(new Set(rows.map(({ name }) => name))).toEqual(new Set(names));
      for (const { name, callers } of rows) expect(callers, name).toEqual(kept.toSorted());
    }
  });

  it("has no right to a relation outside the catalogue, nor to make or disturb anything", async () => {
    const { rows } = await admin.query(`
      select class.oid::regclass::text as object, privilege_type from pg_class as class cross join aclexplode(relacl) as acl
        where grantee = 0 and (relnamespace <> all (array['pg_catalog', 'information_schema']::regnamespace[])
          or privilege_type <> 'SELECT' and class.oid <> 'pg_settings'::regclass)
      union all
      select nspname, privilege_type from pg_namespace cross join aclexplode(coalesce(nspacl, acldefault('n', nspowner)))
        where grantee = 0 and privilege_type <> 'USAGE'
      union all
      select datname, privilege_type from pg_database cross join aclexplode(coalesce(datacl, acldefault('d', datdba)))
        where grantee = 0 and datname = current_database()`);
    expect(rows).toEqual([]);
  });
});

describe.each(["app_user", "app_readonly", "app_monitor"] as const)("%s", (role) => {
  it("makes nothing anywhere, and sets no trigger, reference or lock of the owner's", async () => {
    const { rows } = await admin.query(
      `select nspname as object, privilege from pg_namespace cross join unnest(array['create']) as privilege
         where nspname <> 'hostile' and has_schema_privilege($1, oid, privilege)
       union all
       select class.oid::regclass::text, privilege from pg_class as class cross join unnest(array['truncate', 'references', 'trigger']) as privilege
         where relkind in ('r', 'p', 'v', 'm', 'f') and has_table_privilege($1, class.oid, privilege)
       union all
       select class.oid::regclass::text, privilege from pg_class as class cross join unnest(array['select', 'insert', 'update', 'delete']) as privilege
         where relnamespace = any (array['partitions', 'privacy']::regnamespace[]) and relkind in ('r', 'p', 'v', 'm') and has_table_privilege($1, class.oid, privilege)`,
      [role],
    );
    expect(rows).toEqual([]);
  });
});

describe("a role that only reads", () => {
  const ATTEMPTS = [
    "select lo_from_bytea(0, 'kept')",
    "select lo_create(0)",
    "select lo_creat(-1)",
    "select lo_open(1, 131072)",
    "select lo_put(1, 0, 'more')",
    "select lo_unlink(1)",
    "select lo_truncate(0, 0)",
    "select lowrite(0, 'more')",
    "select pg_logical_emit_message(false, 'x', repeat('x', 1000))",
    "select pg_advisory_lock(1)",
    "select pg_try_advisory_xact_lock(1, 2)",
    "select pg_current_xact_id()",
    "select txid_current()",
    "select pg_export_snapshot()",
    "select pg_create_physical_replication_slot('kept')",
    "select pg_terminate_backend(1)",
    "select pg_cancel_backend(1)",
    "select pg_stat_statements_reset()",
    "select pg_stat_reset()",
    "create temporary table mine ()",
  ];

  it.each(["app_readonly", "app_monitor"] as const)("stores, locks and ends nothing: %s", async (role) => {
    const client = await database.connect(role);
    await client.query("set default_transaction_read_only = off");
    for (const sql of ATTEMPTS) await expect(client.query(sql), sql).rejects.toMatchObject({ code: "42501" });
    await client.end();
  });

  it("sees statements of others as app_monitor only", async () => {
    for (const role of ["app_user", "app_readonly"] as const) {
      const client = await database.connect(role);
      for (const sql of ["select from pg_stat_statements", "select from pg_stat_statements_info"])
        await expect(client.query(sql)).rejects.toMatchObject({ code: "42501" });
      await client.end();
    }
    const monitor = await database.connect("app_monitor");
    expect((await monitor.query("select query from pg_stat_statements limit 1")).rowCount).toBe(1);
  });
});

describe("the application", () => {
  it("stores large objects and takes advisory locks", async () => {
    const app = await database.connect("app_user");
    await app.query("begin");
    const { rows } = await app.query<{ id: number }>("select lo_from_bytea(0, 'some bytes') as id");
    expect((await app.query("select convert_from(lo_get($1), 'UTF8') as text", [rows[0]?.id])).rows).toEqual([
      { text: "some bytes" },
    ]);
    expect((await app.query("select pg_try_advisory_xact_lock(1) as locked")).rows).toEqual([{ locked: true }]);
    await app.query("rollback");
    await app.end();
  });

  it("keeps no maintenance waiting by a lock that anybody can take", async () => {
    const app = await database.connect("app_user");
    await app.query(`
      select pg_advisory_lock(hashtext('ai-workflow-database maintenance.refresh_views')),
             pg_advisory_lock(hashtext('ai-workflow-database maintenance.make_partitions'))`);
    await expect(app.query("select from maintenance.turns for update")).rejects.toMatchObject({ code: "42501" });
    await expect(app.query("begin; lock table maintenance.turns in access share mode")).rejects.toMatchObject({
      code: "42501",
    });
    const owner = await database.connect("ai_workflow_owner");
    await owner.query("set statement_timeout = '2min'");
    expect((await owner.query("select * from maintenance.refresh_views()")).rows).toHaveLength(5);
    await owner.query("select * from maintenance.make_partitions(0)");
    await app.end();
  });

  it("sees two runs of a maintenance task one after the other", async () => {
    const [first, second] = [await database.connect("ai_workflow_owner"), await database.connect("ai_workflow_owner")];
    await first.query("begin; select maintenance.make_partitions(0)");
    const waiting = second.query("select * from maintenance.make_partitions(0)");
    await expect
      .poll(async () => (await admin.query("select from pg_locks where not granted")).rowCount)
      .toBeGreaterThan(0);
    await first.query("commit");
    expect((await waiting).rows).toEqual([]);
  });
});
