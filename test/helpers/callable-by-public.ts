const words = (text: string) => text.trim().split(/\s+/);

/** Names of the volatile functions that every role may call. The key is the reason why PUBLIC keeps the right. */
export const CALLABLE_BY_PUBLIC: Readonly<Record<string, readonly string[]>> = {
  "change nothing": words(`
    amvalidate array_sample array_shuffle clock_timestamp current_query currtid2 gen_random_uuid pg_blocking_pids
    pg_collation_actual_version pg_control_checkpoint pg_control_init pg_control_recovery pg_control_system
    pg_current_wal_flush_lsn pg_current_wal_insert_lsn pg_current_wal_lsn pg_database_collation_actual_version
    pg_database_size pg_get_multixact_members pg_get_wal_replay_pause_state pg_get_wal_resource_managers pg_indexes_size
    pg_is_in_recovery pg_is_wal_replay_paused pg_isolation_test_session_is_blocked pg_jit_available pg_last_committed_xact
    pg_last_wal_receive_lsn pg_last_wal_replay_lsn pg_last_xact_replay_timestamp pg_lock_status
    pg_notification_queue_usage pg_partition_ancestors pg_partition_tree pg_prepared_xact pg_relation_size
    pg_safe_snapshot_blocking_pids pg_sequence_last_value pg_sleep pg_sleep_for pg_sleep_until pg_stat_get_io
    pg_stat_get_recovery_prefetch pg_stat_get_xact_blocks_fetched pg_stat_get_xact_blocks_hit
    pg_stat_get_xact_function_calls pg_stat_get_xact_function_self_time pg_stat_get_xact_function_total_time
    pg_stat_get_xact_numscans pg_stat_get_xact_tuples_deleted pg_stat_get_xact_tuples_fetched
    pg_stat_get_xact_tuples_hot_updated pg_stat_get_xact_tuples_inserted pg_stat_get_xact_tuples_newpage_updated
    pg_stat_get_xact_tuples_returned pg_stat_get_xact_tuples_updated pg_table_size pg_tablespace_size
    pg_total_relation_size pg_xact_commit_timestamp pg_xact_commit_timestamp_origin pg_xact_status plpgsql_validator
    random random_normal timeofday txid_status`),
  "change the own session only": words(`
    currval lastval pg_advisory_unlock pg_advisory_unlock_all pg_advisory_unlock_shared pg_stat_clear_snapshot
    pg_stat_force_next_flush set_config setseed`),
  "run a query of the caller's, with the caller's rights": words(`
    cursor_to_xml cursor_to_xmlschema query_to_xml query_to_xml_and_xmlschema query_to_xmlschema ts_rewrite ts_stat`),
  "ask for a right to the object": words(`
    brin_desummarize_range brin_summarize_new_values brin_summarize_range gin_clean_pending_list lo_get nextval setval`),
  "do what the command NOTIFY does, which asks for no right": ["pg_notify"],
  "are called by triggers or a language only": words(`
    RI_FKey_cascade_del RI_FKey_cascade_upd RI_FKey_check_ins RI_FKey_check_upd RI_FKey_noaction_del RI_FKey_noaction_upd
    RI_FKey_restrict_del RI_FKey_restrict_upd RI_FKey_setdefault_del RI_FKey_setdefault_upd RI_FKey_setnull_del
    RI_FKey_setnull_upd plpgsql_call_handler suppress_redundant_updates_trigger tsvector_update_trigger
    tsvector_update_trigger_column unique_key_recheck`),
};
