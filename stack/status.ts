import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import type Docker from "dockerode";
import type { Client } from "pg";
import type { ConnectionInfo } from "../infra/database-stack.ts";
import { PHASE_NAMES, PHASES, upToPhase, type Phase } from "../migrate/chain/phases.ts";
import { readMigrations } from "../migrate/chain/files.ts";
import { readApplied } from "../migrate/run/applied.ts";
import { POOLED_ROLES, ROLES, type ClientRole } from "../database/access/roles.ts";
import { type Connection, withConnection } from "../database/connection.ts";
import { exec, inspect, localSql } from "../toolchain/engine/containers.ts";
import { offeredCertificate } from "../database/handshake.ts";
import { pgbouncerConsole } from "../infra/servers/pgbouncer/console.ts";
import { listenerMandatory } from "../infra/servers/pgbouncer/ini.ts";
import { listeners, type Listener } from "../infra/settings/listeners.ts";
import { POSTGRES_MANDATORY } from "../infra/servers/postgres/conf.ts";
import type { Settings } from "../infra/servers/settings.ts";
import { engineClient } from "../toolchain/engine/client.ts";
import { messageOf, type Problem, StateError, UnknownError } from "../base/errors.ts";
import type { Toolchain } from "../toolchain/set-up.ts";
import { healthNow } from "../infra/servers/container-health.ts";
import { freezeSql, FROZEN } from "./freeze.ts";
import { MIGRATIONS_FOLDER } from "./migrations-folder.ts";
import { countWaiting } from "../database/retention.ts";
import { connectionFor, MODES, type Mode } from "./connections.ts";
import { type Session } from "./pulumi-run.ts";
import { readOutputs, type StackOutputs } from "./session.ts";
import { readStackConfig } from "./settings-file.ts";

export interface ContainerStatus {
  readonly name: string;
  /** The engine's word: running, exited, …; `missing` if there is none. */
  readonly state: string;
  /** Of its health check, run now: healthy, starting, unhealthy; none where it has none, unknown where it could not be run. */
  readonly health: string;
}

export interface ConnectionStatus {
  readonly mode: Mode;
  /** Who came in so; where certificates are bound to roles, each has a port of its own. */
  readonly role: ClientRole;
  readonly address: string;
  /** TLS version of the hop to PostgreSQL, or why there is none. */
  readonly tls: string | null;
  readonly error?: string;
}

export interface CertificateStatus {
  readonly name: string;
  readonly validTo: string;
  readonly daysLeft: number;
}

export interface PoolStatus {
  readonly database: string;
  readonly role: string;
  readonly mode: string;
  readonly clientsActive: number;
  readonly clientsWaiting: number;
  readonly serversActive: number;
  readonly serversIdle: number;
}

/** A setting that carries one of the package's guarantees and has another value where it is in force. */
export interface SettingDrift {
  readonly server: "postgres" | "pgbouncer";
  readonly name: string;
  /** Where it was changed for a role or a database only. */
  readonly scope?: string;
  readonly expected: string;
  readonly actual: string;
}

export interface MigrationStatus {
  readonly applied: number;
  readonly pending: readonly string[];
  readonly phases: readonly {
    readonly phase: number;
    readonly name: string;
    readonly applied: number;
    readonly total: number;
  }[];
}

/** In the place of what nobody could look at; `unknown` of the status says why. */
type Unknown = "unknown";

/** One screen about a stack; the shape of `aiwdb status --json`. */
export interface StackStatus {
  readonly stack: string;
  /** unhealthy: something was found; unknown: nothing was found, but not everything could be looked at. */
  readonly state: "healthy" | "unhealthy" | "unknown";
  readonly healthy: boolean;
  readonly tls: boolean;
  readonly database: string;
  readonly containers: readonly ContainerStatus[];
  readonly connections: readonly ConnectionStatus[];
  readonly pools: readonly PoolStatus[] | Unknown;
  /** What somebody changed by hand. */
  readonly drift: readonly SettingDrift[];
  /** What keeps clients out or from writing: a paused pooler, a freeze, a role that may not log in. */
  readonly obstacles: readonly Problem[];
  readonly migrations: MigrationStatus | Unknown;
  /** Retention policies that wait for the owner's approval; null where there is no such thing yet. */
  readonly policiesWaiting: number | null | Unknown;
  readonly certificates: readonly CertificateStatus[];
  /** What could not be looked at, and why. */
  readonly unknown: readonly Problem[];
}

/** Of a paused pooler, and of one whose server keeps a lock, no answer comes. */
const ask = <T>(connection: Connection, work: (client: Client) => Promise<T>): Promise<T> =>
  withConnection(connection, work, { queryTimeoutMs: 15_000 });

/** For an engine, or a command in a container, that does not answer. */
const inTime = () => AbortSignal.timeout(30_000);

/** Looks at something; where it can't, notes why. */
type Look = <T>(subject: string, ask: () => Promise<T>) => Promise<T | Unknown>;

/** @throws StateError when the stack is not up */
export async function readStatus(session: Session, toolchain: Pick<Toolchain, "engine">): Promise<StackStatus> {
  const outputs = await readOutputs(session);
  const docker = engineClient(toolchain.engine);
  const { connections } = outputs;
  const unknown: Problem[] = [];
  const look: Look = async (subject, ask) => {
    try {
      return await ask();
    } catch (error) {
      unknown.push({ subject, problem: messageOf(error) });
      return "unknown";
    }
  };
  const known = <T>(found: readonly T[] | Unknown): readonly T[] => (found === "unknown" ? [] : found);
  const poolsFirst = look("pools", () => poolStatus(docker, outputs));
  const [
    containers,
    reached,
    pools,
    serverDrift,
    poolerDrift,
    locked,
    paused,
    migrations,
    policiesWaiting,
    certificates,
  ] = await Promise.all([
    Promise.all(Object.values(connections.containers).map((name) => containerStatus(docker, name, look))),
    // After the look at the pools, which would count these as clients.
    poolsFirst.then(() => Promise.all(tried(connections).map(([mode, role]) => tryConnection(outputs, mode, role)))),
    poolsFirst,
    look("settings of PostgreSQL", () => postgresDrift(outputs)),
    look("settings of PgBouncer", () => pgbouncerDrift(docker, outputs)),
    look("roles and freeze", () => obstaclesInPostgres(docker, connections)),
    look("pause", () => obstaclesInPgBouncer(docker, outputs)),
    look("migrations", () => migrationStatus(session.stack, outputs)),
    look("retention", () => ask(connectionFor(outputs, ROLES.owner, "direct"), countWaiting)),
    certificateStatuses(connections, look),
  ]);
  const tls = reached.every((connection) => connection.tls?.startsWith("TLSv1.") ?? false);
  const drift = [...known(serverDrift), ...known(poolerDrift)];
  const obstacles = [...known(locked), ...known(paused)];
  const isSound =
    tls &&
    drift.length === 0 &&
    obstacles.every(isBlinding) &&
    containers.every((each) => isHealthy(each, connections));
  const state = isSound ? (unknown.length === 0 ? "healthy" : "unknown") : "unhealthy";
  return {
    stack: session.stack,
    state,
    healthy: state === "healthy",
    tls,
    database: connections.database,
    containers,
    connections: reached,
    pools,
    drift,
    obstacles,
    migrations,
    policiesWaiting,
    certificates,
    unknown,
  };
}

/**
 * What the status says to whoever called.
 *
 * @param summary what it is about, as in `Stack "dev" is`
 * @throws StateError where it is not healthy, UnknownError where not everything could be looked at
 */
export function refuseUnlessHealthy(status: StackStatus, summary: string): void {
  if (status.state === "unhealthy") throw new StateError(`${summary} not healthy; see above.`, [], { result: status });
  if (status.state === "unknown")
    throw new UnknownError(
      `${summary} healthy as far as it could be looked at, which is not everything; see above.`,
      [],
      {
        result: status,
      },
    );
}

async function containerStatus(docker: Docker, name: string, look: Look): Promise<ContainerStatus> {
  const info = await look(`container ${name}`, () => inspect(docker, name, inTime()));
  if (info === "unknown") return { name, state: "unknown", health: "unknown" };
  const status = { name, state: info?.State.Status ?? "missing", health: info?.State.Health?.Status ?? "none" };
  if (!info || status.state !== "running" || status.health === "none") return status;
  // The engine's answer may be as old as its interval, and older engines have none before the first one is over.
  return { ...status, health: await look(`health of ${name}`, () => healthNow(docker, info, inTime)) };
}

/** The maintenance container is healthy after its first run, which nobody waits for. */
function isHealthy({ name, state, health }: ContainerStatus, { containers }: ConnectionInfo): boolean {
  const accepted = name === containers.maintenance ? ["healthy", "starting"] : ["healthy", "none"];
  return state === "unknown" || (state === "running" && [...accepted, "unknown"].includes(health));
}

/** Values that must stand in a server; those that are paths, names and lists too. */
const valuesOf = (settings: Settings): [name: string, value: string][] =>
  Object.entries(settings).map(([name, { value }]) => [name, String(value)]);

async function postgresDrift(outputs: StackOutputs): Promise<SettingDrift[]> {
  const expected = new Map(valuesOf(POSTGRES_MANDATORY));
  const { rows } = await ask(connectionFor(outputs, ROLES.monitor, "direct"), (client) =>
    client.query<{ name: string; scope: string | null; setting: string }>(
      // What a role or a database has of its own does not show in this session's settings.
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

/** A role by which the status looks can't log in: the answer is unknown, and nothing is wrong with the stack's clients. */
const isBlinding = ({ subject, problem }: Problem): boolean =>
  [ROLES.monitor, ROLES.owner].some((role) => subject === `role ${role}`) && !problem.startsWith(FROZEN);

/** By the container's own socket, so that no role that is locked out keeps the status from saying so. */
async function obstaclesInPostgres(docker: Docker, { containers, database }: ConnectionInfo): Promise<Problem[]> {
  const roles = Object.values(ROLES).filter((role) => role !== ROLES.lookupOwner);
  const found = await localSql(
    docker,
    containers.postgres,
    `select coalesce(json_agg(json_build_object('subject', subject, 'problem', problem)), '[]') from (
       select 'role ' || wanted.name as subject, case
           when rolname is null then 'is not there'
           when not rolcanlogin then 'may not log in (NOLOGIN)'
           when rolconnlimit = 0 then 'may not log in (CONNECTION LIMIT 0)'
           else 'may not log in: its password was valid until ' || rolvaliduntil
         end as problem
       from unnest('{${roles.join(",")}}'::text[]) as wanted (name) left join pg_roles on rolname = wanted.name
       where rolname is null or not rolcanlogin or rolconnlimit = 0 or rolvaliduntil <= now()
       union all
       select subject, problem from (${freezeSql(database)}) as frozen
     ) as found`,
    { abortSignal: inTime() },
  );
  return JSON.parse(found) as Problem[];
}

async function obstaclesInPgBouncer(docker: Docker, outputs: StackOutputs): Promise<Problem[]> {
  const shown = await showAtPooler(docker, outputs, "show databases");
  return shown.flatMap(({ rows }) =>
    rows
      .filter(({ paused, disabled }) => paused === "1" || disabled === "1")
      .map(({ name = "", paused }) => ({
        subject: `PgBouncer's database ${name}`,
        problem: paused === "1" ? "is paused: clients wait (`PAUSE`)" : "is disabled: no client gets in (`DISABLE`)",
      })),
  );
}

/**
 * What a SHOW command says at each of the pooler's processes. Where a role's certificate opens that role's process only,
 * the monitoring role cannot ask the others, so the container's own account does.
 */
async function showAtPooler(
  docker: Docker,
  outputs: StackOutputs,
  command: string,
): Promise<{ listener: Listener; rows: Record<string, string>[] }[]> {
  const bound = outputs.connections.rolePorts !== undefined;
  return Promise.all(
    listeners({ pgbouncerBindCertificates: bound }).map(async (listener) => ({
      listener,
      rows: bound
        ? await showLocally(docker, outputs.connections.containers.pgbouncer, listener.port, command)
        : await showOverTls(outputs, command),
    })),
  );
}

async function showOverTls(outputs: StackOutputs, command: string): Promise<Record<string, string>[]> {
  const connection = { ...connectionFor(outputs, ROLES.monitor, "transaction"), database: "pgbouncer" };
  const { rows } = await ask(connection, (client) => client.query<Record<string, unknown>>(command));
  return rows.map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, String(value ?? "")])));
}

async function showLocally(docker: Docker, container: string, port: number, command: string) {
  const inTabs = ["-P", "footer=off", "-F", "\t"];
  const { exitCode, stdout, stderr } = await exec(
    docker,
    container,
    pgbouncerConsole(port, command, ...inTabs),
    undefined,
    inTime(),
  );
  if (exitCode !== 0) throw new StateError(`${container} does not answer on port ${port}: ${stderr.trim()}`);
  const [names = [], ...lines] = stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.split("\t"));
  return lines.map((values) => Object.fromEntries(names.map((name, index) => [name, values[index] ?? ""])));
}

async function pgbouncerDrift(docker: Docker, outputs: StackOutputs): Promise<SettingDrift[]> {
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

/** Each way in: by the application, and by every role that has a port of its own. */
function tried({ rolePorts }: ConnectionInfo): [Mode, ClientRole][] {
  const others = rolePorts ? POOLED_ROLES.filter((role) => role !== ROLES.app) : [];
  return [
    ...MODES.map((mode): [Mode, ClientRole] => [mode, ROLES.app]),
    ...others.map((role): [Mode, ClientRole] => ["transaction", role]),
  ];
}

async function tryConnection(outputs: StackOutputs, mode: Mode, role: ClientRole): Promise<ConnectionStatus> {
  const connection = connectionFor(outputs, role, mode);
  const address = `${connection.host}:${connection.port}/${connection.database}`;
  try {
    const { rows } = await ask(connection, (client) =>
      client.query("select version from pg_catalog.pg_stat_ssl where pid = pg_catalog.pg_backend_pid()"),
    );
    return { mode, role, address, tls: (rows[0] as { version: string | null }).version };
  } catch (error) {
    return { mode, role, address, tls: null, error: messageOf(error) };
  }
}

async function poolStatus(docker: Docker, outputs: StackOutputs): Promise<PoolStatus[]> {
  const shown = await showAtPooler(docker, outputs, "show pools");
  // A role that is refused leaves an empty pool at a listener that is not its own.
  const rows = shown.flatMap(({ listener, rows: all }) =>
    all.filter(({ user }) => [...listener.roles, ROLES.pooler].some((role) => role === user)),
  );
  return rows.filter(({ database }) => database !== "pgbouncer").map(poolOf);
}

/** A row of `show pools`. Connections that have to be checked before their next use (`sv_used`) are idle too. */
export function poolOf(row: Readonly<Record<string, string>>): PoolStatus {
  return {
    database: row["database"] ?? "",
    role: row["user"] ?? "",
    mode: row["pool_mode"] ?? "",
    clientsActive: Number(row["cl_active"]),
    clientsWaiting: Number(row["cl_waiting"]),
    serversActive: Number(row["sv_active"]),
    serversIdle: Number(row["sv_idle"]) + Number(row["sv_used"]),
  };
}

async function migrationStatus(stack: string, outputs: StackOutputs): Promise<MigrationStatus> {
  const all = readMigrations(MIGRATIONS_FOLDER);
  const wanted = upToPhase(all, readStackConfig(stack).rolloutPhase as Phase);
  const rows = await ask(connectionFor(outputs, ROLES.owner, "direct"), (client) => readApplied(client));
  const applied: ReadonlySet<string> = new Set(rows.map(({ name }) => name));
  return {
    applied: applied.size,
    pending: wanted.filter(({ name }) => !applied.has(name)).map(({ name }) => name),
    phases: PHASES.map((phase) => {
      const files = all.filter((migration) => migration.phase === phase);
      return {
        phase,
        name: PHASE_NAMES[phase],
        applied: files.filter(({ name }) => applied.has(name)).length,
        total: files.length,
      };
    }),
  };
}

/** Of the servers, as they offer them, and of the files of the clients. */
async function certificateStatuses(connections: ConnectionInfo, look: Look): Promise<CertificateStatus[]> {
  const files = Object.entries(connections.certificates).map(([role, { sslCert }]) => ({
    name: `client ${role}`,
    file: sslCert,
  }));
  const authority = Object.values(connections.certificates)[0]?.sslRootCert;
  if (authority) files.push({ name: "certificate authority", file: authority });
  const ends: [string, () => Promise<string>][] = [
    ...Object.entries({ "postgres server": connections.direct, "pgbouncer server": connections.transaction }).map(
      ([name, { host, port }]): [string, () => Promise<string>] => [
        name,
        async () => (await offeredCertificate(host, port)).valid_to,
      ],
    ),
    ...files.map(({ name, file }): [string, () => Promise<string>] => [
      name,
      async () => new X509Certificate(readFileSync(file)).validTo,
    ]),
  ];
  const found = await Promise.all(
    ends.map(async ([name, validTo]) => ({ name, validTo: await look(`certificate of ${name}`, validTo) })),
  );
  return found.flatMap(({ name, validTo }) => (validTo === "unknown" ? [] : [certificateStatus(name, validTo)]));
}

function certificateStatus(name: string, validTo: string): CertificateStatus {
  const end = new Date(validTo);
  return { name, validTo: end.toISOString(), daysLeft: Math.floor((end.getTime() - Date.now()) / 86_400_000) };
}
