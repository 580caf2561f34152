/** How long a statement of a migration waits for a lock, in milliseconds. Readers that queue behind it wait as long. */
export const LOCK_TIMEOUT_MS = 500;

const SETTINGS = [
  `lock_timeout = ${LOCK_TIMEOUT_MS}`,
  "search_path = public",
  // The server process of a migrator that was killed notices it within two seconds, and lets go of its locks:
  // https://www.postgresql.org/docs/16/runtime-config-connection.html#GUC-CLIENT-CONNECTION-CHECK-INTERVAL
  "client_connection_check_interval = 2000",
  // Other values of these settings would change what a file means, and a role or a database may have other values.
  "standard_conforming_strings = on",
  "transform_null_equals = off",
  "check_function_bodies = on",
  "xmloption = content",
  "datestyle = iso, mdy",
  "intervalstyle = postgres",
];

/** SQL that gives the transaction of a run its settings. */
export const SESSION_SETTINGS = SETTINGS.map((setting) => `set local ${setting}; `).join("");

/**
 * SQL before each file of a run.
 *
 * What a file sets, even with SET LOCAL, holds for the rest of the transaction. Without this SQL a file would depend on
 * the files before it in the same run.
 */
export const FILE_PREFIX = `reset all; ${SESSION_SETTINGS}`;

/** Number of statements in {@link FILE_PREFIX}. */
export const FILE_PREFIX_STATEMENTS = 1 + SETTINGS.length;
