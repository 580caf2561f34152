import type Docker from "dockerode";
import { ROLES } from "../../database/access/roles.ts";
import { listenerMandatory } from "../../infra/servers/pgbouncer/ini.ts";
import { POSTGRES_MANDATORY } from "../../infra/servers/postgres/conf.ts";
import type { Settings } from "../../infra/servers/settings.ts";
import { connectionFor } from "../connections.ts";
import type { StackOutputs } from "../session.ts";
import { ask } from "./look.ts";
import { showAtPooler } from "./pooler-console.ts";

/** A setting that one of the package's guarantees needs, and that has another value on a server. */
export interface SettingDrift {
  readonly server: "postgres" | "pgbouncer";
  readonly name: string;
  /** The role or database, where somebody changed it only there. */
  readonly scope?: string;
  readonly expected: string;
  readonly actual: string;
}

/** Settings as pairs of a name and the value that a server must show. */
const valuesOf = (settings: Settings): [name: string, value: string][] =>
  Object.entries(settings).map(([name, { value }]) => [name, String(value)]);

export async function postgresDrift(outputs: StackOutputs): Promise<SettingDrift[]> {
  const expected = new Map(valuesOf(POSTGRES_MANDATORY));
  const { rows } = await ask(connectionFor(outputs, ROLES.monitor, "direct"), (client) =>
    client.query<{ name: string; scope: string | null; setting: string }>(
      // This session's settings do not show what a role or a database has of its own.
      `select name, null as scope, setting from pg_catalog.pg_settings where name = any($1)
       union all
       select split_part(pair, '=', 1), concat_ws(' in ', r.rolname, d.datname), substr(pair, strpos(pair, '=') + 1)
         from pg_catalog.pg_db_role_setting s
         cross join unnest(s.setconfig) as pair
         left join pg_catalog.pg_roles r on r.oid = s.setrole
         left join pg_catalog.pg_database d on d.oid = s.setdatabase
        where split_part(pair, '=', 1) = any($1)`,
      [[...expected.keys()]],
    ),
  );
  return rows
    .filter(({ name, setting }) => setting !== expected.get(name))
    .map(({ name, scope, setting }) => ({
      server: "postgres" as const,
      name,
      ...(scope === null ? {} : { scope }),
      expected: expected.get(name) ?? "",
      actual: setting,
    }));
}

export async function pgbouncerDrift(docker: Docker, outputs: StackOutputs): Promise<SettingDrift[]> {
  const shown = await showAtPooler(docker, outputs, "show config");
  return shown.flatMap(({ listener, rows }) => {
    const actual = new Map(rows.map(({ key, value }) => [key, value]));
    return valuesOf(listenerMandatory(listener))
      .filter(([name, value]) => actual.get(name) !== value)
      .map(([name, expected]) => ({
        server: "pgbouncer" as const,
        name,
        ...(shown.length > 1 ? { scope: listener.roles.join(", ") } : {}),
        expected,
        actual: actual.get(name) ?? "",
      }));
  });
}
