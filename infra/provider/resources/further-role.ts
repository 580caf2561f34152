import type Docker from "dockerode";
import { StateError } from "../../../base/errors.ts";
import { FURTHER_ROLE_MARK, ROLES } from "../../../database/access/roles.ts";
import { localSql } from "../../../database/local-sql.ts";
import { identifier, literal } from "../../../database/quote.ts";
import { engine } from "../../../toolchain/engine/containers.ts";
import { byTheSame, type None, type Operation, type ResourceType } from "../resource.ts";

export interface FurtherRoleInputs {
  readonly container: string;
  readonly name: string;
  /** The package's role whose rights it has. */
  readonly memberOf: string;
  readonly connectionLimit: number;
  /** Secret: what PostgreSQL shall store for its password. */
  readonly secret: string;
}

/** Time for statements, and for sessions that end, in milliseconds. */
const ANSWER_MS = 60_000;
const SESSION_END_MS = 10_000;

/** Roles that a further role may be a member of. */
const MODELS = [ROLES.app, ROLES.readonly];

/** Whose role of this name is on the server. */
async function look(docker: Docker, container: string, name: string, signal: AbortSignal) {
  const sql = `select 'role:' || coalesce(shobj_description(oid, 'pg_authid'), '') from pg_roles where rolname = ${literal(name)}`;
  const found = await localSql(docker, container, sql, { signal });
  return found === "" ? "none" : found === `role:${FURTHER_ROLE_MARK}` ? "ours" : "foreign";
}

/**
 * Makes the role, or makes it what is declared. It has no attribute beyond login, and no right but those of one of the
 * package's roles: it inherits them, and may not become that role (SET FALSE), so that its own name stays in the audit
 * trail.
 *
 * https://www.postgresql.org/docs/16/sql-grant.html#SQL-GRANT-DESCRIPTION-ROLES
 */
async function apply(inputs: FurtherRoleInputs, { signal: stopped }: Operation): Promise<None> {
  const { container, name, memberOf, connectionLimit, secret } = inputs;
  const docker = engine();
  const signal = AbortSignal.any([stopped, AbortSignal.timeout(ANSWER_MS)]);
  const found = await look(docker, container, name, signal);
  if (found === "foreign")
    throw new StateError(`The role ${name} of the setting roles can't be made; nothing has been changed:`, {
      subject: name,
      problem: "is a role of this server that the setting did not make",
      remedy: "Choose another name in the setting, or drop that role (`aiwdb psql --role postgres`).",
    });
  const role = identifier(name);
  const others = MODELS.filter((model) => model !== memberOf);
  const statements = [
    "begin;",
    ...(found === "none" ? [`create role ${role};`, `comment on role ${role} is ${literal(FURTHER_ROLE_MARK)};`] : []),
    `alter role ${role} with login nosuperuser nocreatedb nocreaterole inherit noreplication nobypassrls ` +
      `connection limit ${connectionLimit} password ${literal(secret)} valid until 'infinity';`,
    ...others.map((model) => `revoke ${identifier(model)} from ${role};`),
    `grant ${identifier(memberOf)} to ${role} with admin false, inherit true, set false;`,
    "commit;",
  ];
  await localSql(docker, container, statements.join("\n"), { signal });
  return {};
}

/**
 * Removes the role. Its sessions end first. It can own large objects and nothing else: the application gets them, so
 * that no data goes with a login.
 *
 * https://www.postgresql.org/docs/16/role-removal.html
 */
async function remove(container: string, name: string, { signal: stopped, report }: Operation): Promise<void> {
  const docker = engine();
  const signal = AbortSignal.any([stopped, AbortSignal.timeout(ANSWER_MS)]);
  const found = await look(docker, container, name, signal);
  if (found === "foreign") report.warn(`role ${name} was not made by the setting roles, and stays`);
  if (found !== "ours") return;
  const role = identifier(name);
  const end = `select count(pg_terminate_backend(pid, ${SESSION_END_MS})) from pg_stat_activity where usename = ${literal(name)}`;
  const ended = await localSql(docker, container, `alter role ${role} with nologin;\n${end};`, { signal });
  if (ended !== "0") report.info(`role ${name}: ended its sessions (${ended})`);
  const inDatabases = await localSql(
    docker,
    container,
    // What belongs to no database, such as a right on one, goes from any database.
    `select distinct coalesce(datname, 'postgres') from pg_shdepend left join pg_database as d on d.oid = dbid
      where refclassid = 'pg_authid'::regclass and refobjid = ${literal(name)}::regrole`,
    { signal },
  );
  const leave = `reassign owned by ${role} to ${ROLES.app}; drop owned by ${role};`;
  for (const database of inDatabases.split("\n").filter((line) => line !== ""))
    await localSql(docker, container, leave, { database, signal });
  await localSql(docker, container, `drop role ${role};`, { signal });
}

/** A login role of the setting `roles`. */
export const furtherRole: ResourceType<FurtherRoleInputs> = {
  ...byTheSame(({ name }) => name, apply),
  async read(_id, state, { signal }) {
    const found = await look(engine(), state.container, state.name, signal);
    return found === "ours" ? state : undefined;
  },
  delete: (_id, { container, name }, operation) => remove(container, name, operation),
};
