import type { Client } from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createSchemaDatabase, type SchemaDatabase } from "../helpers/schema-database.ts";

let database: SchemaDatabase;
let owner: Client;
/** Stands for a server connection of the pool: whatever one client leaves in it, the next one finds. */
let app: Client;

beforeAll(async () => {
  database = await createSchemaDatabase("audit-identity");
  await database.up();
  owner = await database.connect("ai_workflow_owner");
});
afterAll(async () => {
  await database?.close();
});

beforeEach(async () => {
  await app?.end();
  app = await database.connect("app_user");
  await owner.query("truncate public.users cascade");
  await owner.query(
    "insert into public.users (username, email, hashed_password) values ('ada', 'ada@example.org', 'x')",
  );
  await owner.query("delete from audit.audit_log");
});

let theme = 0;
/** A change that the trail holds. */
const change = async (client = app): Promise<unknown> =>
  client.query(`update public.users set theme = 'theme ${(theme += 1)}'`);

interface Entry {
  user_id: number | null;
  session_id: string | null;
  ip_address: string | null;
  user_agent: string | null;
  security_context: Record<string, unknown>;
}

async function trail(): Promise<Entry[]> {
  return (
    await owner.query<Entry>(
      "select user_id, session_id, ip_address, user_agent, security_context from audit.audit_log order by created_at, (new_values ->> 'theme')",
    )
  ).rows;
}

/** Users of the entries, in the order of the changes. */
async function users(): Promise<(number | null)[]> {
  return (await trail()).map(({ user_id }) => user_id);
}

const NOBODY = { user_id: null, session_id: null, ip_address: null, user_agent: null };

describe("an identity counts", () => {
  it("for every change of the transaction in which act_as set it, and for none after", async () => {
    await app.query("begin");
    await app.query("select audit.act_as(42, 's-1', '2001:db8::1', 'browser')");
    await change();
    await change();
    await app.query("commit");
    await change();
    expect(await trail()).toMatchObject([
      { user_id: 42, session_id: "s-1", ip_address: "2001:db8::1", user_agent: "browser" },
      { user_id: 42, session_id: "s-1", ip_address: "2001:db8::1", user_agent: "browser" },
      NOBODY,
    ]);
    expect((await trail()).map(({ security_context }) => security_context)).not.toContainEqual(
      expect.objectContaining({ unproven_identity: true }),
    );
  });

  it("by prepared statements with parameters, in whatever order they are named", async () => {
    for (const id of [7, 8]) {
      await app.query("begin");
      await app.query({
        name: "act",
        text: "select audit.act_as(p_user_agent => $2, p_user_id => $1)",
        values: [id, "x"],
      });
      await change();
      await app.query("commit");
    }
    expect(await users()).toEqual([7, 8]);
  });

  it("as it was last set, and not at all after null", async () => {
    await app.query("begin");
    await app.query("select audit.act_as(1, 's-1')");
    await change();
    await app.query("select audit.act_as(2)");
    await change();
    await app.query("select audit.act_as(null, 's-3', '192.0.2.3')");
    await change();
    await app.query("commit");
    expect(await trail()).toMatchObject([
      { ...NOBODY, user_id: 1, session_id: "s-1" },
      { ...NOBODY, user_id: 2 },
      { ...NOBODY, session_id: "s-3", ip_address: "192.0.2.3" },
    ]);
  });

  it("inside savepoints and blocks that catch errors, and goes with the savepoint that set it", async () => {
    await app.query("begin");
    await app.query("select audit.act_as(1)");
    await app.query("savepoint one");
    await change();
    await app.query("select audit.act_as(2)");
    await change();
    await app.query("rollback to savepoint one");
    await change();
    await app.query("savepoint two");
    await app.query("select audit.act_as(3)");
    await app.query("release savepoint two");
    await change();
    await app.query(`do $$ begin
      begin
        perform audit.act_as(4);
        raise exception 'undone';
      exception when others then
        update public.users set theme = 'theme z';
      end;
    end $$`);
    await app.query("commit");
    expect(await users()).toEqual([1, 3, 3]);
  });

  it("not when the transaction that set it was rolled back", async () => {
    await app.query("begin");
    await app.query("select audit.act_as(42)");
    await app.query("rollback");
    await change();
    expect(await users()).toEqual([null]);
  });

  it("not beyond its own statement without a transaction", async () => {
    await app.query("select audit.act_as(42)");
    await change();
    expect(await trail()).toMatchObject([NOBODY]);
  });

  it("for the owner as well", async () => {
    await owner.query("begin");
    await owner.query("select audit.act_as(9)");
    await change(owner);
    await owner.query("commit");
    expect(await users()).toEqual([9]);
  });
});

describe("what an earlier client left in the connection", () => {
  it.each([
    ["SET", "set app.user_id = '4242'; set app.session_id = 'stolen'; set app.ip_address = '192.0.2.66'"],
    ["set_config for the session", "select set_config('app.user_id', '4242', false)"],
    ["no number", "set app.user_id = 'nobody'"],
  ])("by %s is nobody's identity, and the entry says so", async (_, sql) => {
    await app.query(sql);
    await app.query("set app.user_agent = 'stolen'");
    await change();
    const entries = await trail();
    expect(entries).toMatchObject([{ ...NOBODY, security_context: { origin: "trigger", unproven_identity: true } }]);
    expect(JSON.stringify(entries)).not.toMatch(/4242|stolen|192\.0\.2\.66/);
  });

  it("is neither an identity by set_config in the same transaction, which anybody might have meant", async () => {
    await app.query("begin");
    await app.query("select set_config('app.user_id', '4242', true)");
    await change();
    await app.query("commit");
    expect(await trail()).toMatchObject([{ ...NOBODY, security_context: { unproven_identity: true } }]);
  });

  it("proves nothing with the seal of its own transaction, kept for the session", async () => {
    await app.query("begin");
    await app.query("select audit.act_as(4242, 's-1')");
    await app.query(`select set_config(name, current_setting(name), false)
      from unnest(array['app.user_id', 'app.session_id', 'app.identity_seal']) as name`);
    await app.query("commit");
    expect((await app.query("show app.user_id")).rows).toEqual([{ "app.user_id": "4242" }]);
    await change();
    expect(await trail()).toMatchObject([{ ...NOBODY, security_context: { unproven_identity: true } }]);
  });

  it.each([
    ["the number of the next transaction", "(pg_current_xact_id()::text::bigint + 1)::text"],
    [
      "a hash over all that is known of the next transaction",
      "encode(sha256(convert_to(jsonb_build_array((pg_current_xact_id()::text::bigint + 1)::text, extract(epoch from now()), '4242', '', '', '')::text, 'UTF8')), 'hex')",
    ],
  ])("proves nothing by %s, set beforehand", async (_, seal) => {
    await app.query(`select set_config('app.user_id', '4242', false), set_config('app.identity_seal', ${seal}, false)`);
    await change();
    expect(await trail()).toMatchObject([{ ...NOBODY, security_context: { unproven_identity: true } }]);
  });

  it("does not cling to the next client, who says for whom it acts", async () => {
    await app.query("set app.user_id = '4242'; set app.session_id = 'stolen'; set app.identity_seal = 'x'");
    await app.query("begin");
    await app.query("select audit.act_as(7)");
    await change();
    await app.query("commit");
    expect(await trail()).toMatchObject([{ ...NOBODY, user_id: 7 }]);
  });

  it("can't be put in another's place behind act_as", async () => {
    for (const name of ["app.user_id", "app.session_id", "app.ip_address", "app.user_agent"]) {
      await app.query("begin");
      await app.query("select audit.act_as(7)");
      await app.query("select set_config($1, '4242', true)", [name]);
      await change();
      await app.query("commit");
    }
    const entries = await trail();
    expect(entries).toMatchObject([NOBODY, NOBODY, NOBODY, NOBODY]);
    expect(JSON.stringify(entries)).not.toContain("4242");
  });
});

describe("act_as", () => {
  it.each([
    ["0", "p_user_id is 0, which is no key of public.users."],
    ["-3", "p_user_id is -3, which is no key of public.users."],
    ["1, repeat('s', 256)", "p_session_id has 256 characters, more than the 255 that the trail keeps."],
    ["1, null, 'unknown'", 'p_ip_address is "unknown", which is no IPv4 or IPv6 address.'],
    ["1, null, '192.0.2.7:443'", 'p_ip_address is "192.0.2.7:443", which is no IPv4 or IPv6 address.'],
    ["1, null, '192.0.2.0/24'", 'p_ip_address is "192.0.2.0/24", which is no IPv4 or IPv6 address.'],
    ["1, null, '192.0.2.7, 10.0.0.1'", 'p_ip_address is "192.0.2.7, 10.0.0.1", which is no IPv4 or IPv6 address.'],
    ["1, null, repeat(' ', 60) || '192.0.2.7'", "which is no IPv4 or IPv6 address."],
  ])("refuses (%s) by name", async (values, message) => {
    await expect(app.query(`select audit.act_as(${values})`)).rejects.toThrow(message);
  });

  it("cuts a User-Agent that is too long, as that is the client's own", async () => {
    await app.query("begin");
    await app.query("select audit.act_as(1, repeat('s', 255), null, repeat('u', 5000))");
    await change();
    await app.query("commit");
    expect((await trail())[0]?.user_agent).toHaveLength(1024);
    expect((await trail())[0]?.session_id).toHaveLength(255);
  });

  it("is the application's and the owner's alone, and its key nobody's but the owner's", async () => {
    for (const role of ["app_readonly", "app_monitor"] as const) {
      const client = await database.connect(role);
      await expect(client.query("select audit.act_as(1)")).rejects.toThrow("permission denied");
    }
    await expect(app.query("select key from maintenance.identity_key")).rejects.toThrow("permission denied");
    await expect(app.query("update maintenance.identity_key set key = ''")).rejects.toThrow("permission denied");
    await expect(app.query("select audit.identity_seal('4242', '', '', '')")).rejects.toThrow("permission denied");
    expect(
      (
        await owner.query(`select rolname from pg_roles
          where has_table_privilege(rolname, 'maintenance.identity_key', 'select') and not rolsuper and rolname !~ '^pg_'`)
      ).rows,
    ).toEqual([{ rolname: "ai_workflow_owner" }]);
  });

  it("has a key of 256 bits in every database, and says what to do without", async () => {
    expect((await owner.query("select length(key) as bytes from maintenance.identity_key")).rows).toEqual([
      { bytes: 32 },
    ]);
    await owner.query("begin");
    await owner.query("delete from maintenance.identity_key");
    await expect(owner.query("select audit.act_as(1)")).rejects.toMatchObject({
      message: "maintenance.identity_key is empty, so no identity can be proved to the audit trail.",
      hint: "As owner: insert into maintenance.identity_key default values.",
    });
    await owner.query("rollback");
  });

  it("lets changes through without a key, and names nobody", async () => {
    await owner.query("begin");
    await owner.query("delete from maintenance.identity_key");
    await owner.query("select set_config('app.user_id', '1', true), set_config('app.identity_seal', 'x', true)");
    await change(owner);
    await owner.query("insert into maintenance.identity_key default values");
    await owner.query("commit");
    expect(await users()).toEqual([null]);
  });
});

describe("the mark of maintenance", () => {
  it("is not believed of the application, which can't become the owner either", async () => {
    for (const sql of [
      "set role ai_workflow_owner",
      "select set_config('role', 'ai_workflow_owner', true)",
      "set session authorization ai_workflow_owner",
      "grant ai_workflow_owner to app_user",
    ]) {
      await expect(app.query(sql)).rejects.toThrow("permission denied");
    }
    await app.query("set role app_user");
    for (const mark of ["move", "retention"]) {
      await app.query("select set_config('aiwdb.maintenance', $1, false)", [mark]);
      await change();
    }
    await app.query("set role none");
    await change();
    const entries = (await owner.query("select old_values, new_values, security_context from audit.audit_log")).rows;
    expect(entries).toHaveLength(3);
    for (const entry of entries) {
      expect(entry).toMatchObject({
        old_values: { theme: expect.any(String) },
        new_values: { theme: expect.any(String) },
        security_context: { db_role: "app_user", origin: "trigger" },
      });
      expect(entry.security_context).not.toHaveProperty("maintenance");
    }
  });

  it("is believed of the owner", async () => {
    await owner.query("begin");
    await owner.query("select set_config('aiwdb.maintenance', 'retention', true)");
    await change(owner);
    await owner.query("commit");
    expect(await trail()).toMatchObject([
      { security_context: { db_role: "ai_workflow_owner", origin: "trigger", maintenance: "retention" } },
    ]);
  });
});
