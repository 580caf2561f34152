import { X509Certificate } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import type Docker from "dockerode";
import type { ConnectionInfo } from "../../infra/database-stack.ts";
import { PHASE_NAMES, PHASES, upToPhase, type Phase } from "../../infra/migrations/phases.ts";
import { readMigrations } from "../../infra/migrations/files.ts";
import { readApplied } from "../../infra/migrations/applied.ts";
import { POOLED_ROLES, ROLES, type ClientRole } from "../../infra/names.ts";
import { withConnection, type Connection } from "../../infra/provider/connection.ts";
import { exec, inspect } from "../../infra/provider/engine.ts";
import { offeredCertificate } from "../../infra/provider/handshake.ts";
import { pgbouncerConsole } from "../../infra/provider/pgbouncer-console.ts";
import { listenerMandatory } from "../../infra/render/pgbouncer-ini.ts";
import { listeners, type Listener } from "../../infra/render/pgbouncer-listeners.ts";
import { POSTGRES_MANDATORY } from "../../infra/render/postgresql-conf.ts";
import type { Settings } from "../../infra/render/settings.ts";
import { engineClient } from "../../toolchain/engine-client.ts";
import { messageOf, StateError } from "../../toolchain/errors.ts";
import type { Toolchain } from "../../toolchain/set-up.ts";
import { MIGRATIONS_FOLDER } from "./migrations-folder.ts";
import { countWaiting, waitingText } from "./retention.ts";
import { readOutputs, type Session, type StackOutputs } from "./session.ts";
import { readStackConfig } from "./settings-file.ts";

export type Mode = "transaction" | "session" | "direct";
export const MODES: readonly Mode[] = ["transaction", "session", "direct"];

export interface ContainerStatus {
  readonly name: string;
  /** The engine's word: running, exited, …; `missing` if there is none. */
  readonly state: string;
  /** Of its health check, run now: healthy, starting, unhealthy; none where it has none. */
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

/** One screen about a stack; the shape of `aiwdb status --json`. */
export interface StackStatus {
  readonly stack: string;
  readonly healthy: boolean;
  readonly tls: boolean;
  readonly database: string;
  readonly containers: readonly ContainerStatus[];
  readonly connections: readonly ConnectionStatus[];
  readonly pools: readonly PoolStatus[];
  /** What somebody changed by hand. */
  readonly drift: readonly SettingDrift[];
  readonly migrations: {
    readonly applied: number;
    readonly pending: readonly string[];
    readonly phases: readonly {
      readonly phase: number;
      readonly name: string;
      readonly applied: number;
      readonly total: number;
    }[];
  };
  /** Retention policies that wait for the owner's approval; null where there is no such thing yet. */
  readonly policiesWaiting: number | null | "unknown";
  readonly certificates: readonly CertificateStatus[];
}

/** How a role connects in one mode. */
export function connectionFor({ connections, passwords }: StackOutputs, role: ClientRole, mode: Mode): Connection {
  const { host, port: shared, database } = connections[mode];
  const port = (mode === "direct" ? undefined : connections.rolePorts?.[role]) ?? shared;
  const certificate = connections.certificates[role];
  const password = passwords[role];
  if (!certificate || password === undefined) throw new Error(`the stack's outputs have no ${role}`);
  return { host, port, database, user: role, password, ...certificate };
}

/** @throws StateError when the stack is not up */
export async function readStatus(session: Session, toolchain: Pick<Toolchain, "engine">): Promise<StackStatus> {
  const outputs = await readOutputs(session);
  const docker = engineClient(toolchain.engine);
  const { connections } = outputs;
  const [containers, reached, pools, serverDrift, poolerDrift, migrations, policiesWaiting, servers] =
    await Promise.all([
      Promise.all(Object.values(connections.containers).map((name) => containerStatus(docker, name))),
      Promise.all(tried(connections).map(([mode, role]) => tryConnection(outputs, mode, role))),
      poolStatus(docker, outputs),
      postgresDrift(outputs),
      pgbouncerDrift(docker, outputs),
      migrationStatus(session.stack, outputs),
      withConnection(connectionFor(outputs, ROLES.owner, "direct"), countWaiting).catch(() => "unknown" as const),
      serverCertificates(connections),
    ]);
  const tls = reached.every((connection) => connection.tls?.startsWith("TLSv1.") ?? false);
  const drift = [...serverDrift, ...poolerDrift];
  return {
    stack: session.stack,
    healthy: tls && drift.length === 0 && containers.every((each) => isHealthy(each, connections)),
    tls,
    database: connections.database,
    containers,
    connections: reached,
    pools,
    drift,
    migrations,
    policiesWaiting,
    certificates: [...servers, ...clientCertificates(connections)],
  };
}

async function containerStatus(docker: Docker, name: string): Promise<ContainerStatus> {
  const info = await inspect(docker, name);
  const status = { name, state: info?.State.Status ?? "missing", health: info?.State.Health?.Status ?? "none" };
  if (!info || status.state !== "running" || status.health === "none") return status;
  // The engine's answer may be as old as its interval, and older engines have none before the first one is over.
  return { ...status, health: await healthNow(docker, info) };
}

const NS_PER_MS = 1_000_000;
/** As many as the engine makes before it says unhealthy. */
const ATTEMPTS = 3;

async function healthNow(docker: Docker, info: Docker.ContainerInspectInfo): Promise<string> {
  const { Test = [], StartPeriod = 0 } = info.Config.Healthcheck ?? {};
  const [kind, ...words] = Test;
  const command = kind === "CMD-SHELL" ? ["sh", "-c", ...words] : words;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const { exitCode } = await exec(docker, info.Id, command).catch(() => ({ exitCode: -1 })); // it ended meanwhile
    if (exitCode === 0) return "healthy";
  }
  const upMs = Date.now() - Date.parse(info.State.StartedAt);
  return upMs < StartPeriod / NS_PER_MS ? "starting" : "unhealthy";
}

/** The maintenance container is healthy after its first run, which nobody waits for. */
function isHealthy({ name, state, health }: ContainerStatus, { containers }: ConnectionInfo): boolean {
  const accepted = name === containers.maintenance ? ["healthy", "starting"] : ["healthy", "none"];
  return state === "running" && accepted.includes(health);
}

/** Values that must stand in a server; those that are paths, names and lists too. */
const valuesOf = (settings: Settings): [name: string, value: string][] =>
  Object.entries(settings).map(([name, { value }]) => [name, String(value)]);

async function postgresDrift(outputs: StackOutputs): Promise<SettingDrift[]> {
  const expected = new Map(valuesOf(POSTGRES_MANDATORY));
  try {
    const { rows } = await withConnection(connectionFor(outputs, ROLES.monitor, "direct"), (client) =>
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
  } catch {
    return []; // the connections say why the server cannot be reached
  }
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
  const { rows } = await withConnection(connection, (client) => client.query<Record<string, string | null>>(command));
  return rows.map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, value ?? ""])));
}

async function showLocally(docker: Docker, container: string, port: number, command: string) {
  const inTabs = ["-P", "footer=off", "-F", "\t"];
  const { exitCode, stdout, stderr } = await exec(docker, container, pgbouncerConsole(port, command, ...inTabs));
  if (exitCode !== 0) throw new StateError(`${container} does not answer on port ${port}: ${stderr.trim()}`);
  const [names = [], ...lines] = stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.split("\t"));
  return lines.map((values) => Object.fromEntries(names.map((name, index) => [name, values[index] ?? ""])));
}

async function pgbouncerDrift(docker: Docker, outputs: StackOutputs): Promise<SettingDrift[]> {
  try {
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
  } catch {
    return []; // the connections say why the pooler cannot be reached
  }
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
    const { rows } = await withConnection(connection, (client) =>
      client.query("select version from pg_catalog.pg_stat_ssl where pid = pg_catalog.pg_backend_pid()"),
    );
    return { mode, role, address, tls: (rows[0] as { version: string | null }).version };
  } catch (error) {
    return { mode, role, address, tls: null, error: messageOf(error) };
  }
}

async function poolStatus(docker: Docker, outputs: StackOutputs): Promise<PoolStatus[]> {
  try {
    const shown = await showAtPooler(docker, outputs, "show pools");
    // A role that is refused leaves an empty pool at a listener that is not its own.
    const rows = shown.flatMap(({ listener, rows: all }) =>
      all.filter(({ user }) => [...listener.roles, ROLES.pooler].some((role) => role === user)),
    );
    return rows.filter(({ database }) => database !== "pgbouncer").map(poolOf);
  } catch {
    return []; // the connections above say why the pooler cannot be reached
  }
}

/** The line about retention policies; none where nothing waits. */
function waiting({ policiesWaiting, stack }: StackStatus): [string, string][] {
  if (policiesWaiting === "unknown")
    return [["retention", "not known: ai_workflow_owner could not ask which policies wait"]];
  return policiesWaiting ? [["retention", waitingText(policiesWaiting, stack)]] : [];
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

async function migrationStatus(stack: string, outputs: StackOutputs): Promise<StackStatus["migrations"]> {
  const all = readMigrations(MIGRATIONS_FOLDER);
  const wanted = upToPhase(all, readStackConfig(stack).rolloutPhase as Phase);
  let applied: ReadonlySet<string>;
  try {
    const rows = await withConnection(connectionFor(outputs, ROLES.owner, "direct"), (client) => readApplied(client));
    applied = new Set(rows.map(({ name }) => name));
  } catch {
    applied = new Set(); // not reachable: the connections above say why, and nothing is known to be applied
  }
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

async function serverCertificates(connections: ConnectionInfo): Promise<CertificateStatus[]> {
  const servers: [string, { host: string; port: number }][] = [
    ["postgres server", connections.direct],
    ["pgbouncer server", connections.transaction],
  ];
  const found = await Promise.all(
    servers.map(async ([name, { host, port }]) => {
      const certificate = await offeredCertificate(host, port).catch(() => undefined);
      return certificate ? [certificateStatus(name, certificate.valid_to)] : [];
    }),
  );
  return found.flat();
}

function clientCertificates(connections: ConnectionInfo): CertificateStatus[] {
  const files: [string, string][] = Object.entries(connections.certificates).map(([role, { sslCert }]) => [
    `client ${role}`,
    sslCert,
  ]);
  const authority = Object.values(connections.certificates)[0]?.sslRootCert;
  if (authority) files.push(["certificate authority", authority]);
  return files
    .filter(([, file]) => existsSync(file))
    .map(([name, file]) => certificateStatus(name, new X509Certificate(readFileSync(file)).validTo));
}

function certificateStatus(name: string, validTo: string): CertificateStatus {
  const end = new Date(validTo);
  return { name, validTo: end.toISOString(), daysLeft: Math.floor((end.getTime() - Date.now()) / 86_400_000) };
}

/** The same for people. */
export function statusText(status: StackStatus): string {
  const rows: [string, string][] = [
    ["stack", `${status.stack}: ${status.healthy ? "healthy" : "NOT HEALTHY"}`],
    ...status.containers.map(({ name, state, health }): [string, string] => [
      "container",
      `${name}  ${state}${health === "none" ? "" : `, ${health}`}`,
    ]),
    ...status.connections.map(({ mode, role, address, tls, error }): [string, string] => [
      mode,
      `${address}  ${role}  ${tls ?? `FAILED: ${error ?? "no TLS"}`}`,
    ]),
    ...status.pools.map((pool): [string, string] => [
      "pool",
      `${pool.database} ${pool.role}: clients ${pool.clientsActive} active, ${pool.clientsWaiting} waiting; servers ${pool.serversActive} active, ${pool.serversIdle} idle`,
    ]),
    ...status.drift.map(({ server, name, scope, expected, actual }): [string, string] => [
      "setting",
      `${server} ${name}${scope === undefined ? "" : ` of ${scope}`} is "${actual}", must be "${expected}": changed by hand; see docs/operations.md`,
    ]),
    ...status.migrations.phases.map(({ phase, name, applied, total }): [string, string] => [
      `phase ${phase}`,
      `${name}: ${applied} of ${total} migrations${applied === total ? "" : " applied"}`,
    ]),
    ["pending", status.migrations.pending.length === 0 ? "none" : status.migrations.pending.join(", ")],
    ...waiting(status),
    ...status.certificates.map(({ name, daysLeft }): [string, string] => [
      "certificate",
      `${name}: ${daysLeft} days left`,
    ]),
  ];
  const width = Math.max(...rows.map(([label]) => label.length));
  return rows.map(([label, text]) => `${label.padEnd(width)}  ${text}`).join("\n");
}
