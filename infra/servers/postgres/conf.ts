import type { StackConfig } from "../../settings/table.ts";
import type { POSTGRES_RESERVED } from "../../settings/reserved.ts";
import { type Defaults, GENERATED, mergeSettings, restartKeyOf, type Setting, TLS_CIPHERS } from "../settings.ts";

/** Where the configuration volume is mounted in the PostgreSQL container. */
export const POSTGRES_CONFIG_DIR = "/etc/postgresql";

/** Where the data volume is mounted; the cluster is a folder in it. */
export const DATA_DIR = "/var/lib/postgresql/data";

/** What the package promises. infra/settings/reserved.ts says why; overrides are refused. */
export const POSTGRES_MANDATORY: Readonly<Record<keyof typeof POSTGRES_RESERVED, Setting>> = {
  listen_addresses: { value: "*", restart: true },
  port: { value: 5432, restart: true },
  unix_socket_directories: { value: "/run/postgresql", restart: true },
  hba_file: { value: `${POSTGRES_CONFIG_DIR}/pg_hba.conf`, restart: true },
  ssl: { value: "on" },
  ssl_ca_file: { value: `${POSTGRES_CONFIG_DIR}/tls/ca.crt` },
  ssl_cert_file: { value: `${POSTGRES_CONFIG_DIR}/tls/server.crt` },
  ssl_key_file: { value: `${POSTGRES_CONFIG_DIR}/tls/server.key` },
  ssl_min_protocol_version: { value: "TLSv1.2" },
  ssl_prefer_server_ciphers: { value: "on" },
  ssl_ciphers: { value: TLS_CIPHERS },
  password_encryption: { value: "scram-sha-256" },
  "pg_stat_statements.track_utility": { value: "off" },
  shared_preload_libraries: { value: "pg_stat_statements", restart: true },
  session_preload_libraries: { value: "" },
  log_error_verbosity: { value: "terse" },
  log_destination: { value: "stderr" },
  logging_collector: { value: "off", restart: true },
  log_parameter_max_length: { value: 0 },
  log_parameter_max_length_on_error: { value: 0 },
  debug_print_parse: { value: "off" },
  debug_print_rewritten: { value: "off" },
  debug_print_plan: { value: "off" },
};

const clamp = (value: number, min: number, max: number) => Math.round(Math.min(max, Math.max(min, value)));

/** Values computed from the memory and CPUs the container has; each may be overridden by `postgresSettings`. */
export function postgresDefaults(config: StackConfig): Defaults {
  const memory = config.postgresMemoryMiB;
  const cpus = Math.max(1, Math.floor(config.postgresCpus));
  const sharedBuffers = clamp(memory / 4, 64, 16_384);
  // Each connection may sort and hash at once; a quarter of the memory is left for that, a second of them at work.
  const workMem = clamp((memory / 4 / config.postgresMaxConnections) * 2, 2, 256);
  const parallel = Math.max(1, Math.ceil(cpus / 2));
  return {
    max_connections: {
      value: config.postgresMaxConnections,
      why: "pooler, direct and reserved connections together",
      restart: true,
    },
    shared_buffers: {
      value: `${sharedBuffers}MB`,
      why: "a quarter of the container's memory; the page cache does the rest",
      restart: true,
    },
    effective_cache_size: {
      value: `${clamp(memory * 0.7, 128, 1_000_000)}MB`,
      why: "what buffers and page cache hold together",
    },
    work_mem: { value: `${workMem}MB`, why: "memory per sort, so that all connections together stay inside the limit" },
    maintenance_work_mem: { value: `${clamp(memory / 16, 16, 2_048)}MB`, why: "index builds and vacuum; few at once" },
    huge_pages: { value: "off", why: "containers rarely have any, and the attempt only logs", restart: true },
    // 1,000 migrations in one transaction take about 6,000 locks; the default holds 64 per connection.
    max_locks_per_transaction: { value: 256, why: "a whole chain of migrations is one transaction", restart: true },
    max_worker_processes: { value: Math.max(8, cpus), why: "parallel queries and background workers", restart: true },
    max_parallel_workers: { value: cpus, why: "no more than there are CPUs" },
    max_parallel_workers_per_gather: { value: parallel, why: "one query takes at most half of them" },
    max_parallel_maintenance_workers: { value: parallel, why: "index builds likewise" },
    random_page_cost: { value: "1.1", why: "solid state disks; the default is for spinning ones" },
    effective_io_concurrency: { value: 200, why: "solid state disks serve many reads at once" },
    jit: { value: "off", why: "compiling costs more than the application's short queries gain" },
    // https://www.postgresql.org/docs/16/wal-configuration.html
    wal_compression: { value: "on", why: "full-page images shrink to a fraction for little CPU" },
    max_wal_size: { value: `${clamp(memory * 2, 1_024, 16_384)}MB`, why: "checkpoints by time rather than by volume" },
    min_wal_size: { value: `${clamp(memory / 4, 80, 2_048)}MB`, why: "segments are recycled instead of made anew" },
    checkpoint_timeout: { value: "15min", why: "fewer full-page images" },
    checkpoint_completion_target: { value: "0.9", why: "spreads the writes" },
    track_io_timing: { value: "on", why: "shows where a slow query waits" },
    "pg_stat_statements.max": { value: 5_000, why: "more than the application has statements", restart: true },
    "pg_stat_statements.track": { value: "top", why: "what clients send" },
    log_min_duration_statement: { value: "1s", why: "slow statements are named" },
    log_lock_waits: { value: "on", why: "a blocked statement is named" },
    log_temp_files: { value: "10MB", why: "sorts that outgrow work_mem are named" },
    log_autovacuum_min_duration: { value: "10s", why: "vacuum that falls behind is named" },
    log_line_prefix: { value: "%m [%p] %q%u@%d %h ", why: "who, where from, which database" },
    log_timezone: { value: "UTC", why: "logs of all parts compare" },
    timezone: { value: "UTC", why: "the application stores instants" },
    idle_in_transaction_session_timeout: { value: "10min", why: "a forgotten transaction blocks vacuum" },
    tcp_keepalives_idle: { value: 60, why: "a peer that vanished is noticed" },
    tcp_keepalives_interval: { value: 10, why: "a peer that vanished is noticed" },
    tcp_keepalives_count: { value: 6, why: "a peer that vanished is noticed" },
    authentication_timeout: { value: "30s", why: "half-open logins do not hold a slot" },
    ...(config.profile === "ci" ? THROW_AWAY : {}),
  };
}

/**
 * What a server for tests gives up. Nothing that a query can see differs.
 * https://www.postgresql.org/docs/16/non-durability.html
 */
const THROW_AWAY: Defaults = {
  fsync: { value: "off", why: "the data is in memory; there is nothing to flush to" },
  synchronous_commit: { value: "off", why: "nobody waits for what a crash would lose anyway" },
  full_page_writes: { value: "off", why: "no torn pages in memory" },
  wal_level: { value: "minimal", why: "no replica and no archive will ever read it", restart: true },
  max_wal_senders: { value: 0, why: "wal_level minimal demands it", restart: true },
  archive_mode: { value: "off", why: "nothing is archived", restart: true },
  wal_compression: { value: "off", why: "processor time is scarcer than memory here" },
  max_wal_size: { value: "256MB", why: "the log is in memory too" },
  min_wal_size: { value: "80MB", why: "the log is in memory too" },
  checkpoint_timeout: { value: "1h", why: "CREATE DATABASE makes its own" },
  log_checkpoints: { value: "off", why: "two lines for every test database drown the log" },
  // Every CREATE and DROP DATABASE looks through all of them.
  shared_buffers: { value: "128MB", why: "small databases that live in memory anyway", restart: true },
  // A worker that visits a template makes CREATE DATABASE wait up to five seconds for it to leave.
  autovacuum: { value: "off", why: "test databases do not live long enough" },
};

/** The whole of postgresql.conf. */
export function renderPostgresqlConf(config: StackConfig): string {
  const lines = mergeSettings(POSTGRES_MANDATORY, postgresDefaults(config), config.postgresSettings).map(
    ([name, value]) => `${name} = ${quoteConf(value)}`,
  );
  return [`# ${GENERATED}`, ...lines, ""].join("\n");
}

/** The part of the settings that takes effect only by a restart; equal text, no restart needed. */
export function postgresRestartKey(config: StackConfig): string {
  return restartKeyOf(POSTGRES_MANDATORY, postgresDefaults(config), config.postgresSettings);
}

/** Single quotes are doubled, backslashes too. https://www.postgresql.org/docs/16/config-setting.html */
function quoteConf(value: string): string {
  return `'${value.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`;
}
