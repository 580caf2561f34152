import type { StackConfig } from "../../settings/table.ts";
import type { POSTGRES_RESERVED } from "../../settings/reserved.ts";
import { type Defaults, GENERATED, mergeSettings, restartKeyOf, type Setting, TLS_CIPHERS } from "../settings.ts";

/** Where the configuration volume is mounted in the PostgreSQL container. */
export const POSTGRES_CONFIG_DIR = "/etc/postgresql";

/** Where the data volume is mounted in the PostgreSQL container. The cluster is a folder in it. */
export const DATA_DIR = "/var/lib/postgresql/data";

/**
 * Settings that the package fixes; `postgresSettings` may not have them. infra/settings/reserved.ts has the reasons.
 *
 * https://www.postgresql.org/docs/16/runtime-config.html
 */
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

/**
 * Settings that the package computes from the container's memory and CPUs. `postgresSettings` may override all of them
 * but `max_connections`, which is the setting `postgresMaxConnections`.
 *
 * https://www.postgresql.org/docs/16/runtime-config-resource.html
 */
export function postgresDefaults(config: StackConfig): Defaults {
  const memory = config.postgresMemoryMiB;
  const cpus = Math.max(1, Math.floor(config.postgresCpus));
  const sharedBuffers = clamp(memory / 4, 64, 16_384);
  // A quarter of the memory is for sorts and hashes. It is enough when half of the connections do one at the same time.
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
      why: "what the buffers and the page cache hold together",
    },
    work_mem: {
      value: `${workMem}MB`,
      why: "memory for one sort; the connections together stay within the container's memory",
    },
    maintenance_work_mem: {
      value: `${clamp(memory / 16, 16, 2_048)}MB`,
      why: "for index builds and vacuum, of which few run at once",
    },
    huge_pages: {
      value: "off",
      why: "containers rarely have huge pages, and asking for them only fills the log",
      restart: true,
    },
    // 1,000 migrations in one transaction take about 6,000 locks. The default has room for 64 locks per connection.
    max_locks_per_transaction: { value: 256, why: "a whole chain of migrations is one transaction", restart: true },
    max_worker_processes: { value: Math.max(8, cpus), why: "parallel queries and background workers", restart: true },
    max_parallel_workers: { value: cpus, why: "no more than there are CPUs" },
    max_parallel_workers_per_gather: { value: parallel, why: "one query takes at most half of them" },
    max_parallel_maintenance_workers: { value: parallel, why: "one index build takes at most half of them" },
    random_page_cost: { value: "1.1", why: "solid state disks; the default is for spinning ones" },
    effective_io_concurrency: { value: 200, why: "solid state disks serve many reads at once" },
    jit: { value: "off", why: "compiling costs more than the application's short queries gain" },
    // https://www.postgresql.org/docs/16/wal-configuration.html
    wal_compression: { value: "on", why: "full-page images shrink to a fraction for little CPU" },
    max_wal_size: {
      value: `${clamp(memory * 2, 1_024, 16_384)}MB`,
      why: "checkpoints begin by time, not by the volume of the log",
    },
    min_wal_size: { value: `${clamp(memory / 4, 80, 2_048)}MB`, why: "segments are recycled instead of made anew" },
    checkpoint_timeout: { value: "15min", why: "fewer checkpoints write fewer full-page images" },
    checkpoint_completion_target: { value: "0.9", why: "a checkpoint spreads its writes over the time" },
    track_io_timing: { value: "on", why: "shows where a slow query waits" },
    "pg_stat_statements.max": { value: 5_000, why: "the application has fewer different statements", restart: true },
    "pg_stat_statements.track": { value: "top", why: "counts the statements that clients send" },
    log_min_duration_statement: { value: "1s", why: "the log names slow statements" },
    log_lock_waits: { value: "on", why: "the log names statements that wait for a lock" },
    log_temp_files: { value: "10MB", why: "the log names sorts that need more than work_mem" },
    log_autovacuum_min_duration: { value: "10s", why: "the log names vacuum runs that take long" },
    // pgBadger reads it without being told. It has no application name (%a), which a client chooses: with it a client
    // could give its lines another severity.
    log_line_prefix: {
      value: "%m [%p]: user=%u,db=%d,client=%h ",
      why: "says which role, from where, in which database, and programs read it",
    },
    log_timezone: { value: "UTC", why: "all servers of a stack log in the same time zone" },
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
 * Settings of a server for tests, which gives durability up for speed. No query can see a difference.
 *
 * https://www.postgresql.org/docs/16/non-durability.html
 */
const THROW_AWAY: Defaults = {
  fsync: { value: "off", why: "the data is in memory; there is nothing to flush to" },
  synchronous_commit: { value: "off", why: "nobody waits for what a crash would lose anyway" },
  full_page_writes: { value: "off", why: "no torn pages in memory" },
  wal_level: { value: "minimal", why: "no replica and no archive will ever read it", restart: true },
  max_wal_senders: { value: 0, why: "wal_level minimal allows none", restart: true },
  archive_mode: { value: "off", why: "nothing is archived", restart: true },
  wal_compression: { value: "off", why: "processor time is scarcer than memory here" },
  max_wal_size: { value: "256MB", why: "the log is in memory too" },
  min_wal_size: { value: "80MB", why: "the log is in memory too" },
  checkpoint_timeout: { value: "1h", why: "CREATE DATABASE begins checkpoints of its own" },
  log_checkpoints: { value: "off", why: "two lines for every test database drown the log" },
  // Each CREATE DATABASE and DROP DATABASE looks through all buffers.
  shared_buffers: { value: "128MB", why: "small databases that live in memory anyway", restart: true },
  // CREATE DATABASE waits up to five seconds for an autovacuum worker to leave the template.
  autovacuum: { value: "off", why: "test databases do not live long enough" },
};

/** Text of postgresql.conf. */
export function renderPostgresqlConf(config: StackConfig): string {
  const lines = mergeSettings(POSTGRES_MANDATORY, postgresDefaults(config), config.postgresSettings).map(
    ([name, value]) => `${name} = ${quoteConf(value)}`,
  );
  return [`# ${GENERATED}`, ...lines, ""].join("\n");
}

/** The settings that PostgreSQL reads only at its start, as text. If the text stays equal, it needs no restart. */
export function postgresRestartKey(config: StackConfig): string {
  return restartKeyOf(POSTGRES_MANDATORY, postgresDefaults(config), config.postgresSettings);
}

/** Doubles single quotes and backslashes. https://www.postgresql.org/docs/16/config-setting.html */
function quoteConf(value: string): string {
  return `'${value.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`;
}
