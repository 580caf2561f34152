import { identifier, literal } from "../../../database/quote.ts";
import type Docker from "dockerode";
import { messageOf } from "../../../base/errors.ts";
import { ENVIRONMENT_SETTING } from "../../../database/environment.ts";
import { FURTHER_ROLE_MARK, ROLES } from "../../../database/access/roles.ts";
import { localSql } from "../../../database/local-sql.ts";
import { engine, inspect } from "../../../toolchain/engine/containers.ts";
import { byTheSame, changedProperties, UNKNOWN, type None, type Operation, type ResourceType } from "../resource.ts";
import { matchesScramSecret, scramSecret } from "../../../database/scram.ts";

export interface LoginRolesInputs {
  readonly container: string;
  /** Secret: what PostgreSQL shall store for each role's password. */
  readonly secrets: Readonly<Record<string, string>>;
  /** Secret. */
  readonly superuserPassword: string;
}

/** A server that runs answers within this. */
const ANSWER_MS = 30_000;
const inTime = (signal: AbortSignal) => AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);

/** What a role has been given by ALTER ROLE ... SET. */
interface RoleSetting {
  readonly role: string;
  /** Where it counts; null: everywhere. */
  readonly database: string | null;
  readonly name: string;
  readonly value: string;
}

interface Found {
  /** What PostgreSQL stores for the roles that are there. */
  readonly secrets: Readonly<Record<string, string | null>>;
  /** Those that the stack's settings do not give. */
  readonly settings: readonly RoleSetting[];
}

/** Every role may set these for itself, and with them take back what the package promises. */
const GUARANTEES: Readonly<Record<string, string>> = {
  role: "its sessions would act, and make objects, as another role",
  password_encryption: "its next password would not be kept as SCRAM-SHA-256",
  local_preload_libraries: "its sessions would load a library, or fail at their start where there is none",
  [ENVIRONMENT_SETTING]: "says whether test tools may write here",
};

/**
 * The PostgreSQL provider reads these as whole numbers of milliseconds. At "1s" it stops, with half of the role
 * changed.
 */
const READ_AS_NUMBERS = new Set(["statement_timeout", "idle_in_transaction_session_timeout"]);

/** Set by the stack's own settings (database-baseline.ts). */
const isDeclared = ({ role, database, name }: RoleSetting): boolean =>
  role === ROLES.app && database !== null && name === "statement_timeout";

/** Why a setting of a role can't stay; undefined for one that is the role's own business. */
export function reasonToReset({ role, name, value }: RoleSetting): string | undefined {
  if (role === ROLES.pooler) return "the pooler's role has none of its own: every login goes through it";
  if (READ_AS_NUMBERS.has(name) && !/^-?\d+$/.test(value)) return "the PostgreSQL provider can't read it";
  return GUARANTEES[name];
}

async function look(docker: Docker, { container, secrets }: LoginRolesInputs, signal: AbortSignal): Promise<Found> {
  const names = [...Object.keys(secrets), ROLES.superuser].map(literal).join(", ");
  // Not a role of the server's that has the name of a further role by chance: see further-role.ts.
  const own = `(rolname in (${Object.values(ROLES).map(literal).join(", ")}) or shobj_description(pg_authid.oid, 'pg_authid') = ${literal(FURTHER_ROLE_MARK)})`;
  const found = await localSql(
    docker,
    container,
    `select json_build_object(
       'secrets', coalesce((select json_object_agg(rolname, rolpassword) from pg_authid where rolname in (${names}) and ${own}), '{}'),
       'settings', coalesce((
         select json_agg(json_build_object('role', rolname, 'database', datname, 'name', split_part(pair, '=', 1),
                'value', substr(pair, strpos(pair, '=') + 1)) order by rolname, datname, pair)
           from pg_db_role_setting
           cross join unnest(setconfig) as pair
           join pg_authid on pg_authid.oid = setrole
           left join pg_database on pg_database.oid = setdatabase
          where rolname in (${names}) and rolname <> '${ROLES.superuser}' and ${own}
       ), '[]'))`,
    { signal: inTime(signal) },
  );
  const { secrets: stored, settings } = JSON.parse(found) as Found;
  return { secrets: stored, settings: settings.filter((setting) => !isDeclared(setting)) };
}

/** Roles whose password is not the declared one. One that does not exist yet is made with it. */
function wrongPasswords({ secrets, superuserPassword }: LoginRolesInputs, found: Found): string[] {
  const isWrong = ([role, stored]: [string, string | null]): boolean => {
    if (role === ROLES.superuser)
      return superuserPassword !== UNKNOWN && !matchesScramSecret(superuserPassword, stored ?? "");
    return secrets[role] !== undefined && secrets[role] !== UNKNOWN && secrets[role] !== stored;
  };
  return Object.entries(found.secrets)
    .filter(isWrong)
    .map(([role]) => role);
}

/** Replaces characters that a terminal would obey instead of showing them. A role can give a setting any text. */
const inert = (text: string): string => text.replaceAll(/\p{Cc}|\p{Bidi_Control}/gu, "\uFFFD");

/** Where a setting is, and which. */
const place = ({ role, database }: RoleSetting): string => `role ${role}${database === null ? "" : ` in ${database}`}`;
const shown = ({ name, value }: RoleSetting): string => `${name} = ${inert(value)}`;

function resetStatement({ role, database, name }: RoleSetting): string {
  const within = database === null ? "" : `in database ${identifier(database)} `;
  return `alter role ${identifier(role)} ${within}reset ${name.split(".").map(identifier).join(".")};`;
}

async function apply(inputs: LoginRolesInputs, { report, signal }: Operation): Promise<None> {
  const docker = engine();
  const found = await look(docker, inputs, signal);
  const wrong = wrongPasswords(inputs, found);
  const reset = found.settings.filter((setting) => reasonToReset(setting) !== undefined);
  if (reset.length + wrong.length === 0) return {};
  const secretOf = (role: string) =>
    role === ROLES.superuser ? scramSecret(inputs.superuserPassword) : (inputs.secrets[role] ?? "");
  const passwords = wrong.map((role) => `alter role ${identifier(role)} password ${literal(secretOf(role))};`);
  const statements = ["begin;", ...reset.map(resetStatement), ...passwords, "commit;"];
  await localSql(docker, inputs.container, statements.join("\n"), { signal: inTime(signal) });
  for (const setting of reset) report.info(`${place(setting)}: took ${shown(setting)} back: ${reasonToReset(setting)}`);
  for (const role of wrong) report.info(`role ${role}: its password is the declared one again`);
  return {};
}

/**
 * What login roles may change of themselves, and by which they could lock the package out: their passwords, and the
 * settings that their sessions begin with. Passwords become the declared ones. Settings are reset if they undo a
 * guarantee or stop a provider. Other settings are named and stay. All this happens before the PostgreSQL provider
 * looks at the roles.
 *
 * Pulumi compares inputs with its state only. `diff` asks the server itself, by the container's local socket, if it
 * runs.
 */
export const loginRoles: ResourceType<LoginRolesInputs> = {
  async diff(olds, news, { report, signal }) {
    const changed = changedProperties(olds, news);
    if (news.container === UNKNOWN) return { changed };
    const wanted = { ...news, secrets: news.secrets === UNKNOWN ? {} : news.secrets };
    const docker = engine();
    const info = await inspect(docker, news.container, signal);
    // A server that does not run is started before the update, which looks then.
    if (!info?.State.Running || info.State.Paused || info.State.Restarting)
      return { changed: [...changed, "container"] };
    let found: Found;
    try {
      found = await look(docker, wanted, signal);
    } catch (error) {
      report.warn(`what the roles changed of themselves can't be seen yet: ${messageOf(error)}`);
      return { changed: [...changed, "container"] };
    }
    const reasons = found.settings.map((setting) => {
      const reason = reasonToReset(setting);
      if (reason === undefined)
        report.info(`${place(setting)} has a setting of its own, which stays: ${shown(setting)}`);
      else report.warn(`${place(setting)} has ${shown(setting)}: ${reason}`);
      return reason;
    });
    // A role that still has the password declared before only gets the new one.
    const before = new Set(wrongPasswords(olds, found));
    const wrong = wrongPasswords(wanted, found).filter((role) => before.has(role));
    for (const role of wrong) report.warn(`role ${role} has another password than the declared one`);
    return { changed: wrong.length > 0 || reasons.some(Boolean) ? [...changed, "secrets"] : changed };
  },
  ...byTheSame(({ container }) => container, apply),
};
