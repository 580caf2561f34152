import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connectionFor, type Mode } from "../../stack/connections.ts";
import type { KeyPair } from "../../certs/verify.ts";
import {
  clientConfig,
  containerName,
  docker,
  eventually,
  open,
  query,
  refusal,
  times,
  type Change,
} from "../helpers/connect.ts";
import { ownStack, type OwnStack } from "../helpers/own-stack.ts";
import { mustSucceed } from "../helpers/real-stack.ts";
import { exec } from "../../toolchain/engine/containers.ts";

// A stack of its own, because roles come and go.
const NAME = `ci-f${process.pid}`;
const MODES: Mode[] = ["direct", "transaction", "session"];
const ROLES = {
  reporting: { access: "read", connectionLimit: 4 },
  writer: { access: "write" },
  anna: { access: "read", pooled: false, connectionLimit: 1 },
};
/** An authority that ends soon enough for a certificate to outlive it. */
const SETTINGS = { rolloutPhase: 4, certCaValidityDays: 100 };
let own: OwnStack;
const here = (): Change => ({ outputs: own.outputs });
const asSuperuser = <Row extends object>(sql: string) =>
  query<Row & Record<string, unknown>>("postgres", "direct", sql, here());
const certificateOf = (role: string): KeyPair => {
  const { sslCert, sslKey } = connectionFor(own.outputs, role, "direct");
  return { certPem: readFileSync(sslCert, "utf8"), keyPem: readFileSync(sslKey, "utf8") };
};

beforeAll(async () => {
  own = await ownStack(NAME, { roles: ROLES, ...SETTINGS });
});
afterAll(() => own.remove());

test("each connects with its own certificate and password in every mode that it may, by the URL that is printed", async () => {
  const who = "select current_user as role, session_user as login";
  for (const role of ["reporting", "writer"])
    for (const mode of MODES) expect(await query(role, mode, who, here())).toEqual([{ role, login: role }]);
  expect(await query("anna", "direct", who, here())).toEqual([{ role: "anna", login: "anna" }]);
  for (const mode of ["transaction", "session"] as const)
    expect(await refusal(open("anna", mode, here()))).toMatch(/08P01: no such user/);

  const url = async (...args: string[]) => own.checkout.aiwdb(["url", "--stack", NAME, ...args]);
  const printed = mustSucceed(await url("--role", "reporting"));
  expect(printed.stderr).toContain("transaction mode: 4 server connections for all transactions of reporting");
  const { host } = new URL(printed.stdout.trim());
  expect(host).toBe(`localhost:${own.outputs.connections.transaction.port}`);
  // A role that does not come through the pooler has another default.
  expect(new URL(mustSucceed(await url("--role", "anna")).stdout.trim()).port).toBe(
    String(own.outputs.connections.direct.port),
  );
  expect((await url("--role", "anna", "--mode", "session")).stderr).toContain("--mode: session is the pooler's");
  const unknown = await url("--role", "bob");
  expect(unknown.exitCode).toBe(2);
  expect(unknown.stderr).toContain("postgres, anna, reporting, writer");
});

test("their rights on everything are those of app_readonly and app_user, column by column", async () => {
  const different = (role: string, model: string) =>
    asSuperuser<{ what: string }>(`
      select class.oid::regclass::text || '.' || attname as what
        from pg_class as class join pg_attribute on attrelid = class.oid and attnum > 0 and not attisdropped
       cross join unnest(array['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) as p (privilege)
       where has_column_privilege('${role}', class.oid, attnum, privilege)
          <> has_column_privilege('${model}', class.oid, attnum, privilege)
      union all
      select class.oid::regclass::text from pg_class as class
       cross join unnest(array['DELETE', 'TRUNCATE', 'TRIGGER']) as p (privilege)
       where relkind in ('r', 'v', 'm', 'p')
         and has_table_privilege('${role}', class.oid, privilege) <> has_table_privilege('${model}', class.oid, privilege)
      union all
      select oid::regprocedure::text from pg_proc
       where has_function_privilege('${role}', oid, 'EXECUTE') <> has_function_privilege('${model}', oid, 'EXECUTE')
      union all
      select nspname from pg_namespace cross join unnest(array['CREATE', 'USAGE']) as p (privilege)
       where has_schema_privilege('${role}', oid, privilege) <> has_schema_privilege('${model}', oid, privilege)
      union all
      select datname from pg_database cross join unnest(array['CREATE', 'CONNECT', 'TEMPORARY']) as p (privilege)
       where has_database_privilege('${role}', oid, privilege) <> has_database_privilege('${model}', oid, privilege)`);
  expect(await different("reporting", "app_readonly")).toEqual([]);
  expect(await different("anna", "app_readonly")).toEqual([]);
  expect(await different("writer", "app_user")).toEqual([]);
  expect(
    await asSuperuser(
      `select rolname, rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls as more, rolconnlimit
         from pg_roles where rolname in ('anna', 'reporting', 'writer') order by rolname`,
    ),
  ).toEqual([
    { rolname: "anna", more: false, rolconnlimit: 1 },
    { rolname: "reporting", more: false, rolconnlimit: 4 },
    { rolname: "writer", more: false, rolconnlimit: 5 },
  ]);
});

test("the one that writes is in the audit trail by its own name", async () => {
  const insert = `insert into users (username, email, hashed_password) values ('further', 'further@example.org', 'x')`;
  for (const role of ["reporting", "anna"])
    expect(await refusal(query(role, "direct", insert, here()))).toMatch(/^42501/);
  await query("writer", "transaction", insert, here());
  expect(
    await asSuperuser(
      "select security_context ->> 'db_role' as role from audit.audit_log where table_name = 'users' order by created_at desc limit 1",
    ),
  ).toEqual([{ role: "writer" }]);
});

describe.each(["reporting", "writer"])("with the password and certificate of %s", (role) => {
  test.each([
    "set role app_user",
    "set role app_readonly",
    "set role ai_workflow_owner",
    "set role postgres",
    "set session authorization app_user",
    "grant app_user to pgbouncer",
    "revoke app_user from writer",
    "alter role app_user connection limit 0",
    "alter role app_user password 'another-password-of-20'",
    "alter role writer connection limit 100",
    "alter role reporting superuser",
    "drop role anna",
    "create role more",
    "create database more",
    "create schema more",
    "create table more ()",
    "create temporary table more ()",
    "drop table users",
    "truncate users",
    "alter table users disable trigger all",
    "delete from audit.audit_log",
    "select pg_terminate_backend(pg_backend_pid())",
    "select pg_read_file('/etc/passwd')",
    "select rolpassword from pg_authid",
    "select * from pgbouncer.lookup('app_user')",
    "copy users to program 'cat'",
    "alter default privileges for role ai_workflow_owner revoke all on tables from app_user",
    "alter system set work_mem = '1GB'",
  ])("%s is refused", async (sql) => {
    for (const mode of ["direct", "transaction"] as const)
      expect(await refusal(query(role, mode, sql, here())), mode).toMatch(/^42501|^25006/);
  });

  test("nobody else's certificate goes with it, nor its own with somebody else's password, directly", async () => {
    for (const other of ["app_user", "app_readonly", "ai_workflow_owner", "anna"]) {
      const theirs = { ...here(), certificate: certificateOf(other) };
      expect(await refusal(open(role, "direct", theirs)), other).toMatch(/^28000|^28P01/);
      const mine = { ...here(), certificate: certificateOf(role) };
      expect(await refusal(open(other, "direct", mine)), other).toMatch(/^28000|^28P01/);
    }
    expect(await refusal(open(role, "direct", { ...here(), database: "postgres" }))).toMatch(/^28000/);
  });
});

test("a connection limit holds: directly it refuses, through the pooler it makes clients wait", async () => {
  const held = await open("anna", "direct", here());
  expect(await refusal(open("anna", "direct", here()))).toMatch(/^53300/);
  await held.end();

  const clients = await Promise.all(times(10).map(() => open("reporting", "transaction", here())));
  const most = "select count(*)::int as open from pg_stat_activity where usename = 'reporting'";
  const work = clients.map((client) => client.query("select pg_sleep(0.5)"));
  await eventually(async () => expect(await asSuperuser(most)).toEqual([{ open: 4 }]));
  await Promise.all(work); // ten statements over four connections: none fails
  expect(await asSuperuser(most)).toEqual([{ open: 4 }]);
  await Promise.all(clients.map((client) => client.end()));
});

test("a further certificate can be issued for it, which does not outlive the authority", async () => {
  const folder = path.join(own.checkout.root, "..", "issued-anna");
  const issue = ["certs", "issue", "anna", "--stack", NAME, "--output", folder];
  const refused = await own.checkout.aiwdb([...issue, "--days", "101"]);
  expect(refused.exitCode).toBe(1);
  expect(refused.stderr).toContain("--days: 101 days outlive the certificate authority, which ends on ");
  expect(existsSync(folder)).toBe(false);
  mustSucceed(await own.checkout.aiwdb(issue));
  const read = (file: string) => readFileSync(path.join(folder, file), "utf8");
  const certificate = { certPem: read("anna.crt"), keyPem: read("anna.key") };
  expect(await query("anna", "direct", "select 1 as one", { ...here(), certificate })).toEqual([{ one: 1 }]);
});

test("there is none for a role that is in the settings and not up yet", async () => {
  own.settings({ roles: { ...ROLES, late: { access: "read" } }, ...SETTINGS });
  const folder = path.join(own.checkout.root, "..", "late");
  for (const command of [
    ["certs", "issue", "late", "--output", folder],
    ["url", "--role", "late"],
  ]) {
    const refused = await own.checkout.aiwdb([...command, "--stack", NAME]);
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toMatch(/^Stack ".*" has no role late yet\./);
  }
  expect(existsSync(folder)).toBe(false);
});

test("one that is taken out of the settings loses its login, its sessions and files; what it wrote stays", async () => {
  const [{ lo } = { lo: 0 }] = await query<{ lo: number }>(
    "writer",
    "direct",
    "select lo_from_bytea(0, 'kept') as lo",
    here(),
  );
  mustSucceed(
    await own.checkout.aiwdb([
      "certs",
      "issue",
      "writer",
      "--stack",
      NAME,
      "--output",
      path.join(own.checkout.root, "..", "issued-writer"),
    ]),
  );
  const session = await open("writer", "direct", here());
  const { sslCert } = connectionFor(own.outputs, "writer", "direct");
  const logins = MODES.map((mode) => clientConfig("writer", mode, here()));
  const { writer: _writer, ...others } = ROLES;
  own.settings({ roles: others, ...SETTINGS });
  const preview = await own.checkout.aiwdb(["preview", "--stack", NAME]);
  expect(preview.stdout).toMatch(/- aiwdb:index:FurtherRole: \(delete\)\s+\[id=writer\]/);
  const started = await own.started();
  mustSucceed(await own.up());
  await own.readOutputs();
  expect(await own.started()).toEqual(started);

  expect(await asSuperuser("select rolname from pg_roles where rolname = 'writer'")).toEqual([]);
  expect(
    await asSuperuser(`select lomowner::regrole::text as owner from pg_largeobject_metadata where oid = ${lo}`),
  ).toEqual([{ owner: "app_user" }]);
  expect(await refusal(session.query("select 1"))).toMatch(/57P01|terminated|closed|not queryable/i);
  for (const login of logins) expect(await refusal(new pg.Client(login).connect())).toMatch(/^28000|^28P01|^08P01/);
  expect(existsSync(sslCert)).toBe(false);
  const issued = mustSucceed(await own.checkout.aiwdb(["certs", "list", "--stack", NAME])).stdout;
  expect(issued).toMatch(/^writer {2}\S+ {2}\S+ {2}roleless$/m);
  expect(own.outputs.connections.roles).not.toContain("writer");
  const rules = await exec(docker(), containerName("pgbouncer", NAME), ["cat", "/etc/pgbouncer/pgbouncer_hba.conf"]);
  expect(rules.stdout).not.toContain("writer");
  expect(await query("reporting", "transaction", "select 1 as one", here())).toEqual([{ one: 1 }]);
  expect((await own.checkout.aiwdb(["status", "--stack", NAME])).exitCode).toBe(0);
});
