import type { StackConfig } from "./table.ts";
import { pooledFurtherRoles } from "./further-roles.ts";
import { engineNames } from "./names.ts";
import { POOLED_ROLES, ROLES, type PooledRole } from "../../database/access/roles.ts";

/** A stack's pooler: its container, and the ports its processes listen on inside it. */
export interface Pooler {
  readonly container: string;
  readonly ports: readonly number[];
}

/** Server connections that each listener keeps for looking up secrets. */
export const LOOKUP_CONNECTIONS = 2;

/** Of the first listener, inside the container; the others follow. */
export const PGBOUNCER_PORT = 6432;
const FIRST = { port: PGBOUNCER_PORT, settingsFile: "pgbouncer.ini", hbaFile: "pgbouncer_hba.conf" };

/**
 * A PgBouncer process with a port of its own. A PgBouncer process has one list of trusted authorities, and compares no
 * certificate with a role that has a password. To tie a role to its certificate takes a process that trusts only that
 * role's authority.
 */
export interface Listener {
  readonly roles: readonly PooledRole[];
  /** Inside the container. */
  readonly port: number;
  /** Added to `pgbouncerPort`: where it is published. */
  readonly offset: number;
  /** Its files, as paths in the configuration volume. */
  readonly settingsFile: string;
  readonly hbaFile: string;
  /** Authorities whose client certificates are taken. */
  readonly authorityFile: string;
}

/** The listener that lets one role in, and no certificate but that role's. */
export function roleListener(role: PooledRole): Listener {
  const offset = POOLED_ROLES.indexOf(role);
  const authorityFile = `tls/clients-${role}.crt`;
  const at = { roles: [role], port: FIRST.port + offset, offset, authorityFile };
  return offset === 0
    ? { ...FIRST, ...at }
    : { ...at, settingsFile: `pgbouncer-${role}.ini`, hbaFile: `pgbouncer_hba-${role}.conf` };
}

type Sizes = Pick<
  StackConfig,
  "pgbouncerBindCertificates" | "pgbouncerMaxDbConnections" | "pgbouncerSessionDbConnections"
>;

/** One for all pooled roles, or one for each; `app_user` is always let in by the first. */
export function listeners(config: Pick<Sizes, "pgbouncerBindCertificates">): [Listener, ...Listener[]] {
  if (!config.pgbouncerBindCertificates)
    return [{ ...FIRST, roles: POOLED_ROLES, offset: 0, authorityFile: "tls/ca.crt" }];
  const [first, ...others] = POOLED_ROLES;
  return [roleListener(first), ...others.map(roleListener)];
}

/** The pooler's container and where its processes listen, for commands at their consoles. */
export function poolerOf(config: Pick<StackConfig, "stack" | "pgbouncerBindCertificates">): Pooler {
  return { container: engineNames(config.stack).pgbouncer, ports: listeners(config).map(({ port }) => port) };
}

/**
 * Server connections of a listener, by pool mode. Those of all listeners add up to pgbouncerMaxDbConnections in
 * transaction mode and to pgbouncerSessionDbConnections in session mode.
 */
export function connectionShare(config: Sizes, listener: Listener): { transaction: number; session: number } {
  const { pgbouncerMaxDbConnections: transaction, pgbouncerSessionDbConnections: session } = config;
  return listeners(config).length === 1
    ? { transaction, session }
    : { transaction: shareOf(listener.roles[0], transaction), session: shareOf(listener.roles[0], session) };
}

/**
 * Server connections that the clients of each role may have at the same time in a mode, the reserve included. A further
 * role has at most its connectionLimit, in all modes together.
 */
export function serverConnections(
  config: Sizes & Pick<StackConfig, "pgbouncerDefaultPoolSize" | "pgbouncerReservePoolSize" | "roles">,
  mode: "transaction" | "session",
): Record<string, number> {
  const pool = config.pgbouncerDefaultPoolSize + config.pgbouncerReservePoolSize;
  const [shared] = listeners(config);
  const of = (listener: Listener) => {
    const share = connectionShare(config, listener)[mode];
    return mode === "session" ? share : Math.min(pool, share);
  };
  return Object.fromEntries([
    ...POOLED_ROLES.map((role) => [role, of(config.pgbouncerBindCertificates ? roleListener(role) : shared)] as const),
    ...pooledFurtherRoles(config).map((role) => [role.name, Math.min(role.connectionLimit, of(shared))] as const),
  ]);
}

/** All server connections that the pooler may open: both modes', and those that look secrets up. */
export function poolerConnections(config: Sizes): number {
  const lookup = listeners(config).length * LOOKUP_CONNECTIONS;
  return config.pgbouncerMaxDbConnections + config.pgbouncerSessionDbConnections + lookup;
}

/** Processes share no pool, so readers get a quarter, monitoring one connection, and the application the rest. */
function shareOf(role: PooledRole | undefined, connections: number): number {
  const readers = Math.max(1, Math.floor(connections / 4));
  if (role === ROLES.readonly) return readers;
  return role === ROLES.monitor ? 1 : connections - readers - 1;
}
