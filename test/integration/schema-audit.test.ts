import type { Client } from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createSchemaDatabase, type SchemaDatabase } from "../helpers/schema-database.ts";

let database: SchemaDatabase;
let owner: Client;
let app: Client;

beforeAll(async () => {
  database = await createSchemaDatabase("audit");
  await database.up();
  owner = await database.connect("ai_workflow_owner");
  app = await database.connect("app_user");
});
afterAll(async () => {
  await database?.close();
});

const ADA =
  "insert into public.users (username, email, hashed_password) values ('ada', 'ada@example.org', 'hash of hers')";

beforeEach(async () => {
  await owner.query("truncate public.users cascade");
  await owner.query("delete from audit.audit_log");
});

async function trail(): Promise<Record<string, unknown>[]> {
  return (await owner.query("select * from audit.audit_log order by created_at, operation")).rows as Record<
    string,
    unknown
  >[];
}

describe("the audit trail", () => {
  it("says who, as audit.act_as was told in the transaction, and not beyond it", async () => {
    await app.query("begin");
    await app.query("select audit.act_as(42, 's-1', '192.0.2.7', 'browser')");
    await app.query(ADA);
    await app.query("commit");
    await app.query("update public.users set theme = 'light'");

    const [inserted, updated] = await trail();
    expect(inserted).toMatchObject({
      table_name: "users",
      operation: "INSERT",
      user_id: 42,
      session_id: "s-1",
      ip_address: "192.0.2.7",
      user_agent: "browser",
      old_values: null,
      changed_fields: null,
    });
    expect(updated).toMatchObject({ operation: "UPDATE", user_id: null, session_id: null });
  });

  it("holds old and new values of what changed and of nothing else", async () => {
    await app.query(ADA);
    await app.query("update public.users set theme = 'light', timezone = timezone");
    const updated = (await trail()).at(-1);
    expect(updated).toMatchObject({
      changed_fields: ["theme"],
      old_values: { theme: "dark" },
      new_values: { theme: "light" },
    });
    expect((await owner.query("select updated_at from public.users")).rows[0]).not.toEqual({ updated_at: null });
  });

  it("never holds a secret, but that it changed", async () => {
    await app.query(ADA);
    await app.query("update public.users set hashed_password = 'another hash', tfa_secret = 'JBSWY3DP'");
    await app.query("delete from public.users");
    expect(JSON.stringify(await trail())).not.toMatch(/hash of hers|another hash|JBSWY3DP/);
    expect((await trail()).find(({ operation }) => operation === "UPDATE")).toMatchObject({
      changed_fields: ["hashed_password", "tfa_secret"],
      old_values: { hashed_password: "***", tfa_secret: null },
      new_values: { hashed_password: "***", tfa_secret: "***" },
    });
  });

  it("is silent when nothing changed, and about columns that change at every touch", async () => {
    await app.query(ADA);
    await app.query(
      `insert into public.authentication_sessions (session_id, user_id) select 'bearer', id from public.users`,
    );
    await owner.query("delete from audit.audit_log");
    await app.query("update public.users set theme = theme");
    await app.query("update public.authentication_sessions set last_activity_at = now() + interval '1 minute'");
    expect(await trail()).toEqual([]);
    await app.query("update public.authentication_sessions set is_active = false");
    expect(await trail()).toHaveLength(1);
  });

  it("lets a change through although the setting is no number", async () => {
    await app.query("select set_config('app.user_id', 'nobody', false)");
    await app.query(ADA);
    await app.query("reset app.user_id");
    expect(await trail()).toMatchObject([{ operation: "INSERT", user_id: null }]);
  });

  it("goes with the transaction: a change that is rolled back leaves nothing", async () => {
    await app.query("begin");
    await app.query(ADA);
    await app.query("rollback");
    expect(await trail()).toEqual([]);
  });

  it("holds what a deletion took along and a truncation", async () => {
    await app.query(ADA);
    await app.query(
      `insert into public.authentication_sessions (session_id, user_id) select 'bearer', id from public.users`,
    );
    await owner.query("delete from audit.audit_log");
    await app.query("delete from public.users");
    expect((await trail()).map((row) => row["table_name"]).toSorted()).toEqual(["authentication_sessions", "users"]);
    await owner.query("truncate public.system_settings");
    expect((await trail()).at(-1)).toMatchObject({ table_name: "system_settings", operation: "TRUNCATE" });
  });

  it("holds every change to the event trail, which the application may change", async () => {
    await app.query(`insert into audit.enterprise_audit_events
      (event_id, event_type, event_category, event_severity, event_timestamp, service_name, event_description, event_outcome)
      values ('e1', 'LOGIN', 'AUTHENTICATION', 'LOW', now(), 'auth', 'a login', 'SUCCESS')`);
    await app.query("update public.enterprise_audit_event set event_outcome = 'FAILURE'");
    await app.query("delete from audit.enterprise_audit_events");
    expect((await trail()).map(({ operation }) => operation)).toEqual(["UPDATE", "DELETE"]);
  });

  it("holds every change to threats and violations, under the log's name and not its partition's", async () => {
    await app.query(`insert into audit.threat_intelligence_events
      (threat_id, threat_type, threat_name, threat_description, severity, detected_at, detection_method)
      values ('t1', 'BRUTE_FORCE', 'name', 'description', 'LOW', now(), 'rule')`);
    await app.query("update public.threat_intelligence_event set status = 'CLOSED'");
    await app.query("delete from audit.threat_intelligence_events");
    await app.query(
      "insert into audit.security_violations (violation_type, severity, violation_details) values ('one', 'LOW', '{}')",
    );
    await owner.query("select * from maintenance.make_partitions(0, 'audit.security_violations')");
    await app.query(
      "insert into audit.security_violations (violation_type, severity, violation_details) values ('two', 'LOW', '{}')",
    );
    await app.query("update public.security_violations set resolved = true where violation_type = 'one'");
    await app.query("delete from audit.security_violations where violation_type = 'two'");
    await owner.query("truncate audit.security_violations");
    expect((await trail()).map(({ table_name, operation }) => `${String(operation)} ${String(table_name)}`)).toEqual([
      "UPDATE threat_intelligence_events",
      "DELETE threat_intelligence_events",
      "UPDATE security_violations",
      "DELETE security_violations",
      "TRUNCATE security_violations",
    ]);
  });

  it("holds that a setting changed, but not its value", async () => {
    await app.query("insert into public.system_settings (key, value) values ('smtp_password', 'swordfish')");
    await app.query("update public.system_settings set value = 'another swordfish'");
    expect(JSON.stringify(await trail())).not.toContain("swordfish");
    expect((await trail()).at(-1)).toMatchObject({ changed_fields: ["value"], new_values: { value: "***" } });
  });
});

describe("every audited table", () => {
  it("has a trigger for rows and one for truncation", async () => {
    const { rows } = await owner.query<{ relation: string; triggers: string }>(
      `select tgrelid::regclass as relation, count(*) as triggers from pg_trigger
       where tgfoid = 'audit.record_change()'::regprocedure and not tgisinternal and tgparentid = 0 group by 1`,
    );
    expect(rows).toHaveLength(31);
    expect(rows.filter(({ triggers }) => triggers !== "2")).toEqual([]);
  });
});
