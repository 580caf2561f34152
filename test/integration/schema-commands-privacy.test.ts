import type { Client } from "pg";
import { describe, expect, it, vi } from "vitest";
import privacy from "../../cli/commands/privacy.ts";
import { commandsDatabase, database, failureOf, printed, run, owner, takeOutput } from "../helpers/commands.ts";

// The commands as they are, but for the stack: they get the owner's connection to a test database.
vi.mock("../../stack/connect.ts", () => ({
  asOwner: (_args: unknown, _output: unknown, work: (client: Client) => unknown) => work(owner),
}));

commandsDatabase();
takeOutput();

describe("aiwdb privacy", () => {
  it("says why a user under a legal hold stays, and what to do", async () => {
    const { rows } = await owner.query<{ id: number }>("select min(id) as id from public.users");
    const id = rows[0]?.id ?? 0;
    await owner.query(
      "update public.forensic_investigations set legal_hold = true, status = 'ANALYSIS', affected_users = array[$1::integer]",
      [id],
    );
    for (const what of ["erase", "pseudonymise"]) {
      const error = await failureOf(run(privacy, what, "--user", String(id), "--yes"));
      expect(error.message).toContain(`User ${id} is under a legal hold`);
      expect(error.message).toContain("Close the case or lift its legal hold first.");
    }
    await owner.query("update public.forensic_investigations set legal_hold = false");
    await run(privacy, "erase", "--user", String(id), "--yes");
    expect(printed).toContain("user_id");
  });

  it("gives up, and changes nothing, when the application keeps a row of the user's locked", async () => {
    const { rows } = await owner.query<{ id: number }>("select max(id) as id from public.users");
    const id = Number(rows[0]?.id);
    const holder = await database.connect("app_user");
    await holder.query("begin");
    await holder.query("select from public.users where id = $1 for update", [id]);
    const error = await failureOf(run(privacy, "erase", "--user", String(id), "--yes"));
    await holder.query("rollback");
    expect(error.message).toMatch(/nothing was changed:\n- lock: .*lock timeout/);
    expect(
      (await owner.query("select from public.users where id = $1 and hashed_password <> '!'", [id])).rowCount,
    ).toBe(1);
  });

  it("carries out no request that the application planted for somebody else, or changed after the look", async () => {
    const app = await database.connect("app_user");
    const { rows } = await owner.query<{ id: number }>("select max(id) as id from public.users");
    const victim = rows[0]?.id ?? 0;
    const planted = await app.query<{ id: string }>(
      `insert into public.privacy_requests (user_id, request_type, request_details, requested_scope, due_date)
       values ($1, 'DATA_EXPORT', '{}', '{}', now()) returning id`,
      [victim],
    );
    const request = planted.rows[0]?.id ?? "";
    const fulfil = (...args: string[]) => run(privacy, "fulfil", "--request", request, ...args);
    await expect(fulfil()).rejects.toThrow(
      `carry out request ${request}: DATA_EXPORT of user ${victim}, PENDING, no check of identity noted; nothing`,
    );
    await expect(fulfil()).rejects.toThrow("Repeat the command with --yes.");
    await app.query("update public.privacy_requests set request_type = 'DATA_DELETION' where id = $1", [request]);
    await expect(fulfil()).rejects.toThrow("then repeat the command with --yes and --user");
    await expect(fulfil("--yes")).rejects.toThrow("--user: is missing, and this would erase that user's data");
    await expect(fulfil("--yes", "--user", String(victim + 1))).rejects.toThrow(`is about user ${victim}; nothing`);
    expect(
      (await owner.query("select from public.users where id = $1 and username ~ '^erased'", [victim])).rowCount,
    ).toBe(0);
    await fulfil("--yes", "--user", String(victim));
    expect(
      (await owner.query("select from public.users where id = $1 and username ~ '^erased'", [victim])).rowCount,
    ).toBe(1);
    expect((await failureOf(fulfil("--yes", "--user", String(victim)))).message).toContain("COMPLETED already");
  });

  it("exports numbers of any size and JSON of any depth as they are", async () => {
    const deep = `${"[".repeat(3000)}${"]".repeat(3000)}`;
    const { rows } = await owner.query<{ id: number }>(
      `update public.users set agent_settings = $1 where id = (select max(id) from public.users) returning id`,
      [`{"account": 12345678901234567890, "iban": 1.10, "deep": ${deep}}`],
    );
    await run(privacy, "export", "--user", String(rows[0]?.id));
    expect(printed).toContain('"account": 12345678901234567890');
    expect(printed).toContain('"iban": 1.10');
    expect(printed.split("[").length).toBeGreaterThan(3000);
    expect(printed.length, "with a line for each row, not for each bracket").toBeLessThan(200_000);
    await owner.query("update public.users set agent_settings = null where id = $1", [rows[0]?.id]);
  });

  it("exports JSON as the database has it", async () => {
    const { rows } = await owner.query<{ id: number }>("select min(id) as id from public.users");
    const id = Number(rows[0]?.id);
    await run(privacy, "export", "--user", String(id));
    const { rows: wanted } = await owner.query<{ value: { about_the_user: object } }>(
      "select privacy.export_user($1) as value",
      [id],
    );
    const exported = JSON.parse(printed) as { about_the_user: object };
    expect(Object.keys(exported)).toEqual(Object.keys(wanted[0]!.value));
    // Each export is an entry in this log.
    const log = { "audit.data_access_log": expect.any(Array) };
    expect(exported.about_the_user).toEqual({ ...wanted[0]!.value.about_the_user, ...log });
    expect(Object.keys(exported.about_the_user).length).toBeGreaterThan(1);
  });

  it("says what to do where a user's rows are more than one value can hold", async () => {
    const { rows } = await owner.query<{ id: number }>(
      "insert into public.users (username, email, hashed_password) values ('large', 'large@example.org', 'x') returning id",
    );
    await owner.query(
      `insert into public.chat_messages (session_id, user_id, message_type, content, message_order)
       select 'large', $1, 'human', repeat('x', 70000000), n from generate_series(1, 4) as n`,
      [rows[0]?.id],
    );
    const error = await failureOf(run(privacy, "export", "--user", String(rows[0]?.id)));
    await owner.query("delete from public.chat_messages where session_id = 'large'");
    expect(error.message).toContain("more than PostgreSQL holds in one value");
  });

  it("exports a user of whom there is nothing", async () => {
    const { rows } = await owner.query<{ id: number }>(
      "insert into public.users (username, email, hashed_password) values ('nothing', 'nothing@example.org', 'x') returning id",
    );
    await run(privacy, "export", "--user", String(rows[0]?.id));
    expect(JSON.parse(printed)).toMatchObject({ made_by_the_user: {} });
  });

  it("says that there is no such user", async () => {
    expect((await failureOf(run(privacy, "export", "--user", "999999"))).message).toContain("There is no user 999999");
  });

  it("fails, though the rest is done, where a row is too large to be searched", async () => {
    const { rows } = await owner.query<{ id: number }>(
      `insert into public.users (username, email, hashed_password) values ('a1', 'a1@example.org', 'x'), ('a2', 'a2@example.org', 'x')
       returning id`,
    );
    const chat = await owner.query<{ id: string }>(
      "insert into public.chat_history (session_id, message) values ('large', to_jsonb(repeat('x', 5000000))) returning id",
    );
    const [erased, requested] = rows.map(({ id }) => String(id)) as [string, string];
    const request = await owner.query<{ id: string }>(
      `insert into public.privacy_requests (user_id, request_type, request_details, requested_scope, due_date)
       values ($1, 'DATA_DELETION', '{}', '{}', now()) returning id`,
      [requested],
    );
    for (const error of [
      await failureOf(run(privacy, "erase", "--user", erased, "--yes")),
      await failureOf(run(privacy, "fulfil", "--request", String(request.rows[0]?.id), "--user", requested, "--yes")),
    ]) {
      expect(error.message).toContain(`- public.chat_history: 1: ${chat.rows[0]?.id}`);
      expect(error).toMatchObject({
        result: { rows: { "public.users": 1 }, unsearched: { "public.chat_history": [String(chat.rows[0]?.id)] } },
      });
    }
    expect(
      (
        await owner.query("select from public.users where id = any ($1) and username ~ '^erased'", [
          [erased, requested],
        ])
      ).rowCount,
    ).toBe(2);
    await owner.query("delete from public.chat_history where session_id = 'large'");
  });
});
