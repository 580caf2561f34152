import { describe, expect, it } from "vitest";
import {
  ada,
  ADDRESS,
  erase,
  eraseInDatabases,
  isPlantable,
  NAME,
  owner,
  placesOf,
  plant,
  SHORT,
  textColumns,
  USERNAME,
} from "../helpers/erasure.ts";

eraseInDatabases();

const TYPES = new Set(["text", "character varying", "character varying[]", "json", "jsonb"]);

/** Three spellings each: as it is, in other cases, and as programs write it into URLs, JSON and mails. */
const SPELLINGS = {
  address: [ADDRESS, ADDRESS.toUpperCase(), `<a href="mailto:${encodeURIComponent(ADDRESS.toLowerCase())}">`],
  username: [USERNAME, USERNAME.toUpperCase(), `/home/${USERNAME}/notes`],
  name: [NAME, NAME.toUpperCase(), `Ask ${NAME.normalize("NFD").toLowerCase()}, please.`],
};

/** Secrets, hashes, models and configurations: a single word in another's is no user. */
const SETTING =
  /\.(\w*(password|secret|token|hash|hash_value|_key|encrypted_value|signature|backup_codes|settings|config|configuration|configuration_data|weights|project_preferences)|(\w+_)?(model|llm)(_\w+)?)$|^public\.system_settings?\.value$/;

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
