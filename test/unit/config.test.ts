import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { movedAddresses } from "../../stack/addresses.ts";
import { addressIn, derivedAddresses } from "../../infra/settings/addresses.ts";
import { SECRET_SETTINGS, settings, type StackConfig } from "../../infra/settings/table.ts";
import { checkStacksAgree, parseConfig, plainPasswords } from "../../infra/settings/check.ts";
import { PROJECT } from "../../infra/settings/names.ts";
import { OVERRIDES } from "../../infra/settings/overrides.ts";
import { ConfigError, type Problem } from "../../base/errors.ts";

type Key = keyof typeof settings;

const words = (text: string) => text.trim().split(/\s+/);

function refusal(stack: string, raw: Record<string, unknown>): ConfigError {
  try {
    parseConfig(stack, raw);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error(`accepted: ${JSON.stringify(raw)}`);
}

function problemsOf(raw: Record<string, unknown>, stack = "dev"): readonly Problem[] {
  return refusal(stack, raw).problems;
}

const wholeNumbers = (min: number, max: number) => ({
  accepts: [
    [min, min],
    [max, max],
    [String(min), min],
  ] as [unknown, unknown][],
  refuses: [
    [min - 1, `must be at least ${min}`],
    [max + 1, `must be at most ${max}`],
    [String(max + 1), `must be at most ${max}`],
    [min + 0.5, "must be a whole number"],
    ["", "must be a whole number"],
    ["12x", "must be a whole number"],
    [true, "must be a whole number"],
    ["1e3", "must be a whole number"],
  ] as [unknown, string][],
});
const decimals = (min: number, max: number) => ({
  accepts: [
    [min, min],
    [String(max), max],
    ["1.5", 1.5],
  ] as [unknown, unknown][],
  refuses: [
    [min - 0.01, `must be at least ${min}`],
    [max + 1, `must be at most ${max}`],
    ["Infinity", "must be a number"],
    [null, "must be a number"],
    ["", "must be a number"],
  ] as [unknown, string][],
});
const booleans = {
  accepts: [
    [true, true],
    ["true", true],
    ["false", false],
  ] as [unknown, unknown][],
  refuses: [
    ["yes", "must be true or false"],
    [1, "must be true or false"],
  ] as [unknown, string][],
};
const PRINTABLE = Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index)).join("");
const passwords = {
  accepts: [
    ["x".repeat(20), "x".repeat(20)],
    [PRINTABLE, PRINTABLE],
    [` ${"x".repeat(18)} `, ` ${"x".repeat(18)} `],
  ] as [unknown, unknown][],
  refuses: [
    ["x".repeat(19), "must have at least 20 characters"],
    ["x".repeat(129), "must have at most 128 characters"],
    ["pässword-of-twenty-characters", "must be printable ASCII"],
    ["line-break-in-the\nmiddle", "must be printable ASCII"],
    ["line-break-at-the-very-end\n", "must be printable ASCII"],
    ["tab-stop-in-the\tmiddle-of-it", "must be printable ASCII"],
    ["delete-is-no-character-\x7f", "must be printable ASCII"],
    ["no-break-space-in-the\u00a0middle", "must be printable ASCII"],
  ] as [unknown, string][],
};
const overrides = (on: string, names: readonly [string, string, string]) => ({
  accepts: [
    [
      { [names[0]]: "8MB", [names[1]]: true, [names[2]]: 3 },
      { [names[0]]: "8MB", [names[1]]: on, [names[2]]: "3" },
    ],
    [`{"${names[0]}":"8MB"}`, { [names[0]]: "8MB" }],
  ] as [unknown, unknown][],
  refuses: [
    ["work_mem=8MB", "must be an object of setting names and values"],
    [{ Work_Mem: "8MB" }, "is not a setting's name"],
    [{ "work_mem; drop": "8MB" }, "is not a setting's name"],
    [{ work_mem: "8MB\nssl = off" }, "must not contain a line break"],
    [{ work_mem: null }, "must be text, a number or true/false"],
  ] as [unknown, string][],
});
/** Every setting: values it takes, with what becomes of them, and values it refuses, with the reason. */
const RULES: Record<Key, { accepts: [unknown, unknown][]; refuses: [unknown, string][] }> = {
  profile: {
    accepts: [
      ["standard", "standard"],
      ["ci", "ci"],
    ],
    refuses: [
      ["fast", 'must be "standard" or "ci"'],
      [1, 'must be "standard" or "ci"'],
    ],
  },
  expiresAfterHours: {
    // More only for stacks that may expire; see test/unit/testdb-profile.test.ts.
    accepts: [
      [0, 0],
      ["0", 0],
    ],
    refuses: [
      [-1, "must be at least 0"],
      [8_761, "must be at most 8760"],
      [1, "only stacks named ci-… or pr-… may expire"],
    ],
  },
  databaseName: {
    accepts: [
      ["ai_workflow_db", "ai_workflow_db"],
      ["_", "_"],
      ["a".repeat(55), "a".repeat(55)],
    ],
    refuses: [
      ["", "must be 1 to 55 characters of a-z"],
      ["a".repeat(56), "must be 1 to 55 characters of a-z"],
      ["1st", "must be 1 to 55 characters of a-z"],
      ["Upper", "must be 1 to 55 characters of a-z"],
      ['a"; drop table users; --', "must be 1 to 55 characters of a-z"],
      ["a$$b", "must be 1 to 55 characters of a-z"],
      ["a\nb", "must be 1 to 55 characters of a-z"],
      ["pgbouncer", "is reserved"],
      ["postgres", "is reserved"],
      ["template1", "is reserved"],
      ["all", "is reserved"],
      ["replication", "is reserved"],
    ],
  },
  rolloutPhase: wholeNumbers(1, 4),
  protect: booleans,
  appUserTemporary: booleans,
  postgresPort: wholeNumbers(0, 65_535),
  postgresMemoryMiB: wholeNumbers(256, 1_048_576),
  postgresCpus: decimals(0.1, 256),
  postgresMaxConnections: wholeNumbers(10, 10_000),
  postgresSettings: overrides("on", ["work_mem", "jit", "pg_stat_statements.max"]),
  pgbouncerPort: wholeNumbers(0, 65_535),
  pgbouncerPublishAddress: {
    accepts: [["0.0.0.0", "0.0.0.0"]],
    refuses: [
      ["localhost", "must be an IPv4 address"],
      ["256.0.0.1", "must be an IPv4 address"],
      ["::1", "must be an IPv4 address"],
    ],
  },
  pgbouncerBindCertificates: booleans,
  pgbouncerMemoryMiB: wholeNumbers(32, 65_536),
  pgbouncerCpus: decimals(0.1, 16),
  pgbouncerMaxClientConn: wholeNumbers(1, 20_000),
  pgbouncerDefaultPoolSize: wholeNumbers(1, 5_000),
  pgbouncerReservePoolSize: wholeNumbers(0, 5_000),
  pgbouncerReservePoolTimeoutSec: wholeNumbers(1, 3_600),
  pgbouncerMaxDbConnections: wholeNumbers(1, 10_000),
  pgbouncerSessionDbConnections: wholeNumbers(1, 10_000),
  pgbouncerServerCheckDelaySec: wholeNumbers(0, 3_600),
  pgbouncerServerConnectTimeoutSec: wholeNumbers(1, 3_600),
  pgbouncerServerLoginRetrySec: decimals(0.05, 3_600),
  pgbouncerQueryTimeoutSec: wholeNumbers(0, 86_400),
  pgbouncerQueryWaitTimeoutSec: wholeNumbers(0, 86_400),
  pgbouncerClientLoginTimeoutSec: wholeNumbers(1, 3_600),
  pgbouncerServerLifetimeSec: wholeNumbers(0, 604_800),
  pgbouncerServerIdleTimeoutSec: wholeNumbers(0, 604_800),
  pgbouncerMaxPreparedStatements: wholeNumbers(1, 10_000),
  // PgBouncer takes "on" for no number at all and refuses its file.
  pgbouncerSettings: overrides("1", ["max_packet_size", "so_reuseport", "pkt_buf"]),
  maintenanceIntervalMin: wholeNumbers(0, 10_080),
  healthCheckIntervalSec: wholeNumbers(1, 3_600),
  stopTimeoutSec: wholeNumbers(10, 3_600),
  logMaxSizeMiB: wholeNumbers(1, 10_240),
  networkSubnet: {
    accepts: [["10.213.7.0/28", "10.213.7.0/28"]],
    refuses: [
      ["10.213.7.0", "must be an IPv4 network of /20 to /28"],
      ["10.213.7.0/29", "must be an IPv4 network of /20 to /28"],
      ["10.0.0.0/8", "must be an IPv4 network of /20 to /28"],
      ["10.213.7.1/28", "is not the first address of a private IPv4 network"],
      ["8.8.8.0/24", "is not the first address of a private IPv4 network"],
      ["10.300.0.0/24", "is not the first address of a private IPv4 network"],
    ],
  },
  postgresClientAddresses: {
    accepts: [
      [
        ["192.0.2.7", "10.213.7.0/28"],
        ["192.0.2.7", "10.213.7.0/28"],
      ],
      ['["10.0.0.0/8"]', ["10.0.0.0/8"]],
      [["192.0.2.7/32"], ["192.0.2.7/32"]],
      [[], []],
    ],
    refuses: [
      ["192.0.2.7", "must be a list of IPv4 addresses and networks"],
      [["all"], "must be an IPv4 address such as"],
      [["0.0.0.0/0"], "a network of /8 to /32"],
      [["128.0.0.0/1"], "a network of /8 to /32"],
      [["10.213.7.1/28"], "by its first address"],
      [["10.213.7.0/33"], "a network of /8 to /32"],
      [["10.213.7"], "must be an IPv4 address such as"],
      [["10.213.7.256"], "must be an IPv4 address such as"],
      [["010.213.7.1"], "must be an IPv4 address such as"],
      [["2001:db8::1"], "must be an IPv4 address such as"],
      [["10.213.7.1\n"], "must be an IPv4 address such as"],
      [["db.example.org"], "must be an IPv4 address such as"],
      [[7], "must be an IPv4 address or network"],
    ],
  },
  certCaValidityDays: decimals(1, 36_500),
  certLeafValidityDays: decimals(0.05, 3_650),
  certRenewBeforeDays: decimals(0, 3_650),
  certServerHostNames: {
    accepts: [
      [["db.example.org"], ["db.example.org"]],
      ['["db.example.org","other"]', ["db.example.org", "other"]],
    ],
    refuses: [
      ["db.example.org", "must be a list of host names"],
      [["-db.example.org"], "is not a host name"],
      [["db..example.org"], "is not a host name"],
      [["db.example.org\n"], "is not a host name"],
    ],
  },
  passwordVersion: wholeNumbers(1, 1_000_000),
  ownerPassword: passwords,
  appUserPassword: passwords,
  appReadonlyPassword: passwords,
  appMonitorPassword: passwords,
};

describe.each(Object.entries(RULES))("%s", (key, { accepts, refuses }) => {
  test.each(accepts)("accepts %j", (value, meaning) => {
    expect(settings[key as Key].parse(value)).toEqual(meaning);
  });

  test.each(refuses)("refuses %j, naming itself: %s", (value, reason) => {
    const named = problemsOf({ [key]: value }).filter(({ subject }) => subject.split(".")[0] === key);
    expect(named.map(({ problem }) => problem).join("\n")).toContain(reason);
    expect(named.every(({ remedy }) => remedy !== undefined)).toBe(true);
  });
});

test("has a rule in this file for every setting", () => {
  expect(Object.keys(RULES).sort()).toEqual(Object.keys(settings).sort());
});

test("describes every setting", () => {
  for (const [key, type] of Object.entries(settings)) expect(type.description, key).toMatch(/^[A-Za-z].*\.$/);
});

describe("sums", () => {
  /** A pooler with a listener for each role, and connections for them. */
  const BOUND = { pgbouncerBindCertificates: true, pgbouncerMaxDbConnections: 80 };
  const base = { postgresMaxConnections: 100, pgbouncerMaxDbConnections: 50, pgbouncerSessionDbConnections: 8 };
  const cases: [
    name: string,
    fits: Record<string, unknown>,
    breaks: Record<string, unknown>,
    subject: string,
    reason: RegExp,
  ][] = [
    [
      "pooler connections against what PostgreSQL leaves it",
      { postgresMaxConnections: 63 },
      { postgresMaxConnections: 62 },
      "pgbouncerMaxDbConnections",
      /50 is above the 49 connections PostgreSQL leaves to the pooler \(postgresMaxConnections 62, 3 reserved for superusers, 10 /,
    ],
    [
      "session mode against all pooler connections",
      { pgbouncerSessionDbConnections: 47, pgbouncerDefaultPoolSize: 1, pgbouncerReservePoolSize: 0 },
      { pgbouncerSessionDbConnections: 48, pgbouncerDefaultPoolSize: 1, pgbouncerReservePoolSize: 0 },
      "pgbouncerSessionDbConnections",
      /48 leaves transaction mode none of pgbouncerMaxDbConnections 50 \(2 look secrets up\)/,
    ],
    [
      "pool and reserve against transaction mode's connections",
      { pgbouncerDefaultPoolSize: 30, pgbouncerReservePoolSize: 10 },
      { pgbouncerDefaultPoolSize: 30, pgbouncerReservePoolSize: 11 },
      "pgbouncerDefaultPoolSize",
      /30 and a reserve of 11 are above the 40 server connections transaction mode has/,
    ],
    [
      "memory against connections",
      { postgresMemoryMiB: 334, postgresMaxConnections: 100 },
      { postgresMemoryMiB: 333, postgresMaxConnections: 100 },
      "postgresMemoryMiB",
      /333 MiB are too little for 100 connections/,
    ],
    [
      "pooler memory against client connections",
      { pgbouncerMemoryMiB: 32, pgbouncerMaxClientConn: 256 },
      { pgbouncerMemoryMiB: 32, pgbouncerMaxClientConn: 257 },
      "pgbouncerMemoryMiB",
      /32 MiB are too little for 257 client connections/,
    ],
    [
      "renewal window against life of a certificate",
      { certRenewBeforeDays: 89.9 },
      { certRenewBeforeDays: 90 },
      "certRenewBeforeDays",
      /90 days are not less than certLeafValidityDays 90/,
    ],
    [
      "life of a certificate against its authority's",
      { certLeafValidityDays: 90, certCaValidityDays: 90 },
      { certLeafValidityDays: 91, certCaValidityDays: 90 },
      "certLeafValidityDays",
      /91 days outlive the certificate authority/,
    ],
    [
      "PostgreSQL's port against PgBouncer's",
      { postgresPort: 15_432, pgbouncerPort: 15_433 },
      { postgresPort: 15_432, pgbouncerPort: 15_432 },
      "pgbouncerPort",
      /15432 is PostgreSQL's port too/,
    ],
    [
      "the pool against what is left to app_user where each role has a listener",
      { pgbouncerBindCertificates: true, pgbouncerMaxDbConnections: 68 },
      { pgbouncerBindCertificates: true, pgbouncerMaxDbConnections: 67 },
      "pgbouncerDefaultPoolSize",
      /a reserve of 10 are above the 39 server connections transaction mode has \(pgbouncerMaxDbConnections 67 less 8 for session mode and 6 for looking secrets up and the shares of app_readonly and app_monitor\)/,
    ],
    [
      "session mode against the number of listeners",
      { ...BOUND, pgbouncerSessionDbConnections: 3 },
      { ...BOUND, pgbouncerSessionDbConnections: 2 },
      "pgbouncerSessionDbConnections",
      /2 are too few for three listeners/,
    ],
    [
      "the memory of three listeners",
      { ...BOUND, pgbouncerMaxClientConn: 250, pgbouncerMemoryMiB: 96 },
      { ...BOUND, pgbouncerMaxClientConn: 250, pgbouncerMemoryMiB: 95 },
      "pgbouncerMemoryMiB",
      /95 MiB are too little for 250 client connections to each of three listeners \(at least 96 MiB\)/,
    ],
    [
      "PostgreSQL's port against those of further listeners",
      { ...BOUND, postgresPort: 15_436, pgbouncerPort: 15_433 },
      { ...BOUND, postgresPort: 15_435, pgbouncerPort: 15_433 },
      "pgbouncerPort",
      /15435 is PostgreSQL's port too/,
    ],
    [
      "the ports of further listeners against the last one",
      { ...BOUND, pgbouncerPort: 65_533 },
      { ...BOUND, pgbouncerPort: 65_534 },
      "pgbouncerPort",
      /65534 leaves no port above it/,
    ],
  ];

  test.each(cases)("checks %s", (_name, fits, breaks, subject, reason) => {
    expect(() => parseConfig("dev", { ...base, ...fits })).not.toThrow();
    const problems = problemsOf({ ...base, ...breaks });
    expect(problems.map((problem) => problem.subject)).toEqual([subject]);
    expect(problems[0]?.problem).toMatch(reason);
  });

  test("sees a port that collides with one derived from the stack's name", () => {
    const { postgresPort, pgbouncerPort } = parseConfig("dev", {});
    expect(problemsOf({ pgbouncerPort: postgresPort }).map(({ subject }) => subject)).toEqual(["pgbouncerPort"]);
    expect(problemsOf({ postgresPort: pgbouncerPort }).map(({ subject }) => subject)).toEqual(["pgbouncerPort"]);
  });
});

test("tells every problem at once, in the user's terms and with the count", () => {
  const error = refusal("Dev", {
    postgresMaxConnection: 5,
    pgbouncerPort: "x",
    pgbouncerReservePoolSize: -1,
    databaseName: "No",
    certServerHostNames: ["fine", "-"],
  });
  expect(error.problems.map(({ subject }) => subject)).toEqual([
    'stack "Dev"',
    "databaseName",
    "pgbouncerPort",
    "pgbouncerReservePoolSize",
    "certServerHostNames.1",
    "postgresMaxConnection",
  ]);
  expect(error.message).toMatch(
    /^Configuration of stack "Dev" is not usable \(6 problems\); nothing has been changed:\n/,
  );
});

test("does the sums beside a value that cannot be read, but none that needs it", () => {
  const subjects = (raw: Record<string, unknown>) => problemsOf(raw).map(({ subject }) => subject);
  const sums = { pgbouncerMaxClientConn: 20_000, certLeafValidityDays: 20 };
  expect(subjects({ ...sums, databaseName: "No", postgresMemoryMib: 1 })).toEqual([
    "databaseName",
    "postgresMemoryMib",
    "pgbouncerMemoryMiB",
    "certRenewBeforeDays",
  ]);
  expect(subjects({ ...sums, pgbouncerMemoryMiB: "much" })).toEqual(["pgbouncerMemoryMiB", "certRenewBeforeDays"]);
  expect(subjects({ pgbouncerSettings: { max_client_conn: "1" }, postgresCpus: "many" })).toEqual([
    "postgresCpus",
    "pgbouncerSettings.max_client_conn",
  ]);
});

test("hides no problem because its words name a setting that can't be read, only because it is about one", () => {
  const subjects = (raw: Record<string, unknown>, stack: string) =>
    problemsOf(raw, stack).map(({ subject }) => subject);
  // The second one's words name the stack, which has the name of a setting.
  expect(subjects({ protect: "maybe", expiresAfterHours: 5 }, "protect")).toEqual(["protect", "expiresAfterHours"]);
  expect(subjects({ protect: "maybe", profile: "ci" }, "ci-1")).toEqual(["protect"]);
});

test("tells all sums that do not add up at once", () => {
  expect(
    problemsOf({ postgresMaxConnections: 20, pgbouncerMaxClientConn: 20_000, certCaValidityDays: 1 }).map(
      ({ subject }) => subject,
    ),
  ).toEqual(["pgbouncerMaxDbConnections", "pgbouncerMemoryMiB", "certLeafValidityDays"]);
});

test.each([
  ["postgresMaxConnection", "postgresMaxConnections"],
  ["databasename", "databaseName"],
  ["pgbouncer_default_pool_size", "pgbouncerDefaultPoolSize"],
])("asks whether the unknown key %s is %s", (key, suggestion) => {
  expect(problemsOf({ [key]: 1 })).toEqual([
    {
      subject: key,
      problem: `there is no such setting; did you mean ${suggestion}?`,
      remedy: `Remove it: \`npx aiwdb pulumi --stack dev -- config rm ${PROJECT}:${key}\`, or see docs/configuration.md.`,
    },
  ]);
});

test("suggests nothing for an unknown key like no other", () => {
  expect(problemsOf({ zzz: 1 })[0]?.problem).toBe("there is no such setting");
});

test.each(SECRET_SETTINGS)("never shows the value of %s, not even a refused one", (key) => {
  const value = "gr3at but has späces";
  expect(refusal("dev", { [key]: value }).message).not.toContain(value);
  expect(refusal("dev", { [key]: "t0o-short" }).message).not.toContain("t0o-short");
});

test.each([
  [{ pgbouncerPort: "x" }, `set ${PROJECT}:pgbouncerPort <value>`],
  [{ postgresClientAddresses: ["192.0.2.7", "x"] }, `set --path '${PROJECT}:postgresClientAddresses[1]' <value>`],
  [
    { postgresSettings: { "pg_stat_statements.max": [] } },
    `set --path '${PROJECT}:postgresSettings["pg_stat_statements.max"]' <value>`,
  ],
])("says how to set what is wrong in %j", (raw, command) => {
  expect(problemsOf(raw).map(({ remedy }) => remedy)).toEqual([
    `Set it with \`npx aiwdb pulumi --stack dev -- config ${command}\`.`,
  ]);
});

test.each(SECRET_SETTINGS)("never tells to write %s in clear", (key) => {
  expect(problemsOf({ [key]: "short" }).map(({ remedy }) => remedy)).toEqual([
    `Run \`npx aiwdb pulumi --stack dev -- config set --secret ${PROJECT}:${key}\`: it asks for a new one and writes it encrypted.`,
  ]);
});

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
});

describe("a password in clear", () => {
  test("is named with the command that makes it a secret, and never shown", () => {
    expect(plainPasswords("prod", ["databaseName", "appUserPassword"])).toEqual([
      {
        subject: "appUserPassword",
        problem: "stands in Pulumi.prod.yaml as plain text, for everybody who can read the file or its history",
        remedy: expect.stringContaining(
          "`npx aiwdb pulumi --stack prod -- config set --secret ai-workflow-database:appUserPassword`",
        ) as string,
      },
    ]);
    expect(plainPasswords("prod", SECRET_SETTINGS).map(({ subject }) => subject)).toEqual([...SECRET_SETTINGS]);
    expect(plainPasswords("prod", ["databaseName"])).toEqual([]);
  });
});

describe("defaults", () => {
  const dev = parseConfig("dev", {});

  test("are the application's figures", () => {
    expect(dev).toMatchObject({
      databaseName: "ai_workflow_db",
      pgbouncerMaxClientConn: 250,
      pgbouncerDefaultPoolSize: 30,
      pgbouncerMaxDbConnections: 50,
      pgbouncerReservePoolSize: 10,
      pgbouncerReservePoolTimeoutSec: 5,
      pgbouncerServerCheckDelaySec: 30,
      maintenanceIntervalMin: 60,
      healthCheckIntervalSec: 30,
      certLeafValidityDays: 90,
      certRenewBeforeDays: 30,
      certCaValidityDays: 3_650,
      protect: false,
      appUserTemporary: false,
      pgbouncerPublishAddress: "127.0.0.1",
    });
  });

  test("derive ports and subnet from the stack's name, the same on every machine", () => {
    expect([dev.postgresPort, dev.pgbouncerPort, dev.networkSubnet]).toEqual([20_260, 20_261, "10.218.86.112/28"]);
    expect(parseConfig("prod", {}).postgresPort).not.toBe(dev.postgresPort);
  });

  test("derive no port of the dev and prod stacks' files for any other stack", () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z][a-z0-9-]{0,29}$/), fc.nat(10_000), (stack, attempt) => {
        const { postgresPort, pgbouncerPort } = derivedAddresses(stack, attempt);
        expect([15_432, 6_432, 25_432, 26_432]).not.toContain(postgresPort);
        expect([15_432, 6_432, 25_432, 26_432]).not.toContain(pgbouncerPort);
      }),
    );
  });

  test("derive other addresses at every further attempt", () => {
    const choices = [0, 1, 2, 2_699].map((attempt) => derivedAddresses("ci-1", attempt));
    for (const key of ["postgresPort", "pgbouncerPort", "networkSubnet"] as const)
      expect(new Set(choices.map((choice) => choice[key])).size).toBe(choices.length);
  });

  test("that are taken are moved without the ports of several listeners meeting PostgreSQL's", () => {
    const bound = { pgbouncerBindCertificates: true, pgbouncerMaxDbConnections: 68, postgresMaxConnections: 90 };
    const taken = fc.array(fc.subarray(["postgresPort", "pgbouncerPort", "networkSubnet"]), { maxLength: 5 });
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/), taken, (stack, rounds) => {
        let chosen: Record<string, unknown> = {};
        for (const [round, found] of rounds.entries()) {
          const next = derivedAddresses(stack, round + 1);
          const moved = movedAddresses(new Set(found), {}, true);
          expect(moved).toEqual(expect.arrayContaining(found));
          chosen = { ...chosen, ...Object.fromEntries(moved.map((key) => [key, next[key]])) };
          expect(() => parseConfig(stack, { profile: "standard", ...bound, ...chosen })).not.toThrow();
        }
      }),
    );
    expect(movedAddresses(new Set(["postgresPort"]), {}, false)).toEqual(["postgresPort"]);
    expect(movedAddresses(new Set(["pgbouncerPort"]), { postgresPort: 1_234 }, true)).toEqual(["pgbouncerPort"]);
  });

  test("derive ports above 20000 that differ and a network address inside 10.208.0.0/12 for any stack", () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z][a-z0-9-]{0,29}$/), (stack) => {
        const config = parseConfig(stack, {});
        expect(config.postgresPort).toBeGreaterThanOrEqual(20_000);
        expect(config.pgbouncerPort).toBe(config.postgresPort + 1);
        expect(config.pgbouncerPort).toBeLessThan(30_000);
        // Given by hand, the derived subnet passes the same check as any other.
        expect(parseConfig(stack, { networkSubnet: config.networkSubnet }).networkSubnet).toBe(config.networkSubnet);
        const [first, second] = config.networkSubnet.split(".").map(Number);
        expect([first, (second ?? 0) >= 208 && (second ?? 0) <= 223]).toEqual([10, true]);
      }),
    );
  });
});

test.each(["dev", "prod"])("accepts the committed Pulumi.%s.yaml", (stack) => {
  const file = parse(readFileSync(new URL(`../../Pulumi.${stack}.yaml`, import.meta.url), "utf8")) as {
    config: Record<string, unknown>;
  };
  const raw = Object.fromEntries(
    Object.entries(file.config).map(([key, value]) => [key.replace(`${PROJECT}:`, ""), value]),
  );
  expect(parseConfig(stack, raw).databaseName).toBe("ai_workflow_db");
});

test.each(["dev", "ci-42", "a", "x".repeat(30)])("accepts the stack name %s", (stack) => {
  expect(parseConfig(stack, {}).stack).toBe(stack);
});
test.each(["", "Dev", "1st", "a_b", "a.b", "x".repeat(31), "dev\n", "../dev"])("refuses the stack name %j", (stack) => {
  expect(problemsOf({}, stack)[0]?.problem).toContain("1 to 30 characters of a-z, 0-9 and -");
});

describe("stacks", () => {
  const named = (stack: string, databaseName: string): StackConfig => parseConfig(stack, { databaseName });

  test("may differ in everything but the database's name", () => {
    expect(() =>
      checkStacksAgree([named("dev", "one"), parseConfig("prod", { databaseName: "one", postgresMemoryMiB: 4_096 })]),
    ).not.toThrow();
  });

  test("that differ in it are refused, each file named with its name", () => {
    expect(() => checkStacksAgree([named("dev", "one"), named("prod", "two")])).toThrow(
      expect.objectContaining({
        name: "ConfigError",
        problems: [
          expect.objectContaining({ subject: "Pulumi.dev.yaml, databaseName", problem: "one" }),
          expect.objectContaining({ subject: "Pulumi.prod.yaml, databaseName", problem: "two" }),
        ],
      }),
    );
  });
});

test("counts addresses across the borders of bytes", () => {
  expect(addressIn("10.213.7.0/28", 2)).toBe("10.213.7.2");
  expect(addressIn("10.213.240.0/20", 257)).toBe("10.213.241.1");
  expect(addressIn("172.16.255.240/28", 15)).toBe("172.16.255.255");
});
