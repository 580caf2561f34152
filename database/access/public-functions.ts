import { words } from "../../base/words.ts";
import { ROLES } from "./roles.ts";

/** Functions of PostgreSQL that PUBLIC may call by default and loses, and the roles that go on calling them. */
export interface TakenFunctions {
  readonly why: string;
  /** In pg_catalog; every function of the name. */
  readonly names: readonly string[];
  readonly kept: readonly string[];
}

/**
 * Functions that write, that hold something beyond their statement, or that get in the way of other sessions.
 * Superusers can still call all of them.
 *
 * Functions that check a right of their own stay with PUBLIC: nextval and setval (the sequence's), lo_get (the
 * object's), brin_summarize_new_values and gin_clean_pending_list (the table's owner). So does pg_notify: the command
 * NOTIFY does the same and asks for no right. So does pg_advisory_unlock, which drivers call whenever a connection is
 * given back.
 */
export const TAKEN_FROM_PUBLIC: readonly TakenFunctions[] = [
  {
    why: "large objects are kept until somebody removes them, and no right on a table or schema limits their size",
    names: words(`
      lo_close lo_creat lo_create lo_from_bytea lo_lseek lo_lseek64 lo_open lo_put lo_tell lo_tell64
      lo_truncate lo_truncate64 lo_unlink loread lowrite
    `),
    kept: [ROLES.owner, ROLES.app],
  },
  {
    why: "advisory locks outlive the statement, and fill the table of locks that all sessions share",
    names: words(`
      pg_advisory_lock pg_advisory_lock_shared pg_advisory_xact_lock pg_advisory_xact_lock_shared
      pg_try_advisory_lock pg_try_advisory_lock_shared pg_try_advisory_xact_lock
      pg_try_advisory_xact_lock_shared
    `),
    kept: [ROLES.owner, ROLES.app],
  },
  {
    why: "transaction numbers are used up, which brings the server nearer to a vacuum of every table",
    names: ["pg_current_xact_id", "txid_current"],
    kept: [ROLES.owner, ROLES.app],
  },
  {
    why: "a snapshot for other sessions is a file of the server's",
    names: ["pg_export_snapshot"],
    kept: [ROLES.owner],
  },
  {
    why: "sessions of the same role are ended or interrupted, whoever uses them",
    names: ["pg_cancel_backend", "pg_terminate_backend"],
    kept: [ROLES.owner],
  },
  {
    why: "text of any length is written into the log of changes (WAL)",
    names: ["pg_logical_emit_message"],
    kept: [],
  },
  {
    why: "replication slots keep the log of changes until the disk is full; today only the lack of REPLICATION is in the way",
    names: words(`
      pg_copy_logical_replication_slot pg_copy_physical_replication_slot
      pg_create_logical_replication_slot pg_create_physical_replication_slot pg_drop_replication_slot
      pg_logical_slot_get_binary_changes pg_logical_slot_get_changes pg_logical_slot_peek_binary_changes
      pg_logical_slot_peek_changes pg_replication_slot_advance
    `),
    kept: [],
  },
  {
    why: "only superusers have a use for them, and only a check in the function's own code is in the way",
    names: words(`
      binary_upgrade_create_empty_extension binary_upgrade_set_missing_value
      binary_upgrade_set_next_array_pg_type_oid binary_upgrade_set_next_heap_pg_class_oid
      binary_upgrade_set_next_heap_relfilenode binary_upgrade_set_next_index_pg_class_oid
      binary_upgrade_set_next_index_relfilenode binary_upgrade_set_next_multirange_array_pg_type_oid
      binary_upgrade_set_next_multirange_pg_type_oid binary_upgrade_set_next_pg_authid_oid
      binary_upgrade_set_next_pg_enum_oid binary_upgrade_set_next_pg_tablespace_oid
      binary_upgrade_set_next_pg_type_oid binary_upgrade_set_next_toast_pg_class_oid
      binary_upgrade_set_next_toast_relfilenode binary_upgrade_set_record_init_privs
      pg_extension_config_dump pg_import_system_collations pg_nextoid pg_read_file_old
      pg_rotate_logfile_old pg_stop_making_pinned_objects
    `),
    kept: [],
  },
];

const forEach = (names: readonly string[], statement: string) => `
    do $$
    declare
      called pg_catalog.regprocedure;
    begin
      for called in
        select oid from pg_catalog.pg_proc
         where pronamespace = 'pg_catalog'::pg_catalog.regnamespace
           and proname = any (array[${names.map((name) => `'${name}'`).join(", ")}]::pg_catalog.name[])
      loop
        execute pg_catalog.format('${statement}', called);
      end loop;
    end
    $$;`;

const keptBy = (role: string) =>
  TAKEN_FROM_PUBLIC.filter(({ kept }) => kept.includes(role)).flatMap(({ names }) => names);

/** Lets the owner of a database call what PUBLIC may not, as ai_workflow_owner may. */
export const grantOwnersFunctions = (owner: string): string =>
  forEach(keptBy(ROLES.owner), `grant execute on function %s to ${owner}`);

/** Takes the functions from PUBLIC, in the database it runs in. */
export const PUBLIC_FUNCTION_STATEMENTS = [
  forEach(
    TAKEN_FROM_PUBLIC.flatMap(({ names }) => names),
    "revoke execute on function %s from public",
  ),
  grantOwnersFunctions(ROLES.owner),
  forEach(keptBy(ROLES.app), `grant execute on function %s to ${ROLES.app}`),
].join("\n");
