import type { Client } from "pg";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { fillTables } from "../helpers/fill-tables.ts";
import { addUnreferenced, tablesWith, tablesWithEach, UNREFERENCED } from "../helpers/personal-data.ts";
import { createSchemaDatabase, type SchemaDatabase } from "../helpers/schema-database.ts";

let database: SchemaDatabase | undefined;
let owner: Client;
/** The user that the first row of every table is about, and another. */
let ada: number;
let bob: number;

beforeEach(async () => {
  await database?.close();
  database = await createSchemaDatabase("privacy");
  await database.up();
  owner = await database.connect("ai_workflow_owner");
  await fillTables(owner, 2);
  // The rows that the generator can't know to be about somebody.
  await owner.query(
    "update public.chat_history set session_id = (select session_id from public.chat_messages order by 1 limit 1) where id = (select min(id) from public.chat_history)",
  );
  const { rows } = await owner.query<{ id: number }>("select id from public.users order by id");
  [ada, bob] = rows.map(({ id }) => id) as [number, number];
});
afterAll(async () => {
  await database?.close();
});

interface Entry {
  table_name: string;
  relation: string;
  filter: string;
  on_erase: string;
  on_pseudonymise: string;
  scrub: Record<string, string | null> | null;
}

/** Values of Ada's rows that say who she is or where she came from, as the generator writes them. */
const PERSONAL = [
  "person0@example.org",
  "0 username",
  "+493012340",
  "0 ip_address",
  "0 user_agent",
  "0 device_fingerprint",
  "0 last_ip_address",
];

/** Rows that an action scrubs, by table and key, with what their columns should hold afterwards. */
async function rowsToScrub(
  action: "on_erase" | "on_pseudonymise",
): Promise<{ table: string; id: string; scrub: Record<string, string | null> }[]> {
  const found: { table: string; id: string; scrub: Record<string, string | null> }[] = [];
  for (const entry of (await entries()).filter((each) => each[action] === "scrub")) {
    const { rows } = await owner.query<{ id: string }>(
      `select id::text as id from ${entry.table_name} as entry where ${entry.filter}`,
      [ada],
    );
    expect([entry.table_name, entry.filter, rows.length > 0]).toEqual([entry.table_name, entry.filter, true]);
    for (const { id } of rows) found.push({ table: entry.table_name, id, scrub: entry.scrub ?? {} });
  }
  return found;
}

/** Columns that hold something else than their entry says they should. */
async function notScrubbed(rows: Awaited<ReturnType<typeof rowsToScrub>>): Promise<string[]> {
  const wrong: string[] = [];
  for (const { table, id, scrub } of rows) {
    for (const [column, wanted] of Object.entries(scrub)) {
      const pattern = wanted?.includes("{uuid}") ? wanted.replace("{uuid}", "%") : null;
      const { rows: right } = await owner.query<{ right: boolean }>(
        `select case when $2::text is null then ${column} is not distinct from ${wanted === null ? "null" : `'${wanted}'`}
           else ${column}::text like $2 end as right from ${table} where id::text = $1`,
        [id, pattern],
      );
      if (right.length !== 1 || right[0]?.right !== true) wrong.push(`${table} ${id} ${column}`);
    }
  }
  return wrong;
}

async function entries(): Promise<Entry[]> {
  return (await owner.query<Entry>("select * from privacy.user_data order by step")).rows;
}

/** Rows of a user at each place. */
async function countEach(places: Pick<Entry, "table_name" | "filter">[], user: number): Promise<[string, number][]> {
  const counts: [string, number][] = [];
  for (const { table_name, filter } of places) {
    const { rows } = await owner.query<{ count: string }>(`select count(*) from ${table_name} where ${filter}`, [user]);
    counts.push([table_name, Number(rows[0]?.count)]);
  }
  return counts;
}

async function request(type: string): Promise<string> {
  const { rows } = await owner.query<{ id: string }>(
    `insert into public.privacy_requests (user_id, request_type, request_details, requested_scope, due_date)
     values ($1, $2, '{"why": "person0@example.org asks"}', array['all'], now() + interval '30 days') returning id`,
    [ada, type],
  );
  return rows[0]?.id ?? "";
}

describe("the list of places with user data", () => {
  it("names every column that refers to a user, by a foreign key or by its name alone", async () => {
    const { rows } = await owner.query<{ relation: string; column: string }>(`
      select format('%s.%s', nspname, relname) as relation, attname as column
      from pg_constraint join pg_class on pg_class.oid = conrelid join pg_namespace on pg_namespace.oid = relnamespace
      join pg_attribute on attrelid = conrelid and attnum = conkey[1]
      where contype = 'f' and conparentid = 0 and confrelid = 'public.users'::regclass
      union
      select format('%s.%s', nspname, relname), attname
      from pg_attribute join pg_class on pg_class.oid = attrelid join pg_namespace on pg_namespace.oid = relnamespace
      where attname = 'user_id' and relkind in ('r', 'p') and not relispartition and nspname in ('public', 'audit')`);
    expect(rows.length).toBeGreaterThan(60);
    const places = await entries();
    const unnamed = rows.filter(
      ({ relation, column }) =>
        !places.some((entry) => entry.table_name === relation && new RegExp(`\\b${column}\\b`).test(entry.filter)),
    );
    expect(unnamed).toEqual([]);
  });

  it("names every table that is reached through a user's rows", async () => {
    const { rows } = await owner.query<{ relation: string }>(`
      select distinct format('%s.%s', nspname, relname) as relation
      from pg_constraint join pg_class on pg_class.oid = conrelid join pg_namespace on pg_namespace.oid = relnamespace
      where contype = 'f' and conparentid = 0 and confrelid::regclass::text <> 'users'`);
    const named = new Set((await entries()).map(({ table_name }) => table_name));
    // These two refer to the agents' configurations and to the policies, which are about no user.
    const about = rows
      .map(({ relation }) => relation)
      .filter((relation) => !/legacy_agent_metrics|data_retention_logs/.test(relation));
    expect(about.filter((relation) => !named.has(relation))).toEqual([]);
  });
});

describe("export_user", () => {
  it("gives every row about the user, from every table, without secrets", async () => {
    await addUnreferenced(owner, ada, bob);
    const places = (await entries()).filter(({ relation }) => relation === "subject");
    const tables = [...new Set(places.map(({ table_name }) => table_name))];
    expect(tables.length).toBeGreaterThan(55);
    // A row that two entries of a table find is one row.
    const wanted = await countEach(
      tables.map((table_name) => ({
        table_name,
        filter: places
          .filter((place) => place.table_name === table_name)
          .map(({ filter }) => `(${filter})`)
          .join(" or "),
      })),
      ada,
    );
    expect(wanted.filter(([, count]) => count === 0)).toEqual([]);
    const { rows } = await owner.query<{
      export: {
        row_count: number;
        about_the_user: Record<string, Record<string, unknown>[]>;
        made_by_the_user: Record<string, unknown[]>;
      };
    }>("select privacy.export_user($1) as export", [ada]);
    const exported = rows[0]?.export;
    expect(tables.map((table) => [table, exported?.about_the_user[table]?.length])).toEqual(wanted);
    expect(exported?.row_count).toBe(wanted.reduce((sum, [, count]) => sum + count, 0));
    const trail = exported?.about_the_user["audit.audit_log"] ?? [];
    expect(trail.map(({ row_id }) => row_id)).toContain("x");
    expect(trail.map(({ query }) => query)).toContain("update of hers");
    expect(exported?.about_the_user["public.users"]).toMatchObject([
      { email: "person0@example.org", hashed_password: "***" },
    ]);
    expect(exported?.about_the_user["public.user_oauth_tokens"]).toMatchObject([{ access_token: "***" }]);
    // The name of a conversation is no secret; that of a login session is.
    expect(exported?.about_the_user["public.chat_messages"]).toMatchObject([{ session_id: "0 session_id" }]);
    expect(exported?.about_the_user["public.chat_mode_sessions"]).toMatchObject([{ session_id: "0 session_id" }]);
    expect(exported?.about_the_user["public.authentication_sessions"]).toMatchObject([{ session_id: "***" }]);
    expect(exported?.about_the_user["audit.enterprise_audit_events"]).toMatchObject([{ session_id: "***" }]);
    expect(exported?.made_by_the_user["public.security_tier_policies"]).toHaveLength(1);
    expect(JSON.stringify(exported)).not.toContain("person1@example.org");
  });

  it("leaves a trail", async () => {
    await owner.query("select privacy.export_user($1)", [ada]);
    const { rows } = await owner.query(
      "select user_id, access_type, sensitive_data_accessed from audit.data_access_log where service_name = 'privacy.export_user'",
    );
    expect(rows).toEqual([{ user_id: ada, access_type: "EXPORT", sensitive_data_accessed: true }]);
  });

  it("refuses a user that is not there", async () => {
    await expect(owner.query("select privacy.export_user(0)")).rejects.toThrow("There is no user 0");
  });
});

describe("erase_user", () => {
  it("leaves nothing that names the user, in any table, and nobody else's row touched", async () => {
    // The trail grows by what is done here, also about rows that two users share.
    const places = (await entries()).filter(({ table_name }) => table_name !== "audit.audit_log");
    const bobsBefore = await countEach(places, bob);
    expect((await tablesWith(owner, "person0@example.org")).length).toBeGreaterThan(5);

    await owner.query("select privacy.erase_user($1)", [ada]);

    expect(await tablesWith(owner, "person0@example.org")).toEqual([]);
    expect(await tablesWith(owner, "0 username")).toEqual([]);
    expect(await tablesWith(owner, "+493012340")).toEqual([]);
    const left = await countEach(
      places.filter(({ on_erase }) => on_erase === "delete"),
      ada,
    );
    expect(left.filter(([, count]) => count !== 0)).toEqual([]);
    expect(await countEach(places, bob)).toEqual(bobsBefore);
    expect((await tablesWith(owner, "person1@example.org")).length).toBeGreaterThan(5);
  });

  it("overwrites every column that an entry names, in every row that it finds", async () => {
    await addUnreferenced(owner, ada, bob);
    const rows = await rowsToScrub("on_erase");
    expect(rows.length).toBeGreaterThan(15);
    await owner.query("select privacy.erase_user($1)", [ada]);
    expect(await notScrubbed(rows)).toEqual([]);
  });

  it("leaves no address, device, session or statement of the user's anywhere", async () => {
    await addUnreferenced(owner, ada, bob);
    const values = [...PERSONAL, ...UNREFERENCED];
    for (const value of UNREFERENCED) expect([value, (await tablesWith(owner, value)).length]).not.toEqual([value, 0]);
    await owner.query("select privacy.erase_user($1)", [ada]);
    const left = await tablesWithEach(owner, values);
    expect(left.filter(([, tables]) => tables.length > 0)).toEqual([]);
    expect(await tablesWith(owner, "reason about him")).toContain("public.security_actions");
  });

  it("keeps the account as a nameless row that nobody can log into", async () => {
    await owner.query("select privacy.erase_user($1)", [ada]);
    const { rows } = await owner.query("select * from public.users where id = $1", [ada]);
    expect(rows[0]).toMatchObject({
      hashed_password: "!",
      is_active: false,
      status: "disabled",
      tfa_secret: null,
      mission_statement: null,
    });
    expect(rows[0]).toMatchObject({
      username: expect.stringMatching(/^erased-/),
      email: expect.stringMatching(/@erased\.invalid$/),
    });
  });

  it("leaves an event that counts what it did", async () => {
    const { rows: result } = await owner.query<{ result: { rows: Record<string, number> } }>(
      "select privacy.erase_user($1) as result",
      [ada],
    );
    const { rows } = await owner.query(
      "select event_type, user_id, event_context -> 'rows' as rows from audit.enterprise_audit_events where event_category = 'COMPLIANCE_EVENT'",
    );
    expect(rows).toEqual([{ event_type: "USER_ERASED", user_id: ada, rows: result[0]?.result.rows }]);
    expect(result[0]?.result.rows).toMatchObject({ "public.users": 1, "public.tasks": 1, "public.chat_history": 1 });
  });

  it("is refused under a legal hold, and then nothing is changed", async () => {
    await owner.query(
      "update public.forensic_investigations set legal_hold = true, status = 'ANALYSIS', affected_users = array[$1::integer]",
      [ada],
    );
    await expect(owner.query("select privacy.erase_user($1)", [ada])).rejects.toThrow("legal hold");
    expect((await tablesWith(owner, "person0@example.org")).length).toBeGreaterThan(5);
    await expect(owner.query("select privacy.erase_user($1)", [bob])).resolves.toBeDefined();
  });
});

describe("pseudonymise_user", () => {
  it("takes the name, addresses, devices and sessions, in every table, and keeps what the user made", async () => {
    await addUnreferenced(owner, ada, bob);
    const scrubbed = await rowsToScrub("on_pseudonymise");
    const places = await entries();
    const kept = places.filter((entry) => entry.relation === "subject" && entry.on_pseudonymise === "keep");
    const keptBefore = await countEach(kept, ada);
    const bobsBefore = await countEach(
      places.filter(({ table_name }) => table_name !== "audit.audit_log"),
      bob,
    );
    await owner.query("select privacy.pseudonymise_user($1)", [ada]);
    expect(await notScrubbed(scrubbed)).toEqual([]);
    const named = await tablesWithEach(owner, [...PERSONAL, ...UNREFERENCED]);
    expect(named.filter(([, tables]) => tables.length > 0)).toEqual([]);
    expect(await countEach(kept, ada)).toEqual(keptBefore);
    expect(
      await countEach(
        places.filter(({ table_name }) => table_name !== "audit.audit_log"),
        bob,
      ),
    ).toEqual(bobsBefore);
    const left = await countEach(
      places.filter(({ on_pseudonymise }) => on_pseudonymise === "delete"),
      ada,
    );
    expect(left.filter(([, count]) => count !== 0)).toEqual([]);
    const made = places.filter(({ table_name }) => /\.(tasks|documents|chat_messages|calendars)$/.test(table_name));
    expect((await countEach(made, ada)).map(([, count]) => count)).toEqual([1, 1, 1, 1]);
  });
});

describe("fulfil_request", () => {
  it.each(["DATA_EXPORT", "DATA_PORTABILITY"])("answers %s with the export", async (type) => {
    const id = await request(type);
    const { rows } = await owner.query<{ result: { user_id: number } }>("select privacy.fulfil_request($1) as result", [
      id,
    ]);
    expect(rows[0]?.result.user_id).toBe(ada);
    expect(
      (
        await owner.query(
          "select status, completed_at is not null as done from public.privacy_requests where id = $1",
          [id],
        )
      ).rows,
    ).toEqual([{ status: "COMPLETED", done: true }]);
  });

  it("answers DATA_DELETION with the erasure and keeps the request as proof", async () => {
    const id = await request("DATA_DELETION");
    await owner.query("select privacy.fulfil_request($1)", [id]);
    expect(await tablesWith(owner, "person0@example.org")).toEqual([]);
    expect((await owner.query("select status, user_id from public.privacy_requests where id = $1", [id])).rows).toEqual(
      [{ status: "COMPLETED", user_id: ada }],
    );
  });

  it("refuses what is done already, and what needs a person", async () => {
    const id = await request("DATA_EXPORT");
    await owner.query("select privacy.fulfil_request($1)", [id]);
    await expect(owner.query("select privacy.fulfil_request($1)", [id])).rejects.toThrow("COMPLETED already");
    await expect(
      owner.query("select privacy.fulfil_request($1)", [await request("DATA_RECTIFICATION")]),
    ).rejects.toThrow("needs a person");
  });
});

describe("a user with nothing to prove", () => {
  it("can be deleted, and takes along what is theirs", async () => {
    await owner.query(
      "insert into public.users (username, email, hashed_password) values ('eve', 'eve@example.org', 'x')",
    );
    await owner.query("insert into public.calendars (user_id) select id from public.users where username = 'eve'");
    await owner.query(
      "insert into audit.enterprise_audit_events (event_id, event_type, event_category, event_severity, event_timestamp, user_id, service_name, event_description, event_outcome) select 'x', 't', 'AUTHENTICATION', 'LOW', now(), id, 's', 'd', 'SUCCESS' from public.users where username = 'eve'",
    );
    await owner.query("delete from public.users where username = 'eve'");
    expect((await owner.query("select user_id from audit.enterprise_audit_events where event_id = 'x'")).rows).toEqual([
      { user_id: null },
    ]);
  });

  it("but not with a privacy request or a record of access", async () => {
    await expect(owner.query("delete from public.users where id = $1", [ada])).rejects.toThrow(
      "violates foreign key constraint",
    );
  });
});
