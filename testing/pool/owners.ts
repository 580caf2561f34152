import { identifier } from "../../database/quote.ts";
import { randomBytes } from "node:crypto";
import { POOLED_ROLES, ROLES } from "../../database/access/roles.ts";
import { scramSecret } from "../../database/scram.ts";
import type { Connection } from "../../database/connection.ts";
import { defaultPrivileges } from "../../database/access/rights.ts";
import { grantOwnersFunctions } from "../../database/access/public-functions.ts";
import type { Registry } from "./registry.ts";
import { asSuperuser, connectionTo, type TestServer } from "../description/server.ts";

/**
 * Hands every object of the database over. Not REASSIGN OWNED: that would take all databases of the old owner along,
 * the stack's own and other tests'. Sequences of columns go with their tables.
 * https://www.postgresql.org/docs/16/sql-reassign-owned.html
 */
const handOver = (owner: string) => `
  do $do$
  declare
    object record;
  begin
    for object in
      select identified.type, identified.identity
        from pg_catalog.pg_shdepend as held
       cross join lateral pg_catalog.pg_identify_object(held.classid, held.objid, held.objsubid) as identified
       where held.refclassid = 'pg_catalog.pg_authid'::regclass and held.refobjid = '${ROLES.owner}'::regrole and held.deptype = 'o'
         and held.dbid = (select oid from pg_catalog.pg_database where datname = current_database())
         and held.classid <> 'pg_catalog.pg_default_acl'::regclass
         and not exists (select from pg_catalog.pg_depend as column_of
                          where column_of.classid = held.classid and column_of.objid = held.objid and column_of.refobjsubid > 0
                            and held.classid = 'pg_catalog.pg_class'::regclass and column_of.deptype in ('a', 'i'))
    loop
      execute format('alter %s %s owner to ${owner}', case object.type when 'statistics object' then 'statistics' else object.type end, object.identity);
    end loop;
  end
  $do$;`;

/**
 * Gives a taken database a login role of its own that has the database's name and owns all that is in it. It may
 * connect nowhere else (pg_hba.conf, and no right), and goes with the database.
 *
 * @returns its password
 */
export async function giveOwner(
  { workers, server }: Registry,
  database: string,
  password: string = randomBytes(24).toString("base64url"),
): Promise<string> {
  if (!(await hasOwner({ workers }, database)))
    await workers.query(`create role ${database} login password '${scramSecret(password)}'`);
  await workers.query(`alter database ${database} owner to ${database}`);
  const statements = [handOver(database), defaultPrivileges(database), grantOwnersFunctions(database)];
  await asSuperuser(server, database, (admin) => admin.query(`set search_path = ''; ${statements.join(" ")}`));
  return password;
}

/** Whether a test database has an owner of its own: a role of its name. */
export async function hasOwner({ workers }: Pick<Registry, "workers">, database: string): Promise<boolean> {
  const { rowCount } = await workers.query("select from pg_catalog.pg_roles where rolname = $1", [database]);
  return rowCount === 1;
}

/** How the owner of a test database connects: any client certificate of the server's, and its own password. */
export function ownerConnection(server: TestServer, database: string, password: string): Connection {
  return { ...connectionTo(server, database, POOLED_ROLES[0], "direct"), user: database, password };
}

/** Drops a test database's own owner with all that it was given on the server; objects in other databases keep it. */
export async function dropOwner({ workers }: Registry, name: string): Promise<void> {
  const role = identifier(name);
  await workers.query(`reassign owned by ${role} to ${ROLES.owner}; drop owned by ${role}; drop role ${role}`);
}
