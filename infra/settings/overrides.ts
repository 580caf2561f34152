import type { Problem } from "../../base/errors.ts";
import { words } from "../../base/words.ts";
import { PGBOUNCER_RESERVED, POSTGRES_RESERVED } from "./reserved.ts";

/** The two settings of a stack that hold settings of a server. */
export type OverridesSetting = "postgresSettings" | "pgbouncerSettings";

/**
 * Settings of PostgreSQL that `postgresSettings` may have: those that tune the server. Any other name is refused, so
 * that an overlooked setting cannot undo a guarantee: read another file, load a library, move the data, log values,
 * trust the disk less.
 *
 * https://www.postgresql.org/docs/16/runtime-config.html
 */
const POSTGRES_OVERRIDABLE: ReadonlySet<string> = new Set(
  words(`
    autovacuum_work_mem effective_cache_size hash_mem_multiplier huge_page_size huge_pages logical_decoding_work_mem
    maintenance_work_mem max_files_per_process max_stack_depth min_dynamic_shared_memory shared_buffers
    temp_buffers temp_file_limit vacuum_buffer_usage_limit work_mem

    backend_flush_after bgwriter_delay bgwriter_flush_after bgwriter_lru_maxpages bgwriter_lru_multiplier effective_io_concurrency
    maintenance_io_concurrency max_parallel_maintenance_workers max_parallel_workers max_parallel_workers_per_gather
    max_worker_processes parallel_leader_participation

    archive_command archive_mode archive_timeout checkpoint_completion_target checkpoint_flush_after checkpoint_timeout
    checkpoint_warning commit_delay commit_siblings max_replication_slots max_slot_wal_keep_size max_wal_senders max_wal_size
    min_wal_size synchronous_commit track_commit_timestamp wal_buffers wal_compression wal_init_zero wal_keep_size wal_level
    wal_log_hints wal_recycle wal_sender_timeout wal_skip_threshold wal_writer_delay wal_writer_flush_after

    autovacuum autovacuum_analyze_scale_factor autovacuum_analyze_threshold autovacuum_freeze_max_age autovacuum_max_workers
    autovacuum_multixact_freeze_max_age autovacuum_naptime autovacuum_vacuum_cost_delay autovacuum_vacuum_cost_limit
    autovacuum_vacuum_insert_scale_factor autovacuum_vacuum_insert_threshold autovacuum_vacuum_scale_factor
    autovacuum_vacuum_threshold vacuum_cost_delay vacuum_cost_limit vacuum_cost_page_dirty vacuum_cost_page_hit
    vacuum_cost_page_miss vacuum_failsafe_age vacuum_freeze_min_age vacuum_freeze_table_age vacuum_multixact_failsafe_age
    vacuum_multixact_freeze_min_age vacuum_multixact_freeze_table_age

    constraint_exclusion cpu_index_tuple_cost cpu_operator_cost cpu_tuple_cost cursor_tuple_fraction default_statistics_target
    enable_async_append enable_bitmapscan enable_gathermerge enable_hashagg enable_hashjoin enable_incremental_sort
    enable_indexonlyscan enable_indexscan enable_material enable_memoize enable_mergejoin enable_nestloop enable_parallel_append
    enable_parallel_hash enable_partition_pruning enable_partitionwise_aggregate enable_partitionwise_join
    enable_presorted_aggregate enable_seqscan enable_sort enable_tidscan from_collapse_limit geqo geqo_effort geqo_generations
    geqo_pool_size geqo_seed geqo_selection_bias geqo_threshold jit jit_above_cost jit_inline_above_cost
    jit_optimize_above_cost join_collapse_limit min_parallel_index_scan_size min_parallel_table_scan_size parallel_setup_cost
    parallel_tuple_cost plan_cache_mode random_page_cost recursive_worktable_factor seq_page_cost

    deadlock_timeout idle_in_transaction_session_timeout idle_session_timeout lock_timeout max_locks_per_transaction
    max_pred_locks_per_page max_pred_locks_per_relation max_pred_locks_per_transaction statement_timeout

    authentication_timeout scram_iterations client_connection_check_interval tcp_keepalives_count tcp_keepalives_idle tcp_keepalives_interval
    tcp_user_timeout

    bytea_output datestyle default_text_search_config default_toast_compression default_transaction_deferrable
    default_transaction_isolation extra_float_digits gin_fuzzy_search_limit gin_pending_list_limit intervalstyle timezone

    compute_query_id pg_stat_statements.max pg_stat_statements.save pg_stat_statements.track pg_stat_statements.track_planning
    stats_fetch_consistency track_activities track_activity_query_size track_counts track_functions track_io_timing
    track_wal_io_timing

    log_autovacuum_min_duration log_checkpoints log_connections log_disconnections log_duration log_executor_stats
    log_line_prefix log_lock_waits log_min_duration_sample log_min_duration_statement log_min_error_statement log_min_messages log_parser_stats
    log_planner_stats log_recovery_conflict_waits log_replication_commands log_startup_progress_interval log_statement
    log_statement_sample_rate log_statement_stats log_temp_files log_timezone log_transaction_sample_rate
  `),
);

/** The same for PgBouncer. https://www.pgbouncer.org/config.html */
const PGBOUNCER_OVERRIDABLE: ReadonlySet<string> = new Set(
  words(`
    application_name_add_host autodb_idle_timeout cancel_wait_timeout client_idle_timeout dns_max_ttl
    dns_nxdomain_ttl dns_zone_check_period idle_transaction_timeout ignore_startup_parameters listen_backlog log_connections
    log_disconnections log_pooler_errors log_stats max_db_client_connections max_packet_size max_user_client_connections
    max_user_connections pkt_buf sbuf_loopcnt server_check_query server_fast_close server_round_robin
    so_reuseport stats_period suspend_timeout tcp_defer_accept tcp_keepalive tcp_keepcnt tcp_keepidle tcp_keepintvl
    tcp_socket_buffer tcp_user_timeout track_extra_parameters
  `),
);

/** Settings of a server that are settings of the stack, which are checked against each other. */
const POSTGRES_OWN: Readonly<Record<string, string>> = { max_connections: "postgresMaxConnections" };
const PGBOUNCER_OWN: Readonly<Record<string, string>> = {
  client_login_timeout: "pgbouncerClientLoginTimeoutSec",
  default_pool_size: "pgbouncerDefaultPoolSize",
  max_client_conn: "pgbouncerMaxClientConn",
  max_db_connections: "pgbouncerMaxDbConnections",
  max_prepared_statements: "pgbouncerMaxPreparedStatements",
  query_timeout: "pgbouncerQueryTimeoutSec",
  query_wait_timeout: "pgbouncerQueryWaitTimeoutSec",
  reserve_pool_size: "pgbouncerReservePoolSize",
  reserve_pool_timeout: "pgbouncerReservePoolTimeoutSec",
  server_check_delay: "pgbouncerServerCheckDelaySec",
  server_connect_timeout: "pgbouncerServerConnectTimeoutSec",
  server_idle_timeout: "pgbouncerServerIdleTimeoutSec",
  server_lifetime: "pgbouncerServerLifetimeSec",
  server_login_retry: "pgbouncerServerLoginRetrySec",
};

/** Values that an allowed name may not have. */
const VALUES: Readonly<
  Record<string, { readonly allowed: RegExp; readonly problem: string; readonly remedy: string }>
> = {
  // The package makes roles' secrets itself. Above, a login takes the better part of a second of the client's time.
  scram_iterations: {
    allowed: /^([1-9]\d{0,5}|1000000)$/,
    problem: "must be a whole number from 1 to 1000000",
    remedy: "Correct it, or remove it: 4096 is the default.",
  },
  ignore_startup_parameters: {
    allowed: /^[a-z_]+(\.[a-z_]+)?(\s*,\s*[a-z_]+(\.[a-z_]+)?)*$/,
    problem: "must be names of parameters, separated by commas; by * the pooler would drop whatever clients ask for",
    remedy: "Name the parameters that your drivers send.",
  },
};

interface Rules {
  /** Names with the reason. */
  readonly reserved: Readonly<Record<string, string>>;
  readonly own: Readonly<Record<string, string>>;
  readonly overridable: ReadonlySet<string>;
}

/** What may be overridden, and what is refused with which reason. */
export const OVERRIDES: Readonly<Record<OverridesSetting, Rules>> = {
  postgresSettings: { reserved: POSTGRES_RESERVED, own: POSTGRES_OWN, overridable: POSTGRES_OVERRIDABLE },
  pgbouncerSettings: { reserved: PGBOUNCER_RESERVED, own: PGBOUNCER_OWN, overridable: PGBOUNCER_OVERRIDABLE },
};

/** Overrides that are not allowed, each with its reason. */
export function refusedOverrides(setting: OverridesSetting, overrides: Readonly<Record<string, string>>): Problem[] {
  return Object.entries(overrides).flatMap(([name, value]) => {
    const refused = refusal(OVERRIDES[setting], name, value);
    return refused ? [{ subject: `${setting}.${name}`, ...refused }] : [];
  });
}

/** What is wrong with an override, and what to do about it. */
function refusal(
  { reserved, own, overridable }: Rules,
  name: string,
  value: string,
): Omit<Problem, "subject"> | undefined {
  if (Object.hasOwn(reserved, name))
    return { problem: `cannot be overridden: ${reserved[name]}`, remedy: "Remove it." };
  if (Object.hasOwn(own, name)) {
    const problem = `has a setting of its own, ${own[name]}, which is checked against the others`;
    return { problem, remedy: `Set ${own[name]} instead.` };
  }
  if (!overridable.has(name)) {
    const remedy = "Remove it. docs/configuration.md lists those that may.";
    return { problem: "is not among the settings that may be overridden", remedy };
  }
  const rule = VALUES[name];
  return rule && !rule.allowed.test(value) ? { problem: rule.problem, remedy: rule.remedy } : undefined;
}
