import type { Client } from "pg";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { fillTables } from "../helpers/fill-tables.ts";
import { createSchemaDatabase, type SchemaDatabase } from "../helpers/schema-database.ts";

let database: SchemaDatabase | undefined;
let owner: Client;
/** The user who goes, and one who stays. */
let ada: number;
let bob: number;

const NAME = "Zoë O'Lovelace";
const USERNAME = "zoe.lovelace_1815";
const ADDRESS = "Zoe.Love+x@Mail.Example.org";
/** Shorter than the narrowest column that a text fits in; the others are planted where there is room. */
const SHORT = "zl@e.org";

/** Three spellings each: as it is, in other cases, and as programs write it into URLs, JSON and mails. */
const SPELLINGS = {
  address: [ADDRESS, ADDRESS.toUpperCase(), `<a href="mailto:${encodeURIComponent(ADDRESS.toLowerCase())}">`],
  username: [USERNAME, USERNAME.toUpperCase(), `/home/${USERNAME}/notes`],
  name: [NAME, NAME.toUpperCase(), `Ask ${NAME.normalize("NFD").toLowerCase()}, please.`],
};

beforeEach(async () => {
  await database?.close();
  database = await createSchemaDatabase("erasure");
  owner = await database.connect("ai_workflow_owner");
  await fillTables(owner, 2);
  const { rows } = await owner.query<{ id: number }>("select id from public.users order by id");
  [ada, bob] = rows.map(({ id }) => id) as [number, number];
  await owner.query("update public.users set username = $2, email = $3 where id = $1", [ada, USERNAME, ADDRESS]);
  await owner.query(
    "update public.user_profiles set first_name = 'Zoë', last_name = 'O''Lovelace', display_name = null where user_id = $1",
    [ada],
  );
});
afterAll(async () => {
  await database?.close();
});

interface Column {
  table: string;
  column: string;
  type: string;
  /** Characters it may hold. */
  length: number | null;
  isKey: boolean;
  isUnique: boolean;
  /** Whether a check names the values that may stand in it. */
  isListed: boolean;
  /** Whether some other check is on it. */
  isChecked: boolean;
}

/** Every column that can hold a text, from the catalogue; without the two histories of migrations and a random key. */
async function textColumns(): Promise<Column[]> {
  const { rows } = await owner.query<Column>(`
    select format('%I.%I', nspname, relname) as table, attname as column, format_type(atttypid, null) as type,
      case when atttypmod > 4 and typcategory = 'S' then atttypmod - 4 end as length,
      exists (select from pg_constraint where attnum = any (conkey) and conrelid = attrelid and contype in ('p', 'f')
        or attnum = any (confkey) and confrelid = attrelid and contype = 'f') as "isKey",
      exists (select from pg_index where indrelid = attrelid and indisunique and attnum = any (indkey)) as "isUnique",
      exists (select from pg_constraint where attnum = any (conkey) and conrelid = attrelid and contype = 'c'
        and pg_get_constraintdef(oid) like '%= ANY (%') as "isListed",
      exists (select from pg_constraint where attnum = any (conkey) and conrelid = attrelid and contype = 'c') as "isChecked"
    from pg_attribute join pg_class on pg_class.oid = attrelid join pg_namespace on pg_namespace.oid = relnamespace
    join pg_type on pg_type.oid = atttypid
    where nspname in ('public', 'audit', 'maintenance', 'privacy') and relkind in ('r', 'p') and not relispartition
      and relname not in ('pgmigrations', 'alembic_version', 'identity_key') and attnum > 0 and not attisdropped
      and (typcategory in ('S', 'U', 'A', 'C') or typtype = 'd')
      and format_type(atttypid, null) not in ('uuid', 'integer[]', 'name')
    order by 1, attnum`);
  return rows;
}

const APPROVALS = "maintenance.retention_approvals";
const PLAIN = ["text", "character varying"];
const TYPES = new Set([...PLAIN, "character varying[]", "json", "jsonb"]);

/** Writes a text into one column of one row; undefined where the column can't hold it. */
function valueWith(column: Column, text: string): unknown {
  if (PLAIN.includes(column.type)) {
    return text.length <= (column.length ?? Number.POSITIVE_INFINITY) ? text : undefined;
  }
  if (column.type.endsWith("[]")) return ["before", text];
  if (column.table === APPROVALS)
    return JSON.stringify({ column: "created_at", reason: text, legal_basis: `${text}.` });
  return JSON.stringify({ [text]: 1, list: [{ deep: text }, `${text}; and more`], "": null });
}

/** Which columns of the two rows of each table can be planted in, and which are left out for a reason. */
function isPlantable({ table, column, isKey, isListed, isChecked, isUnique, type }: Column): boolean {
  // Keys are what rows hold each other by, and a list of labels has no room for a name.
  if (isKey || isListed) return false;
  // A table and a role.
  if (table === APPROVALS && ["table_name", "approved_by"].includes(column)) return false;
  // Others' names and addresses are theirs.
  if (table === "public.users" && ["username", "email"].includes(column)) return false;
  // The rest of the checks are the forms of addresses and numbers, and of what must not be empty.
  if (isChecked && !/summary|name$/.test(column)) return false;
  return !isUnique || type !== "jsonb";
}

/** Plants a text in every column of every row there is; gives the columns that took it. */
async function plant(text: string, { names }: { names: boolean }): Promise<Set<string>> {
  const planted = new Set<string>();
  const columns = (await textColumns()).filter(isPlantable);
  await owner.query("select set_config('aiwdb.maintenance', 'move', false)");
  for (const table of new Set(columns.map((column) => column.table))) {
    const values = columns
      .filter((column) => column.table === table)
      .filter(({ isUnique }) => !(names && isUnique))
      .filter(({ column }) => !(names && NO_NAMES[table]?.includes(column)))
      .map((column) => ({ column, value: valueWith(column, text) }))
      .filter(({ value }) => value !== undefined);
    if (values.length === 0) continue;
    // A unique column has the text once.
    const assign = values.map(({ column }, n) =>
      column.isUnique
        ? `"${column.column}" = case when n = 1 then $${n + 1}::text else "${column.column}" end`
        : `"${column.column}" = $${n + 1}`,
    );
    await owner.query(
      `with numbered as (select tableoid as part, ctid as place, row_number() over () as n from ${table})
       update ${table} set ${assign.join(", ")} from numbered where tableoid = part and ctid = place`,
      values.map(({ value }) => value),
    );
    for (const { column } of values) planted.add(`${column.table}.${column.column}`);
  }
  await owner.query("select set_config('aiwdb.maintenance', '', false)");
  return planted;
}

/** What the trail writes itself, where a name would mean something else; and what others are called, who would be namesakes. */
const NO_NAMES: Record<string, string[]> = {
  "audit.audit_log": ["table_name", "row_id", "changed_fields", "security_context"],
  "public.user_profiles": ["first_name", "last_name", "display_name"],
};

/** Secrets, hashes, models and configurations: a single word in another's is no user. */
const SETTING =
  /\.(\w*(password|secret|token|hash|hash_value|_key|encrypted_value|signature|backup_codes|settings|config|configuration|configuration_data|weights|project_preferences)|(\w+_)?(model|llm)(_\w+)?)$|^public\.system_settings?\.value$/;

/** Every relation that has rows: tables, partitions, views, materialized views. */
async function relations(): Promise<string[]> {
  const { rows } = await owner.query<{ name: string }>(`
    select format('%I.%I', nspname, relname) as name
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where nspname in ('public', 'audit', 'partitions', 'maintenance', 'privacy') and relkind in ('r', 'p', 'v', 'm')
      and not exists (select from pg_depend where objid = pg_class.oid and classid = 'pg_class'::regclass and deptype = 'e')
    order by 1`);
  return rows.map(({ name }) => name);
}

/** Folds what a text may have become, so that every spelling is the same. */
function fold(text: string): string {
  return text
    .replaceAll(/%[0-9a-f]{2}/gi, (code) => {
      const byte = Number.parseInt(code.slice(1), 16);
      return byte < 128 ? String.fromCharCode(byte) : code;
    })
    .normalize("NFC")
    .toLowerCase();
}

/** Where a text still stands, in any spelling. */
async function placesOf(texts: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  const folded = texts.map(fold);
  for (const name of await relations()) {
    const { rows } = await owner.query<{ row: Record<string, unknown> }>(
      `select to_jsonb(entry) as row from ${name} as entry`,
    );
    for (const { row } of rows) {
      for (const [column, value] of Object.entries(row)) {
        const held = fold(JSON.stringify(value)).replaceAll('\\"', '"');
        if (folded.some((text) => held.includes(text))) found.push(`${name}.${column}`);
      }
    }
  }
  return [...new Set(found)];
}

const erase = (id: number) => owner.query("select privacy.erase_user($1) as result", [id]);

describe("erase_user finds the user in every spelling in every column", () => {
  it("knows every type that can hold a text", async () => {
    const columns = await textColumns();
    expect(columns.length).toBeGreaterThan(450);
    expect(columns.filter(({ type }) => !TYPES.has(type))).toEqual([]);
    const { rows } = await owner.query("select * from privacy.text_columns where kind = 'unknown'");
    expect(rows).toEqual([]);
  });

  it("leaves out columns for a reason that is named", async () => {
    const left = (await textColumns())
      .filter((column) => !isPlantable(column))
      .filter(({ isListed, isKey }) => !isListed && !isKey)
      .map(({ table, column }) => `${table}.${column}`);
    expect(
      left.filter(
        (name) =>
          !/email|phone|public\.users\.username|country_code|time$|^maintenance\.retention_approvals\./.test(name),
      ),
    ).toEqual([]);
    const { rows } = await owner.query<{ name: string }>(
      "select table_name || '.' || column_name as name from privacy.text_columns where content in ('account', 'key', 'generated')",
    );
    expect(rows.map(({ name }) => name).toSorted()).toEqual([
      "public.chat_mode_sessions.session_id",
      "public.cross_service_memory_sync.source_session_id",
      "public.cross_service_memory_sync.target_session_id",
      "public.router_decision_log.session_id",
      "public.session_state.session_id",
      "public.simple_chat_context.session_id",
      "public.users.email",
      "public.users.username",
    ]);
  });

  it.each([
    ...SPELLINGS.address.map((text) => ["address", text] as const),
    ...SPELLINGS.username.map((text) => ["username", text] as const),
    ...SPELLINGS.name.map((text) => ["name", text] as const),
  ])("the %s as %s", async (kind, text) => {
    const planted = await plant(text, { names: kind !== "address" });
    const before = await placesOf([text]);
    expect(planted.size).toBeGreaterThan(250);
    expect([...planted].filter((name) => !before.includes(name))).toEqual([]);
    // Through their parent, all the same.
    expect(before.filter((name) => name.startsWith("partitions.")).length).toBeGreaterThan(20);

    await erase(ada);
    await owner.query("select maintenance.refresh_views()");
    const left = await placesOf([text, { address: ADDRESS, username: USERNAME, name: NAME }[kind]]);
    expect(kind === "username" ? left.filter((name) => !SETTING.test(name)) : left).toEqual([]);
  });

  it("a short address, in columns too narrow for others, and in unique ones", async () => {
    await owner.query("update public.users set email = $2 where id = $1", [ada, SHORT]);
    const planted = await plant(SHORT.toUpperCase(), { names: false });
    expect(planted.size).toBeGreaterThan(420);
    expect(planted).toContain("audit.enterprise_audit_events.event_id");
    await erase(ada);
    expect(await placesOf([SHORT])).toEqual([]);
  });
});

describe("erase_user takes care", () => {
  const one = async (sql: string, values: unknown[] = []): Promise<unknown> =>
    (await owner.query<{ value: unknown }>(sql, values)).rows[0]?.value;

  it("finds rows of the user in any case, and in no row of somebody whose address differs by its case", async () => {
    await owner.query("update public.users set email = 'ALICE@example.org' where id = $1", [bob]);
    await owner.query("update public.users set email = 'alice@example.org' where id = $1", [ada]);
    await owner.query("delete from public.access_requests; delete from public.device_login_attempts");
    for (const email of ["alice@example.org", "ALICE@example.org"]) {
      await owner.query("insert into public.access_requests (email) values ($1)", [email]);
      await owner.query(
        `insert into public.device_login_attempts (email, device_fingerprint, ip_address, user_agent, was_successful)
         values ($1::text, 'f', '203.0.113.7', $1::text, false)`,
        [email],
      );
      await owner.query(
        "insert into public.security_actions (action_type, target, reason, evidence, severity) values ('USER_SUSPEND', $1::text, $1::text, '{}', 'LOW')",
        [email],
      );
    }
    await erase(ada);
    expect(await placesOfExactly("alice@example.org")).toEqual([]);
    expect(await one("select array_agg(email)::text as value from public.access_requests")).toBe("{ALICE@example.org}");
    expect(
      await one("select array_agg(email || user_agent order by 1)::text as value from public.device_login_attempts"),
    ).toBe("{ALICE@example.orgALICE@example.org,erased}");
    expect(await one("select email as value from public.users where id = $1", [bob])).toBe("ALICE@example.org");
    expect(
      await one(
        "select count(*)::int as value from public.security_actions where target = reason and target = 'ALICE@example.org'",
      ),
    ).toBe(1);
    // Now nobody shares it.
    await owner.query("insert into public.access_requests (email) values ('Alice@Example.Org')");
    await erase(bob);
    expect(await one("select count(*)::int as value from public.access_requests")).toBe(0);
    expect(await placesOf(["alice@example.org"])).toEqual([]);
  });

  /** Where a text stands in this very spelling. */
  async function placesOfExactly(text: string): Promise<string[]> {
    const found: string[] = [];
    for (const name of await relations()) {
      const { rowCount } = await owner.query(
        `select from ${name} as entry where position($1 in to_jsonb(entry)::text) > 0`,
        [text],
      );
      if (rowCount) found.push(name);
    }
    return found;
  }

  it("exports what is about the user in any case of the address", async () => {
    await owner.query("delete from public.access_requests");
    await owner.query("insert into public.access_requests (email) values ($1)", [ADDRESS.toUpperCase()]);
    const exported = await one(
      "select privacy.export_user($1) -> 'about_the_user' -> 'public.access_requests' as value",
      [ada],
    );
    expect(exported).toMatchObject([{ email: ADDRESS.toUpperCase() }]);
  });

  it.each([
    ["a line break", "\n"],
    ["a line break of Windows", "\r\n"],
    ["a tab", "\t"],
    ["a space that does not break", "\u00a0"],
    ["a form feed", "\f"],
  ])("finds a name whose parts are joined by %s, in texts, in JSON and in a text inside JSON", async (_what, joint) => {
    const text = `Dear Zoë${joint}O'Lovelace, hello`;
    // As programs write it that keep to ASCII.
    const escaped = JSON.stringify({ text }).replaceAll(/[^\0-~]/g, (character) => {
      return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
    });
    await owner.query("update public.chat_session_summaries set summary = $2, key_topics = $3 where user_id = $1", [
      bob,
      text,
      JSON.stringify({ text, inside: JSON.stringify({ text }), escaped, deeper: JSON.stringify({ escaped }) }),
    ]);
    await erase(ada);
    const { rows } = await owner.query<{ summary: string; key_topics: Record<string, string> }>(
      "select summary, key_topics from public.chat_session_summaries where user_id = $1 limit 1",
      [bob],
    );
    expect(rows).toMatchObject([{ summary: "Dear erased, hello", key_topics: { text: "Dear erased, hello" } }]);
    for (const value of Object.values(rows[0]!.key_topics)) expect(value).not.toMatch(/Zo|Lovelace/);
  });

  it.each([
    ["joe.zl@e.org", "zl@e.org"],
    ["zl@e.org.au", "zl@e.org"],
    ["zl@e.organic", "zl@e.org"],
    ["x-zl@e.org", "zl@e.org"],
    ["zlXe.org and zl@eXorg", "zl@e.org"],
    ["a.b+cXe.org aXb+c@e.org abbc@e.org", "a.b+c@e.org"],
    ["%@e.org x@e.org", "_@e.org"],
    ["ab@e.org", "a%b@e.org"],
  ])("leaves %s for %s", async (text, address) => {
    await owner.query("update public.users set email = $2 where id = $1", [ada, address]);
    await owner.query("update public.calendars set description = $2 where user_id = $1", [bob, text]);
    await erase(ada);
    expect(await one("select description as value from public.calendars where user_id = $1", [bob])).toBe(text);
  });

  it.each(["admin", "user", "ai", "system", "llama3.2:3b", "audit_log", "app_user", "Will", "42"])(
    "takes %s for a word and not for a name",
    async (name) => {
      await owner.query("update public.users set username = $2 where id = $1", [ada, name]);
      const text = `the ${name} said "${name}"`;
      await owner.query("update public.calendars set description = $2 where user_id = $1", [bob, text]);
      await owner.query("update public.security_tier_policies set description = $2 where created_by_user_id = $1", [
        ada,
        text,
      ]);
      await erase(ada);
      expect(await one("select description as value from public.calendars where user_id = $1", [bob])).toBe(text);
      expect(
        await one("select description as value from public.security_tier_policies where created_by_user_id = $1", [
          ada,
        ]),
      ).toBe(text);
      expect(await one("select count(*)::int as value from public.users where chat_model = 'erased'")).toBe(0);
    },
  );

  it("takes a short name out of rows that belong to the user only", async () => {
    await owner.query("update public.users set username = 'rose' where id = $1", [ada]);
    const text = "A rose, ROSE's, rosemary";
    await owner.query("update public.calendars set description = $2 where user_id = $1", [bob, text]);
    await owner.query("update public.security_tier_policies set description = $2 where created_by_user_id = $1", [
      ada,
      text,
    ]);
    await erase(ada);
    expect(await one("select description as value from public.calendars where user_id = $1", [bob])).toBe(text);
    expect(
      await one("select description as value from public.security_tier_policies where created_by_user_id = $1", [ada]),
    ).toBe("A erased, erased's, rosemary");
  });

  it("leaves a namesake's name", async () => {
    await owner.query(
      "update public.user_profiles set first_name = 'ZOË', last_name = 'o''lovelace' where user_id = $1",
      [bob],
    );
    await owner.query("update public.calendars set description = $2 where user_id = $1", [bob, NAME]);
    await erase(ada);
    expect(await one("select description as value from public.calendars where user_id = $1", [bob])).toBe(NAME);
    expect(
      await one("select first_name || last_name as value from public.user_profiles where user_id = $1", [bob]),
    ).toBe("ZOËo'lovelace");
  });

  it("does not let an address that is another's be taken for the user's own", async () => {
    await owner.query("update public.users set email = 'bob@example.org' where id = $1", [bob]);
    await owner.query("update public.calendars set description = 'bob@example.org' where user_id = $1", [bob]);
    await owner.query("update public.user_profiles set work_email = 'Bob@Example.org' where user_id = $1", [ada]);
    await erase(ada);
    expect(await one("select description as value from public.calendars where user_id = $1", [bob])).toBe(
      "bob@example.org",
    );
  });

  it.each([
    String.raw`back\slash.9`,
    `quo"te.99`,
    "o'n''eil.9",
    "50%_off.",
    "(a|b)*[c].",
    "王芳9",
    "😀smile.9",
    "m@rtin lee",
    "Ann Lee@Acme Corp",
    " ann lee\n",
  ])("finds the name %s as it is and in JSON", async (name) => {
    await owner.query("update public.users set username = $2 where id = $1", [ada, name]);
    await owner.query(
      "update public.security_tier_policies set description = $2, policy_rules = $3 where created_by_user_id = $1",
      [
        ada,
        `by ${name.trim()}, says ${JSON.stringify({ name: name.trim() })}`,
        JSON.stringify({ [name.trim()]: [name.trim(), `x ${name.trim()}`], other: "50Xoff aab", zero: 0 }),
      ],
    );
    await erase(ada);
    expect(
      await one(
        "select jsonb_build_array(description, policy_rules) as value from public.security_tier_policies where created_by_user_id = $1",
        [ada],
      ),
    ).toEqual(['by erased, says {"name":"erased"}', { erased: ["erased", "x erased"], other: "50Xoff aab", zero: 0 }]);
  });

  it("keeps JSON and arrays what they were but for the address", async () => {
    const kept = {
      [ADDRESS]: 1,
      [ADDRESS.toUpperCase()]: 2,
      list: [[ADDRESS], null, true, 1.5e300],
      "": String.raw`\u0000 \n`,
    };
    await owner.query("update public.users set agent_settings = $2 where id = $1", [bob, JSON.stringify(kept)]);
    await owner.query("update public.connection_health_metrics set metrics_details = $2 where user_id = $1", [
      bob,
      String.raw`{"a":"\u0000 ${ADDRESS}", "a": "x"}`,
    ]);
    await owner.query("update public.session_warnings set warning_details = $2 where user_id = $1", [
      bob,
      String.raw`{"b" :  "\u00e9 ${ADDRESS.replace("@", String.raw`\u0040`)}"}`,
    ]);
    await owner.query("update public.registered_devices set location_info = $2 where user_id = $1", [
      bob,
      String.raw`{"c" :  "\u00e9", "c": 1}`,
    ]);
    await owner.query(
      `update public.compliance_assessments set risk_factors = array[['a', $2], [null, '{"}']] where assessor_id = $1`,
      [bob, ADDRESS],
    );
    await erase(ada);
    expect(await one("select agent_settings as value from public.users where id = $1", [bob])).toEqual({
      "erased@erased.invalid": 2,
      "erased@erased.invalid 2": 1,
      list: [["erased@erased.invalid"], null, true, 1.5e300],
      "": kept[""],
    });
    expect(
      await one(
        `select jsonb_build_array(metrics_details::text, warning_details::text, location_info::text) as value
         from public.connection_health_metrics join public.registered_devices using (user_id) join public.session_warnings using (user_id)
         where user_id = $1`,
        [bob],
      ),
    ).toEqual([
      String.raw`{"a":"\u0000 erased@erased.invalid", "a": "x"}`,
      '{"b": "é erased@erased.invalid"}',
      String.raw`{"c" :  "\u00e9", "c": 1}`,
    ]);
    expect(
      await one("select risk_factors::text as value from public.compliance_assessments where assessor_id = $1", [bob]),
    ).toBe(String.raw`{{a,erased@erased.invalid},{NULL,"{\"}"}}`);
  });

  it("does not fail for a name nested too deeply, or for a term too long to look for", async () => {
    await owner.query("update public.users set agent_settings = $2 where id = $1", [
      bob,
      `${"[".repeat(3000)}"${ADDRESS}"${"]".repeat(3000)}`,
    ]);
    await owner.query("update public.user_profiles set display_name = repeat('long name ', 10000) where user_id = $1", [
      ada,
    ]);
    await erase(ada);
    expect(await one("select agent_settings as value from public.users where id = $1", [bob])).toEqual({
      erased: true,
    });
  });

  it("leaves the names of programs in others' passwords and settings, and takes them out of the user's own rows", async () => {
    await owner.query(
      `update public.users set hashed_password = '$argon2id$v=19$m=65536', chat_model = 'argon2id', agent_settings = '{"hash": "argon2id"}'
       where id = $1`,
      [bob],
    );
    await owner.query("update public.agent_configurations set model_version = 'argon2id' where user_id = $1", [ada]);
    await owner.query("update public.calendars set description = 'ask Argon2id' where user_id = $1", [bob]);
    await owner.query("update public.users set username = 'argon2id' where id = $1", [ada]);
    const before = await one("select to_jsonb(users) as value from public.users where id = $1", [bob]);
    await owner.query("select privacy.pseudonymise_user($1)", [ada]);
    expect(await one("select to_jsonb(users) as value from public.users where id = $1", [bob])).toEqual(before);
    expect(await one("select model_version as value from public.agent_configurations where user_id = $1", [ada])).toBe(
      "erased",
    );
    expect(await one("select description as value from public.calendars where user_id = $1", [bob])).toBe("ask erased");
  });

  it.each([
    ["Rate Limit", "system_settings", "value", { rate_limit: 10, from: "rate-limit" }],
    ["GPT 4 Turbo", "users", "chat_model", "gpt-4-turbo"],
    ["abc123", "users", "web_search_api_key", "tvly-dev-abc123-zz"],
    ["ab12 cd34", "user_two_factor_auth", "totp_backup_codes", ["ab12-cd34", "k9x2m7"]],
    ["tab_width", "users", "project_preferences", { tab_width: 4 }],
    ["noreply@corp.org", "system_settings", "value", "noreply@corp.org"],
    ["John Smith", "user_profiles", "work_email", "john.smith@corp.org"],
  ])("changes nothing for a user who is called %s in %s.%s of others", async (name, table, column, value) => {
    const owned = table === "system_settings" ? "true" : `${table === "users" ? "id" : "user_id"} = ${bob}`;
    const shown = typeof value === "string" && column !== "value" ? value : JSON.stringify(value);
    await owner.query(`update public.${table} set ${column} = $1 where ${owned}`, [shown]);
    await owner.query("update public.user_profiles set display_name = $2 where user_id = $1", [ada, name]);
    const before = await one(`select jsonb_agg(${column}) as value from public.${table} where ${owned}`);
    await erase(ada);
    expect(await one(`select jsonb_agg(${column}) as value from public.${table} where ${owned}`)).toEqual(before);
  });

  it("takes a username in the form of an address for one, and leaves it where it is another's", async () => {
    await owner.query("update public.users set username = 'zoe@old.example' where id = $1", [ada]);
    await owner.query("update public.user_profiles set work_email = 'zoe@old.example' where user_id = $1", [bob]);
    await owner.query("delete from public.access_requests");
    await owner.query("insert into public.access_requests (email) values ('Zoe@Old.example')");
    await owner.query("update public.calendars set description = 'bob@zoe@old.example.org' where user_id = $1", [bob]);
    await erase(ada);
    // Bob says that it is his.
    expect(await one("select email as value from public.access_requests where email ilike 'zoe%'")).toBe(
      "Zoe@Old.example",
    );
    await owner.query("update public.users set username = 'zoe@new.example' where id = $1", [ada]);
    await owner.query("insert into public.access_requests (email) values ('Zoe@New.example')");
    await erase(ada);
    expect(await one("select count(*)::int as value from public.access_requests where email ilike 'zoe@new%'")).toBe(0);
    expect(await one("select count(*)::int as value from public.access_requests where email like 'erased@%'")).toBe(1);
  });

  it("finds a name between thousands of others and as often as it is there", async () => {
    await owner.query("update public.users set username = 'gmail x', email = $2 where id = $1", [ada, SHORT]);
    await owner.query("update public.calendars set description = repeat($2, 40000) where user_id = $1", [
      bob,
      `Gmail_X ${SHORT} gmail x, y@gmail.x\\u0041${SHORT} `,
    ]);
    await erase(ada);
    expect(
      await one("select description = repeat($2, 40000) as value from public.calendars where user_id = $1", [
        bob,
        "erased erased@erased.invalid erased, y@gmail.x\\u0041erased@erased.invalid ",
      ]),
    ).toBe(true);
  });

  it("tells which rows are too large to be searched, and does the rest", async () => {
    const numbers = "(select jsonb_agg(1e131071) from generate_series(1, 500))";
    await owner.query("delete from public.chat_history");
    const { rows } = await owner.query<{ id: string }>(
      `insert into public.chat_history (session_id, message)
       values ('a', jsonb_build_object('to', $1::text)), ('b', jsonb_build_object('to', $1::text, 'n', ${numbers})) returning id`,
      [ADDRESS],
    );
    const [small, large] = rows.map(({ id }) => String(id)) as [string, string];
    const message = (
      await owner.query<{ id: string }>(
        "update public.chat_messages set content = repeat('x', 16777217) || $2 where user_id = $1 returning id",
        [bob, ADDRESS],
      )
    ).rows[0]?.id;
    const result = await one("select privacy.erase_user($1) as value", [ada]);
    expect(result).toMatchObject({
      unsearched: { "public.chat_history": [large], "public.chat_messages": [message] },
    });
    expect(await one("select message ->> 'to' as value from public.chat_history where id::text = $1", [small])).toBe(
      "erased@erased.invalid",
    );
    expect(
      await one(
        "select event_context -> 'unsearched' as value from audit.enterprise_audit_events where event_type = 'USER_ERASED'",
      ),
    ).toEqual({ "public.chat_history": 1, "public.chat_messages": 1 });
    // Of the user's own nothing is left, however large it is.
    await owner.query("update public.chat_messages set user_id = $1 where id = $2", [ada, message]);
    expect(await one("select privacy.erase_user($1) -> 'rows' as value", [ada])).toMatchObject({
      "public.chat_messages": 1,
    });
  });

  it("leaves a conversation that rows of several users claim, and says so", async () => {
    await owner.query("delete from public.chat_messages");
    await owner.query("delete from public.chat_history");
    const say = (id: number, session: string, at: string) =>
      owner.query(
        `insert into public.chat_messages (session_id, user_id, message_type, content, message_order, created_at)
         values ($2, $1, 'human', 'hello', 1, $3)`,
        [id, session, at],
      );
    await say(bob, "by message", "2026-01-02Z");
    await say(ada, "by message", "2026-01-01Z");
    await say(ada, "by session", "2026-01-01Z");
    await say(ada, "ada's", "2026-01-01Z");
    await owner.query(
      "insert into public.chat_mode_sessions (user_id, session_id, chat_mode) values ($1, 'by session', 'x')",
      [bob],
    );
    await owner.query(
      "insert into public.chat_history (session_id, message) select unnest(array['by message', 'by session', 'ada''s']), '{}'",
    );
    const exported =
      "select jsonb_path_query_array(privacy.export_user($1) #> '{about_the_user,public.chat_history}', '$[*].session_id') as value";
    expect(await one(exported, [ada])).toEqual(["ada's"]);
    expect(await one(exported, [bob])).toEqual([]);
    expect(await one("select privacy.erase_user($1) -> 'unsearched' as value", [ada])).toEqual({
      "conversations of several users": expect.toSatisfy(
        (names: string[]) => names.toSorted().join() === "by message,by session",
      ),
    });
    expect(await one("select array_agg(session_id order by 1) as value from public.chat_history")).toEqual([
      "by message",
      "by session",
    ]);
    expect(await one("select array_agg(user_id) as value from public.chat_messages")).toEqual([bob]);
  });

  it.each([
    ["json with an escape that needs none", String.raw`{"a": "\u007aoe.love+x@mail.example.org"}`, ADDRESS],
    ["an apostrophe and a hyphen of another kind", JSON.stringify({ a: "Zoë OʼLovelace" }), NAME],
    ["a typed apostrophe", JSON.stringify({ a: "Zoë O’Lovelace" }), NAME],
    ["signs as HTML names them", '{"a": "Zoe.Love+x&commat;Mail.Example.org Zoë O&apos;Lovelace"}', ADDRESS],
  ])("finds %s", async (_what, text, left) => {
    await owner.query("update public.connection_health_metrics set metrics_details = $2 where user_id = $1", [
      bob,
      text,
    ]);
    await erase(ada);
    const details = await one(
      "select metrics_details as value from public.connection_health_metrics where user_id = $1",
      [bob],
    );
    expect(JSON.stringify(details)).not.toMatch(/love/i);
    expect(await placesOf([left])).toEqual([]);
  });

  it("leaves the evidence of an open case under a legal hold as it is", async () => {
    const note = `seen by ${ADDRESS}`;
    await owner.query("update public.forensic_investigations set investigation_notes = $1", [note]);
    await owner.query(
      "update public.forensic_investigations set legal_hold = true, status = 'ANALYSIS' where primary_investigator_id = $1",
      [bob],
    );
    await erase(ada);
    const { rows } = await owner.query(
      "select investigation_notes from public.forensic_investigations order by primary_investigator_id",
    );
    expect(rows).toEqual([{ investigation_notes: "seen by erased@erased.invalid" }, { investigation_notes: note }]);
  });

  it("writes nothing about the user into the trail, whatever is audited", async () => {
    await plant(`${NAME} ${USERNAME}`, { names: true });
    await erase(ada);
    const { rows } = await owner.query(
      "select distinct old_values, new_values from audit.audit_log where transaction_id = (select max(transaction_id) from audit.audit_log)",
    );
    expect(rows).toEqual([{ old_values: null, new_values: null }]);
    expect(await placesOf([NAME, USERNAME])).toEqual([]);
    // The setting that does it ends with the erasure.
    await owner.query(
      "begin; select privacy.erase_user(id) from public.users where email not like '%invalid'; update public.users set theme = 'x'",
    );
    expect(
      await one("select new_values as value from audit.audit_log where new_values ->> 'theme' = 'x' limit 1"),
    ).toEqual({ theme: "x" });
    await owner.query("rollback");
  });

  it("switches no retention off, however the user is named, and takes the name out of policies and approvals", async () => {
    const approved = "select count(*)::int as value from maintenance.retention_status where state = 'approved'";
    const reasons = `
      select count(*)::int as value
      from (
        select conditions from public.data_retention_policies union all select conditions from maintenance.retention_approvals
      ) as both_of_them
      where conditions ->> 'reason' ~* 'useless once expired'`;
    const name = "Useless once expired";
    const id = (await one(
      `insert into public.data_retention_policies (table_name, retention_period_days, policy_type, conditions)
       values ('access_requests', 30, 'DELETE', $1) returning id as value`,
      [JSON.stringify({ column: "created_at", match: { email: name }, reason: name.toUpperCase() })],
    )) as string;
    await owner.query("select maintenance.approve_retention($1)", [id]);
    const before = await one(approved);
    expect(before).toBeGreaterThan(25);
    expect(await one(reasons)).toBeGreaterThan(10);
    await owner.query("update public.user_profiles set display_name = $2 where user_id = $1", [ada, name]);

    await erase(ada);
    expect(await one(approved)).toBe(before);
    expect(await one(reasons)).toBe(0);
    // What the owner approved goes on to choose the same rows.
    expect(
      await one("select conditions -> 'match' as value from public.data_retention_policies where id = $1", [id]),
    ).toEqual({ email: name });
  });

  it.each(["audit log", "AUDIT.LOG", "authentication sessions", "two factor", "last activity"])(
    "leaves approved policies as they are for a user named %s",
    async (name) => {
      const approved = "select count(*)::int as value from maintenance.retention_status where state = 'approved'";
      const before = await one(approved);
      await owner.query("update public.users set username = $2 where id = $1", [ada, name]);
      await erase(ada);
      expect(await one(approved)).toBe(before);
    },
  );

  it.each([
    ["an address where it chooses rows", ADDRESS, "auth_queue_operations", { match: { status: SHORT } }],
    ["a reason that grows too long", ADDRESS, "tasks", { reason: `${SHORT} `.repeat(430) }],
    ["a name that is a label", "in progress", "tasks", { match: { status: "IN_PROGRESS" } }],
  ])("is kept from its work by no policy that the application proposes: %s", async (_what, name, table, conditions) => {
    const app = await database?.connect("app_user");
    await owner.query("update public.users set username = $2, email = $3 where id = $1", [ada, name, SHORT]);
    await app?.query(
      `insert into public.data_retention_policies (table_name, retention_period_days, policy_type, conditions)
       values ($1, 4000, 'DELETE', $2)`,
      [table, JSON.stringify({ column: "created_at", ...conditions })],
    );
    await erase(ada);
    expect(await placesOf([SHORT])).toEqual([]);
  });

  it("is kept from its work by no text that an index has no room for once it is longer", async () => {
    await owner.query("update public.users set email = $2 where id = $1", [ada, SHORT]);
    const { rows } = await owner.query<{ text: string }>(
      `select string_agg(translate(encode(sha256(n::text::bytea), 'base64'), '=', ''), '') || repeat(' ' || $1, 20) as text
       from generate_series(1, 56) as n`,
      [SHORT],
    );
    await owner.query("update public.encrypted_fields set row_id = $2 where user_id = $1", [bob, rows[0]?.text]);
    await erase(ada);
    expect(await placesOf([SHORT])).toEqual([]);
  });

  it("says which row stands in the way, without its values, and changes nothing", async () => {
    await owner.query("alter table public.calendars add constraint later check (name <> 'old') not valid");
    await owner.query("alter table public.calendars drop constraint later");
    await owner.query("update public.calendars set name = 'old', description = $2 where user_id = $1", [bob, ADDRESS]);
    await owner.query("alter table public.calendars add constraint later check (name <> 'old') not valid");
    const failed = await erase(ada).then(
      () => undefined,
      (error: Error & { detail?: string; hint?: string }) => error,
    );
    expect(failed?.message).toBe(
      `A row of public.calendars that names user ${ada} can't be rewritten, so nothing was changed: it breaks later.`,
    );
    expect(`${failed?.detail} ${failed?.hint}`).not.toContain(ADDRESS);
    expect(await one("select email as value from public.users where id = $1", [ada])).toBe(ADDRESS);
  });

  it("counts the texts it rewrote, per table", async () => {
    await owner.query("update public.calendars set description = $2 where user_id = $1", [bob, ADDRESS]);
    const texts = await one("select privacy.erase_user($1) -> 'texts' as value", [ada]);
    expect(texts).toMatchObject({ "public.calendars": { rows: 1, ms: expect.any(Number) } });
    expect(
      await one(
        "select event_context -> 'texts' as value from audit.enterprise_audit_events where event_type = 'USER_ERASED'",
      ),
    ).toEqual(texts);
  });
});

describe("pseudonymise_user", () => {
  it("takes name, address and telephone number out of the texts that it keeps", async () => {
    await owner.query("update public.user_profiles set phone_number = '+493012345678' where user_id = $1", [ada]);
    await owner.query("update public.chat_messages set content = $2 where user_id = $1", [
      ada,
      `I'm Zoë (${ADDRESS.toLowerCase()}), call 49 30 / 12 34 56 78 and not 493012345679`,
    ]);
    await owner.query("select privacy.pseudonymise_user($1)", [ada]);
    const { rows } = await owner.query("select content from public.chat_messages where user_id = $1", [ada]);
    expect(rows).toEqual([{ content: "I'm erased (erased@erased.invalid), call erased and not 493012345679" }]);
  });
});
