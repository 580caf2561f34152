/** Roles of the database cluster. They belong to the cluster, not to a migration. */
export const ROLES = {
  /** Owns the database and runs the migrations; direct connections only. */
  owner: "ai_workflow_owner",
  /** The application: reads and writes, no DDL. */
  app: "app_user",
  /** Reads, except secrets. */
  readonly: "app_readonly",
  /** pg_monitor and the pooler's statistics. */
  monitor: "app_monitor",
  /** The pooler's own login, which can call the lookup function and nothing else. */
  pooler: "pgbouncer",
  /** Owns the lookup function; cannot log in. */
  lookupOwner: "pgbouncer_lookup",
  /** The bootstrap superuser: local socket, or loopback with certificate and password. */
  superuser: "postgres",
} as const;

/** Roles that may come through the pooler. */
export const POOLED_ROLES = [ROLES.app, ROLES.readonly, ROLES.monitor] as const;
export type PooledRole = (typeof POOLED_ROLES)[number];

/** Roles a person or program may ask a URL for. */
export const CLIENT_ROLES = [ROLES.app, ROLES.readonly, ROLES.monitor, ROLES.owner, ROLES.superuser] as const;
export type ClientRole = (typeof CLIENT_ROLES)[number];

/** The comment on each role that the setting `roles` made. No other role of such a name is changed or removed. */
export const FURTHER_ROLE_MARK = "Made by the setting roles of ai-workflow-database.";
