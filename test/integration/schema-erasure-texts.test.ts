import { describe, expect, it } from "vitest";
import { ada, ADDRESS, bob, erase, eraseInDatabases, NAME, one, owner, placesOf, SHORT } from "../helpers/erasure.ts";

eraseInDatabases();

describe("erase_user takes care", () => {
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
