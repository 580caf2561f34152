import { describe, expect, it } from "vitest";
import {
  ada,
  ADDRESS,
  bob,
  erase,
  eraseInDatabases,
  NAME,
  one,
  owner,
  placesOf,
  relations,
} from "../helpers/erasure.ts";

eraseInDatabases();

describe("erase_user takes care", () => {
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

  /**
   * Erases a user of that name, and reads a text that stood in a row of somebody else's and in one of the user's own.
   */
  async function textsAfterErasure(name: string, text: string) {
    await owner.query("update public.users set username = $2 where id = $1", [ada, name]);
    await owner.query("update public.calendars set description = $2 where user_id = $1", [bob, text]);
    await owner.query("update public.security_tier_policies set description = $2 where created_by_user_id = $1", [
      ada,
      text,
    ]);
    await erase(ada);
    return {
      another: await one("select description as value from public.calendars where user_id = $1", [bob]),
      own: await one("select description as value from public.security_tier_policies where created_by_user_id = $1", [
        ada,
      ]),
    };
  }

  it.each(["admin", "user", "ai", "system", "llama3.2:3b", "audit_log", "app_user", "Will", "42"])(
    "takes %s for a word and not for a name",
    async (name) => {
      const text = `the ${name} said "${name}"`;
      expect(await textsAfterErasure(name, text)).toEqual({ another: text, own: text });
      expect(await one("select count(*)::int as value from public.users where chat_model = 'erased'")).toBe(0);
    },
  );

  it("takes a short name out of rows that belong to the user only", async () => {
    const text = "A rose, ROSE's, rosemary";
    expect(await textsAfterErasure("rose", text)).toEqual({ another: text, own: "A erased, erased's, rosemary" });
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
});
