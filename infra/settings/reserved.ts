/**
 * Settings of the servers that the package keeps to itself, each with the reason. `postgresSettings` and
 * `pgbouncerSettings` may not have them. Their values are in infra/servers.
 */

/** https://www.postgresql.org/docs/16/runtime-config.html */
export const POSTGRES_RESERVED = {
  listen_addresses: "clients reach the server through the container's network",
  port: "the published port is mapped to it",
  unix_socket_directories: "health check and repair go over the local socket",
  hba_file: "authentication rules are the package's",
  // https://www.postgresql.org/docs/16/runtime-config-connection.html#RUNTIME-CONFIG-CONNECTION-SSL
  ssl: "every hop is encrypted",
  ssl_ca_file: "clients are known by certificates of the stack's own authority",
  ssl_cert_file: "the certificate with the server's names",
  ssl_key_file: "its key",
  ssl_min_protocol_version: "older versions are broken; 1.3 is taken where both sides know it",
  ssl_prefer_server_ciphers: "the server's order wins, so a client cannot choose a weaker cipher",
  ssl_ciphers: "TLS 1.2 with forward secrecy and authenticated encryption only",
  password_encryption: "md5 secrets can be replayed",
  "pg_stat_statements.track_utility":
    "statements that set a role's password would be kept in clear, for everybody in pg_monitor to read",
  shared_preload_libraries: "statement statistics must be loaded at start",
  // auto_explain prints values out of rows and plans; nothing else is there to be loaded.
  session_preload_libraries: "a library loaded into every session can write any value into the log",
  // https://www.postgresql.org/docs/16/runtime-config-logging.html#GUC-LOG-ERROR-VERBOSITY
  log_error_verbosity: "an error's details are a row's values: hashes and second-factor secrets would stand in the log",
  // CSV and JSON have fields of their own for details, whatever log_error_verbosity says.
  log_destination: "the other formats write an error's details too",
  logging_collector: "the engine keeps the log, and nothing else writes one",
  log_parameter_max_length: "bound values stay out of the log",
  log_parameter_max_length_on_error: "bound values stay out of the log",
  debug_print_parse: "trees of statements have their values in them",
  debug_print_rewritten: "trees of statements have their values in them",
  debug_print_plan: "trees of statements have their values in them",
} as const satisfies Readonly<Record<string, string>>;

/** https://www.pgbouncer.org/config.html */
export const PGBOUNCER_RESERVED = {
  listen_addr: "clients reach the pooler through the container's network",
  listen_port: "the published port is mapped to it",
  unix_socket_dir: "health check and reload go over the local socket",
  auth_type: "who may log in where is in pgbouncer_hba.conf",
  auth_hba_file: "who may log in where",
  auth_file: "only the pooler's own login",
  auth_user: "looks up the other roles' SCRAM secrets",
  // Schema-qualified, and the function has a fixed search_path of its own (CVE-2025-12819).
  auth_query: "secrets live in the server only",
  stats_users: "statistics for monitoring, no commands",
  admin_users: "commands over the local socket only",
  client_tls_sslmode: "every client shows a certificate",
  client_tls_ca_file: "of the stack's own authority",
  client_tls_cert_file: "the pooler's server certificate",
  client_tls_key_file: "its key",
  client_tls_protocols: "TLS 1.2 and 1.3",
  client_tls_ciphers: "forward secrecy and authenticated encryption only",
  server_tls_sslmode: "the server proves its name",
  server_tls_ca_file: "of the stack's own authority",
  server_tls_cert_file: "the pooler's client certificate",
  server_tls_key_file: "its key",
  server_tls_protocols: "TLS 1.2 and 1.3",
  verbose: "from 1 on, the log has the roles' SCRAM secrets",
  server_tls_ciphers: "forward secrecy and authenticated encryption only",
} as const satisfies Readonly<Record<string, string>>;
