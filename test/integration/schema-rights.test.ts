import type { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fillTables, readTables } from "../helpers/fill-tables.ts";
import { createSchemaDatabase, type SchemaDatabase } from "../helpers/schema-database.ts";

let database: SchemaDatabase;
let owner: Client;
let app: Client;
let readonly: Client;
let monitor: Client;

beforeAll(async () => {
  database = await createSchemaDatabase("rights");
  await database.up();
  owner = await database.connect("ai_workflow_owner");
  app = await database.connect("app_user");
  readonly = await database.connect("app_readonly");
  monitor = await database.connect("app_monitor");
  await fillTables(owner, 1);
});
afterAll(async () => {
  await database?.close();
});

/** Columns of tables and materialized views that a role can't read, and the tables of which it can read nothing. */
async function hiddenFrom(role: string): Promise<string[]> {
  const { rows } = await owner.query<{ column: string }>(
    `select format('%s.%s', class.oid::regclass, attname) as column
     from pg_class as class join pg_attribute on attrelid = class.oid and attnum > 0 and not attisdropped
     where relnamespace in ('public'::regnamespace, 'audit'::regnamespace) and relkind in ('r', 'p', 'm')
       and relname <> 'pgmigrations' and not has_column_privilege($1, class.oid, attnum, 'select')
     order by 1`,
    [role],
  );
  return rows.map(({ column }) => column);
}

const SECRETS = [
  "access_requests.token",
  "audit.audit_log.session_id",
  "audit.data_access_log.session_id",
  "audit.enterprise_audit_events.session_id",
  "audit.security_violations.session_id",
  "auth_queue_operations.operation_payload",
  "auth_queue_operations.operation_result",
  "auth_queue_operations.session_id",
  "authentication_sessions.session_id",
  "certificate_requests.download_token",
  "cross_service_auth.token_hash",
  "encrypted_fields.encrypted_value",
  "passkey_credentials.credential_id",
  "passkey_credentials.public_key",
  "registered_devices.refresh_token_hash",
  "secure_token_storage.encrypted_value",
  "secure_token_storage.session_id",
  "secure_token_storage.token_id",
  "security_actions.created_by_session_id",
  "security_requirements.configuration_data",
  "system_settings.value",
  "two_factor_audit_log.session_id",
  "two_factor_challenges.challenge_data",
  "two_factor_challenges.session_token",
  "two_factor_verification_codes.code_hash",
  "user_email_two_factor.provider_config",
  "user_oauth_tokens.access_token",
  "user_oauth_tokens.refresh_token",
  "user_sms_two_factor.provider_config",
  "user_two_factor_auth.totp_backup_codes",
  "user_two_factor_auth.totp_secret",
  "users.git_integrations",
  "users.hashed_password",
  "users.tfa_secret",
  "users.web_search_api_key",
];

describe("app_readonly", () => {
  it("reads every column but the secrets", async () => {
    expect(await hiddenFrom("app_readonly")).toEqual(SECRETS);
  });

  it("is refused a secret and given its neighbour", async () => {
    await expect(readonly.query("select hashed_password from public.users")).rejects.toThrow("permission denied");
    await expect(readonly.query("select * from public.user_oauth_tokens")).rejects.toThrow("permission denied");
    expect((await readonly.query("select username from public.users")).rowCount).toBe(1);
    expect((await readonly.query("select service, token_expiry from public.user_oauth_tokens")).rowCount).toBe(1);
  });

  it("is refused a secret through the report's name of a table as well", async () => {
    await expect(readonly.query("select session_id from public.enterprise_audit_event")).rejects.toThrow(
      "permission denied",
    );
    expect((await readonly.query("select event_type from public.enterprise_audit_event")).rowCount).toBe(1);
  });

  it("finds no statistics about secrets either", async () => {
    await owner.query("analyze public.users");
    const { rows } = await readonly.query(
      "select attname from pg_stats where tablename = 'users' and attname in ('username', 'tfa_secret')",
    );
    expect(rows).toEqual([{ attname: "username" }]);
  });

  it("changes nothing", async () => {
    for (const { name } of await readTables(owner)) {
      await expect(readonly.query(`delete from ${name}`)).rejects.toThrow("permission denied");
    }
  });
});

describe("app_monitor", () => {
  it("reads no table of the application, but how fresh the views are", async () => {
    for (const { name } of await readTables(owner)) {
      await expect(monitor.query(`select from ${name}`)).rejects.toThrow("permission denied");
    }
    expect((await monitor.query("select * from maintenance.view_freshness")).rowCount).toBe(5);
    expect((await monitor.query("select * from maintenance.partitions")).rowCount).toBe(8);
  });
});

const APPEND_ONLY = [
  "audit.audit_log",
  "audit.data_access_log",
  "audit.data_retention_logs",
  "audit.security_metrics",
  "public.device_login_attempts",
  "public.router_decision_log",
  "public.two_factor_audit_log",
];

describe("app_user", () => {
  it("reads every column", async () => {
    expect(await hiddenFrom("app_user")).toEqual([]);
  });

  it("changes rows everywhere but in the logs, and truncates nothing", async () => {
    const { rows } = await owner.query<{ table: string; privileges: string }>(
      `select format('%s.%s', nspname, relname) as table, string_agg(privilege, ' ' order by place) as privileges
       from pg_class as class join pg_namespace as namespace on namespace.oid = relnamespace
       cross join unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger'])
         with ordinality as one (privilege, place)
       where nspname in ('public', 'audit') and relkind in ('r', 'p') and relname <> 'pgmigrations'
         and has_table_privilege('app_user', class.oid, privilege)
       group by 1`,
    );
    expect(rows).toHaveLength(78);
    expect(rows.filter(({ privileges }) => privileges !== "select insert update delete")).toEqual(
      expect.arrayContaining(APPEND_ONLY.map((table) => ({ table, privileges: "select insert" }))),
    );
    expect(rows.filter(({ privileges }) => privileges === "select insert update delete")).toHaveLength(
      78 - APPEND_ONLY.length,
    );
  });

  it.each(APPEND_ONLY)("is refused update, delete and truncate of %s by its name and by the report's", async (name) => {
    const other = `public.${name.replace(/^.*\./, "")}`;
    for (const relation of new Set([name, other])) {
      await expect(app.query(`update ${relation} set id = id`)).rejects.toThrow("permission denied");
      await expect(app.query(`delete from ${relation}`)).rejects.toThrow("permission denied");
      await expect(app.query(`truncate ${relation}`)).rejects.toThrow(/permission denied|is not a table/);
    }
  });

  it("makes no objects, and reaches no partition, privacy function or maintenance", async () => {
    for (const schema of ["public", "audit", "partitions", "maintenance", "privacy"]) {
      await expect(app.query(`create table ${schema}.mine (id integer)`)).rejects.toThrow("permission denied");
    }
    await expect(app.query("select from partitions.audit_log_default")).rejects.toThrow("permission denied");
    await expect(app.query("select privacy.erase_user(1)")).rejects.toThrow("permission denied");
    await expect(app.query("select maintenance.make_partitions()")).rejects.toThrow("permission denied");
    await expect(app.query("call maintenance.apply_retention()")).rejects.toThrow("permission denied");
  });
});

describe("the mask of secrets", () => {
  it("covers every column that app_readonly can't read", async () => {
    const { rows } = await owner.query<{ column: string }>(
      "select name as column from unnest($1::text[]) as name where not audit.is_secret(substring(name from '[^.]+$'))",
      [SECRETS],
    );
    expect(rows).toEqual([]);
  });
});
