import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { settings } from "../../infra/settings/table.ts";
import { parseConfig } from "../../infra/settings/check.ts";
import { OVERRIDES, refusedOverrides } from "../../infra/settings/overrides.ts";
import { PGBOUNCER_RESERVED, POSTGRES_RESERVED } from "../../infra/settings/reserved.ts";
import { problemsOf } from "../helpers/refused-settings.ts";

const words = (text: string) => text.trim().split(/\s+/);

describe("overrides", () => {
  test.each([
    ["postgresSettings", "ssl", "every hop is encrypted"],
    ["postgresSettings", "password_encryption", "md5 secrets can be replayed"],
    ["postgresSettings", "log_parameter_max_length", "bound values stay out of the log"],
    ["postgresSettings", "log_destination", "the other formats write an error's details too"],
    ["pgbouncerSettings", "auth_query", "secrets live in the server only"],
    ["pgbouncerSettings", "client_tls_sslmode", "every client shows a certificate"],
  ])("refuses %s.%s, which carries a promise", (subject, name, why) => {
    expect(problemsOf({ [subject]: { [name]: "off" } })).toEqual([
      { subject: `${subject}.${name}`, problem: `cannot be overridden: ${why}`, remedy: "Remove it." },
    ]);
  });

  test.each([
    "log_error_verbosity",
    "log_destination",
    "logging_collector",
    "log_parameter_max_length",
    "log_parameter_max_length_on_error",
    "debug_print_parse",
    "debug_print_rewritten",
    "debug_print_plan",
    "session_preload_libraries",
    "shared_preload_libraries",
    "pg_stat_statements.track_utility",
  ])("refuses postgresSettings.%s, by which rows, bound values or stored secrets would be printed", (name) => {
    expect(problemsOf({ postgresSettings: { [name]: "x" } }).map(({ subject }) => subject)).toEqual([
      `postgresSettings.${name}`,
    ]);
  });

  test("refuses pgbouncerSettings.verbose, which prints stored secrets", () => {
    expect(problemsOf({ pgbouncerSettings: { verbose: 1 } }).map(({ subject }) => subject)).toEqual([
      "pgbouncerSettings.verbose",
    ]);
  });

  test.each(["0", "-1", "1e3", "4096.5", "four", "", "1000001", "9".repeat(30)])(
    "refuses %j SCRAM iterations, as the package makes the secrets itself",
    (value) => {
      expect(problemsOf({ postgresSettings: { scram_iterations: value } })).toEqual([
        {
          subject: "postgresSettings.scram_iterations",
          problem: "must be a whole number from 1 to 1000000",
          remedy: "Correct it, or remove it: 4096 is the default.",
        },
      ]);
    },
  );

  test.each([1, 1024, 1_000_000])("takes %j SCRAM iterations", (value) => {
    expect(parseConfig("dev", { postgresSettings: { scram_iterations: value } }).postgresSettings).toEqual({
      scram_iterations: String(value),
    });
  });

  test.each(
    (["postgresSettings", "pgbouncerSettings"] as const).flatMap((subject) =>
      Object.entries(OVERRIDES[subject].own).map(([name, own]) => [subject, name, own] as const),
    ),
  )("refuses %s.%s, whose own setting %s is checked against the others", (subject, name, own) => {
    expect(Object.keys(settings)).toContain(own);
    expect(problemsOf({ [subject]: { [name]: "9999" } })).toEqual([
      {
        subject: `${subject}.${name}`,
        problem: `has a setting of its own, ${own}, which is checked against the others`,
        remedy: `Set ${own} instead.`,
      },
    ]);
  });

  // What was taken once, and its neighbours: other files, other data, libraries, values in the log, less certain disks.
  test.each([
    ...words(`include include_dir include_if_exists config_file data_directory ident_file external_pid_file
      log_parameter_max_length log_parameter_max_length_on_error debug_print_parse
      log_destination logging_collector log_directory session_preload_libraries local_preload_libraries jit_provider
      dynamic_library_path archive_library restore_command ssl_passphrase_command ssl_crl_file ssl_max_protocol_version
      krb_server_keyfile db_user_namespace fsync full_page_writes zero_damaged_pages ignore_system_indexes
      allow_system_table_mods lo_compat_privileges session_replication_role row_security search_path role
      default_transaction_read_only superuser_reserved_connections reserved_connections unix_socket_permissions
      default_tablespace backslash_quote standard_conforming_strings max_prepared_transactions app.user_id aiwdb.environment constructor no_such_setting`).map(
      (name) => ["postgresSettings", name] as const,
    ),
    ...words(`client_tls_dheparams client_tls_ecdhcurve server_tls_ecdhcurve auth_dbname auth_ident_file
      pool_mode min_pool_size user logfile pidfile conffile job_name peer_id resolv_conf unix_socket_mode
      unix_socket_group server_reset_query server_reset_query_always syslog constructor no_such_setting`).map(
      (name) => ["pgbouncerSettings", name] as const,
    ),
  ])("refuses %s.%s, which is on no list, by its name", (subject, name) => {
    const problems = problemsOf({ [subject]: { [name]: "1" } });
    expect(problems.map((problem) => problem.subject)).toEqual([`${subject}.${name}`]);
  });

  test("refuses whatever is on no list", () => {
    const known = new Set(Object.values(OVERRIDES).flatMap(({ overridable }) => [...overridable]));
    fc.assert(
      fc.property(
        fc.constantFrom("postgresSettings", "pgbouncerSettings"),
        fc.stringMatching(/^[a-z][a-z0-9_.]{0,30}$/).filter((name) => !known.has(name)),
        (subject, name) => {
          expect(problemsOf({ [subject]: { [name]: "1" } }).map((problem) => problem.subject)).toEqual([
            `${subject}.${name}`,
          ]);
        },
      ),
    );
  });

  test("takes every name that is on the list, and none that is reserved is on it", () => {
    for (const [subject, { reserved, own, overridable }] of Object.entries(OVERRIDES)) {
      expect([...overridable].filter((name) => name in reserved || name in own)).toEqual([]);
      const all = Object.fromEntries(
        [...overridable].map((name) => [name, name === "scram_iterations" ? "4096" : "a"]),
      );
      expect(() => parseConfig("dev", { [subject]: all })).not.toThrow();
    }
  });

  test.each(["*", "a,*", "", "a;b", "A"])("refuses that the pooler ignores the start-up parameters %j", (value) => {
    expect(problemsOf({ pgbouncerSettings: { ignore_startup_parameters: value } })).toEqual([
      {
        subject: "pgbouncerSettings.ignore_startup_parameters",
        problem:
          "must be names of parameters, separated by commas; by * the pooler would drop whatever clients ask for",
        remedy: "Name the parameters that your drivers send.",
      },
    ]);
  });

  test.each(Object.entries(POSTGRES_RESERVED))("of PostgreSQL's %s are refused with its reason", (name, why) => {
    expect(refusedOverrides("postgresSettings", { [name]: "x", work_mem: "8MB" })).toEqual([
      { subject: `postgresSettings.${name}`, problem: `cannot be overridden: ${why}`, remedy: "Remove it." },
    ]);
  });

  test.each(Object.entries(PGBOUNCER_RESERVED))("of PgBouncer's %s are refused with its reason", (name, why) => {
    expect(refusedOverrides("pgbouncerSettings", { [name]: "x" })).toEqual([
      { subject: `pgbouncerSettings.${name}`, problem: `cannot be overridden: ${why}`, remedy: "Remove it." },
    ]);
  });
});
