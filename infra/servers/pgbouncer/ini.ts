import type { StackConfig } from "../../settings/table.ts";
import { pooledFurtherRoles } from "../../settings/further-roles.ts";
import { lookupDatabase, sessionDatabase } from "../../settings/names.ts";
import { ROLES } from "../../../database/access/roles.ts";
import { identifier } from "../../../database/quote.ts";
import {
  connectionShare,
  listeners,
  LOOKUP_CONNECTIONS,
  PGBOUNCER_PORT,
  type Listener,
} from "../../settings/listeners.ts";
import type { PGBOUNCER_RESERVED } from "../../settings/reserved.ts";
import {
  type Defaults,
  GENERATED,
  mergeSettings,
  restartKeyOf,
  type Setting,
  type Settings,
  TLS_CIPHERS,
} from "../settings.ts";

/** Where the configuration volume is mounted in the PgBouncer container. */
export const PGBOUNCER_CONFIG_DIR = "/etc/pgbouncer";
/** Folder of the processes' local sockets in the container. */
export const PGBOUNCER_SOCKET_DIR = "/run/pgbouncer";

/**
 * Server connections that a role's pool keeps once it has opened them (min_pool_size). A pool without a connection
 * refuses its clients after one failed login at the server. A client can cause such a failure: it asks for a
 * replication connection, which no setting of PgBouncer refuses.
 */
const KEPT_CONNECTIONS = 1;

/**
 * Takes back what a client left behind on a server connection, like DISCARD ALL, but leaves what PgBouncer needs in
 * transaction mode: plans, and the statements that it prepared for drivers. Their names begin with PGBOUNCER_. A
 * client can give a statement such a name by SQL, and it would be taken for the pooler's own.
 *
 * https://www.postgresql.org/docs/16/sql-discard.html
 * https://www.postgresql.org/docs/16/view-pg-prepared-statements.html
 */
export const RESET_QUERY = [
  "set session authorization default",
  "reset all",
  "close all",
  "unlisten *",
  "select pg_catalog.pg_advisory_unlock_all()",
  "discard temp",
  "discard sequences",
  "do $$ declare statement text; begin for statement in select name from pg_catalog.pg_prepared_statements" +
    " where from_sql or not pg_catalog.starts_with(name, 'PGBOUNCER_') loop" +
    " execute pg_catalog.format('deallocate %I', statement); end loop; end $$",
].join("; ");

/**
 * Settings that the package fixes; `pgbouncerSettings` may not have them. infra/settings/reserved.ts has the reasons.
 *
 * https://www.pgbouncer.org/config.html
 */
export const PGBOUNCER_MANDATORY: Readonly<Record<keyof typeof PGBOUNCER_RESERVED, Setting>> = {
  listen_addr: { value: "*", restart: true },
  listen_port: { value: PGBOUNCER_PORT, restart: true },
  unix_socket_dir: { value: PGBOUNCER_SOCKET_DIR, restart: true },
  auth_type: { value: "hba" },
  auth_hba_file: { value: `${PGBOUNCER_CONFIG_DIR}/pgbouncer_hba.conf` },
  auth_file: { value: `${PGBOUNCER_CONFIG_DIR}/userlist.txt` },
  auth_user: { value: ROLES.pooler },
  auth_query: { value: "select rolname, rolpassword from pgbouncer.lookup($1)" },
  stats_users: { value: ROLES.monitor },
  admin_users: { value: "" },
  client_tls_sslmode: { value: "verify-full" },
  client_tls_ca_file: { value: `${PGBOUNCER_CONFIG_DIR}/tls/ca.crt` },
  client_tls_cert_file: { value: `${PGBOUNCER_CONFIG_DIR}/tls/server.crt` },
  client_tls_key_file: { value: `${PGBOUNCER_CONFIG_DIR}/tls/server.key` },
  client_tls_protocols: { value: "secure" },
  client_tls_ciphers: { value: TLS_CIPHERS },
  server_tls_sslmode: { value: "verify-full" },
  server_tls_ca_file: { value: `${PGBOUNCER_CONFIG_DIR}/tls/ca.crt` },
  server_tls_cert_file: { value: `${PGBOUNCER_CONFIG_DIR}/tls/client.crt` },
  server_tls_key_file: { value: `${PGBOUNCER_CONFIG_DIR}/tls/client.key` },
  server_tls_protocols: { value: "secure" },
  verbose: { value: 0 },
  server_tls_ciphers: { value: TLS_CIPHERS },
};

/**
 * The settings that the package fixes, for one listener. Each listener has its own port and its own rules for clients.
 */
export function listenerMandatory({ port, hbaFile, authorityFile }: Listener): Settings {
  const { listen_port, auth_hba_file, client_tls_ca_file, ...common } = PGBOUNCER_MANDATORY;
  return {
    ...common,
    listen_port: { ...listen_port, value: port },
    auth_hba_file: { ...auth_hba_file, value: `${PGBOUNCER_CONFIG_DIR}/${hbaFile}` },
    client_tls_ca_file: { ...client_tls_ca_file, value: `${PGBOUNCER_CONFIG_DIR}/${authorityFile}` },
  };
}

/**
 * Settings with values from the stack's own settings, and settings that tune the pooler. `pgbouncerSettings` may
 * override the latter.
 *
 * https://www.pgbouncer.org/config.html
 */
export function pgbouncerDefaults(config: StackConfig): Defaults {
  return {
    pool_mode: { value: "transaction", why: "many clients share few server connections" },
    max_client_conn: { value: config.pgbouncerMaxClientConn, why: "pgbouncerMaxClientConn" },
    default_pool_size: { value: config.pgbouncerDefaultPoolSize, why: "pgbouncerDefaultPoolSize" },
    reserve_pool_size: { value: config.pgbouncerReservePoolSize, why: "pgbouncerReservePoolSize" },
    reserve_pool_timeout: { value: config.pgbouncerReservePoolTimeoutSec, why: "pgbouncerReservePoolTimeoutSec" },
    max_db_connections: { value: config.pgbouncerMaxDbConnections, why: "pgbouncerMaxDbConnections" },
    max_prepared_statements: {
      value: config.pgbouncerMaxPreparedStatements,
      why: "prepared statements work in transaction mode",
    },
    server_check_delay: { value: config.pgbouncerServerCheckDelaySec, why: "pgbouncerServerCheckDelaySec" },
    server_check_query: { value: "select 1", why: "a query, not only a socket" },
    server_connect_timeout: { value: config.pgbouncerServerConnectTimeoutSec, why: "pgbouncerServerConnectTimeoutSec" },
    server_login_retry: { value: config.pgbouncerServerLoginRetrySec, why: "pgbouncerServerLoginRetrySec" },
    server_lifetime: { value: config.pgbouncerServerLifetimeSec, why: "pgbouncerServerLifetimeSec" },
    server_idle_timeout: { value: config.pgbouncerServerIdleTimeoutSec, why: "pgbouncerServerIdleTimeoutSec" },
    // With 1, PgBouncer would end the clients in session mode when it gets new certificates.
    server_fast_close: { value: 0, why: "a session ends when its client leaves" },
    query_timeout: { value: config.pgbouncerQueryTimeoutSec, why: "pgbouncerQueryTimeoutSec" },
    query_wait_timeout: { value: config.pgbouncerQueryWaitTimeoutSec, why: "pgbouncerQueryWaitTimeoutSec" },
    client_login_timeout: { value: config.pgbouncerClientLoginTimeoutSec, why: "pgbouncerClientLoginTimeoutSec" },
    // A parameter that is neither tracked nor ignored is refused by name. `options` is not ignored, so that PgBouncer
    // reads what is in it. PostgreSQL 16 does not report search_path and time-outs, so that nobody could track them.
    ignore_startup_parameters: {
      value: "extra_float_digits",
      why: "drivers send it unasked, and PostgreSQL's own default prints all digits",
    },
    track_extra_parameters: {
      value: "IntervalStyle,default_transaction_read_only",
      why: "what PostgreSQL reports and a client may set for itself follows the client",
      restart: true,
    },
    ...(config.pgbouncerResetAfterTransaction
      ? {
          server_reset_query: { value: RESET_QUERY, why: "pgbouncerResetAfterTransaction" },
          server_reset_query_always: { value: 1, why: "pgbouncerResetAfterTransaction" },
        }
      : {}),
    tcp_keepalive: { value: 1, why: "a peer that vanished is noticed" },
    tcp_keepcnt: { value: 5, why: "the application's figure" },
    tcp_keepidle: { value: 600, why: "the application's figure, seconds" },
    tcp_keepintvl: { value: 30, why: "the application's figure, seconds" },
    listen_backlog: { value: 4096, why: "the application's figure: connection storms queue", restart: true },
    ...(config.profile === "ci"
      ? { autodb_idle_timeout: { value: 30, why: "PgBouncer forgets the entries of dropped test databases" } }
      : {}),
    stats_period: { value: 60, why: "the application's figure, seconds" },
    log_connections: { value: 0, why: "one line for every short connection drowns the log" },
    log_disconnections: { value: 0, why: "one line for every short connection drowns the log" },
    log_pooler_errors: { value: 1, why: "the log has the errors that the pooler sends to clients" },
  };
}

/** Server connections that one role may have. In session mode a client holds one, so that none is held back. */
function poolSize(config: StackConfig, mode: "transaction" | "session", connections: number): number {
  return mode === "session" ? connections : Math.min(config.pgbouncerDefaultPoolSize, connections);
}

/**
 * Text of a listener's pgbouncer.ini.
 *
 * @param host name by which PgBouncer reaches PostgreSQL; PostgreSQL's certificate must have it
 */
export function renderPgbouncerIni(config: StackConfig, host: string, listener = listeners(config)[0]): string {
  const { transaction, session } = connectionShare(config, listener);
  const lookup = lookupDatabase(config.databaseName);
  const entry = (name: string, mode: "transaction" | "session", connections: number, kept = KEPT_CONNECTIONS) =>
    `${name} = host=${host} port=5432 dbname=${config.databaseName} auth_dbname=${lookup} pool_mode=${mode}` +
    ` pool_size=${poolSize(config, mode, connections)} min_pool_size=${kept} max_db_connections=${connections}`;
  const settings = mergeSettings(
    { ...listenerMandatory(listener), auth_dbname: { value: lookup } }, // logins need not wait for the pools
    pgbouncerDefaults(config),
    config.pgbouncerSettings,
  );
  return [
    `; ${GENERATED}`,
    "[databases]",
    entry(config.databaseName, "transaction", transaction),
    entry(sessionDatabase(config.databaseName), "session", session),
    // PgBouncer looks up passwords over connections of its own. Otherwise nobody could log in while the pools are full,
    // not even to look at the statistics. pgbouncer_hba.conf lets no client use this entry.
    entry(lookup, "transaction", LOOKUP_CONNECTIONS),
    // With this entry, test databases need no reload when they come and go. All of them use the lookup function of the
    // stack's own database. No connection is kept, because DROP DATABASE would fail while there is one.
    ...(config.profile === "ci"
      ? [entry("*", "transaction", transaction, 0).replace(` dbname=${config.databaseName}`, "")]
      : []),
    "",
    "[pgbouncer]",
    ...settings.map(([name, value]) => `${name} = ${value}`),
    "",
    ...usersSection(config),
  ].join("\n");
}

/**
 * A further role has fewer server connections than a pool may open. Without a limit of its own PgBouncer would ask for
 * more, and PostgreSQL's refusal would reach the clients.
 */
function usersSection(config: StackConfig): string[] {
  const roles = pooledFurtherRoles(config);
  if (roles.length === 0) return [];
  return [
    "[users]",
    ...roles.map(({ name, connectionLimit }) => `${name} = max_user_connections=${connectionLimit}`),
    "",
  ];
}

/**
 * Reads a pgbouncer.ini that this release or an older one wrote.
 *
 * @param text of the file, from the stack's state
 * @returns the port, the values in the section [pgbouncer] by name, and the names of the entries in the section
 *   [databases] that are in transaction mode, without the entry `*`
 */
export function readPgbouncerIni(text: string) {
  const sections = new Map<string, Map<string, string>>();
  let section = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [name = "", ...value] = line.split(" = ");
    if (line.startsWith("[")) sections.set(line, (section = new Map()));
    else if (value.length > 0) section.set(name, value.join(" = "));
  }
  const settings = sections.get("[pgbouncer]") ?? new Map<string, string>();
  const entries = [...(sections.get("[databases]") ?? [])];
  return {
    port: Number(settings.get("listen_port") ?? PGBOUNCER_PORT),
    settings,
    transactionEntries: entries
      .filter(([name, value]) => name !== "*" && value.split(" ").includes("pool_mode=transaction"))
      .map(([name]) => name),
  };
}

/** The settings that PgBouncer reads only at its start, as text. If the text stays equal, it needs no restart. */
export function pgbouncerRestartKey(config: StackConfig): string {
  const defaults = pgbouncerDefaults(config);
  return listeners(config)
    .map((listener) => restartKeyOf(listenerMandatory(listener), defaults, config.pgbouncerSettings))
    .join("\n");
}

/**
 * Text of a listener's pgbouncer_hba.conf. It lets in the listener's roles over TLS and, for statistics, the monitoring
 * role. It refuses everybody else. https://www.pgbouncer.org/config.html#hba-file-format
 */
export function renderPgbouncerHba(config: StackConfig, { roles } = listeners(config)[0]): string {
  const databases =
    config.profile === "ci" ? "all" : [config.databaseName, sessionDatabase(config.databaseName)].join(",");
  // None where each role has a listener of its own: checkConfig refuses that.
  const further = pooledFurtherRoles(config).map(({ name }) => identifier(name));
  const statistics = [
    "# Statistics (SHOW); stats_users may not run commands.",
    `hostssl pgbouncer ${ROLES.monitor} all scram-sha-256`,
  ];
  return [
    `# ${GENERATED}`,
    "# Health check and reload: the process' own account over the local socket.",
    `local pgbouncer ${ROLES.pooler} peer`,
    `hostssl ${databases} ${[...roles, ...further].join(",")} all scram-sha-256`,
    ...(roles.includes(ROLES.monitor) ? statistics : []),
    "host all all all reject",
    "",
  ].join("\n");
}

/**
 * Text of userlist.txt. It has only the pooler's own login; PgBouncer looks up every other role's password in
 * PostgreSQL. Name and password are quoted as names in SQL are.
 *
 * https://www.pgbouncer.org/config.html#authentication-file-format
 */
export function renderUserlist(poolerPassword: string): string {
  return `${identifier(ROLES.pooler)} ${identifier(poolerPassword)}\n`;
}
