import { describe, expect, it } from "vitest";
import {
  ada,
  ADDRESS,
  bob,
  database,
  erase,
  eraseInDatabases,
  NAME,
  one,
  owner,
  placesOf,
  plant,
  SHORT,
  USERNAME,
} from "../helpers/erasure.ts";

eraseInDatabases();

describe("erase_user takes care", () => {
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
});
