import type { Client } from "pg";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { fillTables, readTables } from "../helpers/fill-tables.ts";
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
}, 60_000);
afterAll(async () => {
  await database?.close();
});

interface Entry {
  table_name: string;
  relation: string;
  filter: string;
  on_erase: string;
  on_pseudonymise: string;
}

async function entries(): Promise<Entry[]> {
  return (await owner.query<Entry>("select * from privacy.user_data order by step")).rows;
}

/** Rows of a user at each place. */
async function countEach(places: Entry[], user: number): Promise<[string, number][]> {
  const counts: [string, number][] = [];
  for (const { table_name, filter } of places) {
    const { rows } = await owner.query<{ count: string }>(`select count(*) from ${table_name} where ${filter}`, [user]);
    counts.push([table_name, Number(rows[0]?.count)]);
  }
  return counts;
}

/** Tables in which a text occurs. */
async function tablesWith(text: string): Promise<string[]> {
  const found: string[] = [];
  for (const { name } of await readTables(owner)) {
    const { rowCount } = await owner.query(`select from ${name} as entry where to_jsonb(entry)::text like $1 limit 1`, [
      `%${text}%`,
    ]);
    if (rowCount) found.push(name);
  }
  return found;
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
    const { rows } = await owner.query<{
      export: { about_the_user: Record<string, unknown[]>; made_by_the_user: Record<string, unknown[]> };
    }>("select privacy.export_user($1) as export", [ada]);
    const exported = rows[0]?.export;
    const places = (await entries()).filter(
      ({ relation, table_name }) => relation === "subject" && !table_name.startsWith("audit."),
    );
    const wanted = await countEach(places, ada);
    expect(places.length).toBeGreaterThan(50);
    expect(places.map(({ table_name }) => [table_name, exported?.about_the_user[table_name]?.length])).toEqual(wanted);
    expect(exported?.about_the_user["public.users"]).toMatchObject([
      { email: "person0@example.org", hashed_password: "***" },
    ]);
    expect(exported?.about_the_user["public.user_oauth_tokens"]).toMatchObject([{ access_token: "***" }]);
    expect(exported?.made_by_the_user["public.security_tier_policies"]).toHaveLength(2);
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
    expect((await tablesWith("person0@example.org")).length).toBeGreaterThan(5);

    await owner.query("select privacy.erase_user($1)", [ada]);

    expect(await tablesWith("person0@example.org")).toEqual([]);
    expect(await tablesWith("0 username")).toEqual([]);
    expect(await tablesWith("+493012340")).toEqual([]);
    const left = await countEach(
      places.filter(({ on_erase }) => on_erase === "delete"),
      ada,
    );
    expect(left.filter(([, count]) => count !== 0)).toEqual([]);
    expect(await countEach(places, bob)).toEqual(bobsBefore);
    expect((await tablesWith("person1@example.org")).length).toBeGreaterThan(5);
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
    expect((await tablesWith("person0@example.org")).length).toBeGreaterThan(5);
    await expect(owner.query("select privacy.erase_user($1)", [bob])).resolves.toBeDefined();
  });
});

describe("pseudonymise_user", () => {
  it("takes the name and keeps what the user made", async () => {
    await owner.query("select privacy.pseudonymise_user($1)", [ada]);
    expect(await tablesWith("person0@example.org")).toEqual([]);
    expect(await tablesWith("0 username")).toEqual([]);
    const places = await entries();
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
    expect(await tablesWith("person0@example.org")).toEqual([]);
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
