import { beforeEach, describe, expect, it } from "vitest";
import {
  app,
  approve,
  dropPolicies,
  namesOfProjects,
  owner,
  type Policy,
  retentionDatabase,
  rowsOf,
  run,
  stateOf,
  write,
} from "../helpers/retention.ts";

retentionDatabase();

describe("an approval", () => {
  beforeEach(async () => {
    await dropPolicies();
    await owner.query("delete from public.projects");
    await owner.query(
      "insert into public.projects (user_id, name, created_at) select id, 'old', now() - interval '60 days' from public.users",
    );
  });

  const PROPOSAL: Policy = { table: "projects", conditions: { column: "created_at", match: { name: "other" } } };

  it("is the owner's alone", async () => {
    const id = await write(app, PROPOSAL);
    for (const sql of [
      "select maintenance.approve_retention($1)",
      "select maintenance.withdraw_retention($1)",
      "select from maintenance.plan_retention($1, now())",
      "select from maintenance.retention_status where policy_id = $1",
      "delete from maintenance.retention_approvals where policy_id = $1",
      "update maintenance.retention_approvals set policy_id = $1",
      "insert into maintenance.retention_approvals select id, table_name, retention_period_days, policy_type, conditions from public.data_retention_policies where id = $1",
    ]) {
      await expect(app.query(sql, [id])).rejects.toThrow("permission denied");
    }
  });

  it("is for what was looked at only", async () => {
    const id = await write(app, PROPOSAL);
    const digest = async () =>
      (
        await rowsOf<{ digest: string }>(
          `select maintenance.retention_digest(table_name, retention_period_days, policy_type, conditions) as digest
           from public.data_retention_policies where id = $1`,
          [id],
        )
      )[0]?.digest;
    const seen = await digest();
    await app.query("update public.data_retention_policies set conditions = conditions - 'match' where id = $1", [id]);
    await expect(approve(id, seen)).rejects.toThrow("is not what was looked at");
    await approve(id, await digest());
    expect(await stateOf(id)).toBe("approved");
  });

  it.each([
    ["its restriction goes", "conditions = conditions - 'match'"],
    ["another table is named", "table_name = 'tasks'"],
    ["the days become fewer", "retention_period_days = 1"],
    [
      "what is done is another",
      `policy_type = 'ANONYMIZE', conditions = '{"column": "created_at", "set": {"description": null}}'`,
    ],
  ])("lapses when %s", async (_what, change) => {
    const id = await write(app, PROPOSAL);
    await approve(id);
    await app.query(`update public.data_retention_policies set ${change} where id = $1`, [id]);
    expect(await stateOf(id)).toBe("changed");
    await run();
    expect(await namesOfProjects()).toEqual(["old"]);
    expect(await rowsOf("select problem from maintenance.retention_batch($1, now(), 10)", [id])).toEqual([
      { problem: expect.stringContaining("not what was approved any more") },
    ]);
  });

  it("lapses when the application switches the policy off, or deletes it", async () => {
    const id = await write(app, PROPOSAL);
    await approve(id);
    await app.query("update public.data_retention_policies set is_active = false where id = $1", [id]);
    expect(await stateOf(id)).toBe("off");
    await app.query("update public.data_retention_policies set is_active = true where id = $1", [id]);
    expect(await stateOf(id)).toBe("approved");
    await app.query("delete from public.data_retention_policies where id = $1", [id]);
    expect(await stateOf(id)).toBe("gone");
    await run();
    await owner.query("select maintenance.withdraw_retention($1)", [id]);
    expect(await stateOf(id)).toBeUndefined();
  });

  it("does not come back when the owner switches the policy off or deletes it, and the application undoes that", async () => {
    const id = await write(app, { table: "projects", conditions: { column: "created_at" } });
    await approve(id);
    await owner.query("update public.data_retention_policies set is_active = false where id = $1", [id]);
    await app.query("update public.data_retention_policies set is_active = true where id = $1", [id]);
    expect(await stateOf(id)).toBe("proposed");
    await approve(id);
    await owner.query("delete from public.data_retention_policies where id = $1", [id]);
    await app.query(
      `insert into public.data_retention_policies (id, table_name, retention_period_days, policy_type, conditions)
       values ($1, 'projects', 30, 'DELETE', '{"column": "created_at"}')`,
      [id],
    );
    expect(await stateOf(id)).toBe("proposed");
    await run();
    expect(await namesOfProjects()).toEqual(["old"]);
  });

  it("is refused for a policy that is switched off, and for one that is not there", async () => {
    const id = await write(app, PROPOSAL);
    await app.query("update public.data_retention_policies set is_active = false where id = $1", [id]);
    await expect(approve(id)).rejects.toThrow("switched off");
    await app.query("delete from public.data_retention_policies where id = $1", [id]);
    await expect(approve(id)).rejects.toThrow("There is no retention policy");
    await expect(owner.query("select maintenance.withdraw_retention($1)", [id])).rejects.toThrow("is not approved");
  });

  it("of an ANONYMIZE writes each row once", async () => {
    await owner.query("update public.projects set description = 'x'");
    const id = await write(app, {
      table: "projects",
      type: "ANONYMIZE",
      conditions: { column: "created_at", set: { description: "erased" } },
    });
    await approve(id);
    await run();
    expect(await rowsOf("select description from public.projects")).toEqual([{ description: "erased" }]);
    await run();
    expect(await rowsOf("select records_affected from audit.data_retention_logs where policy_id = $1", [id])).toEqual([
      { records_affected: 1 },
    ]);
  });
});
