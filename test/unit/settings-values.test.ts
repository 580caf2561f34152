import { describe, expect, test } from "vitest";
import { settings } from "../../infra/settings/table.ts";
import { problemsOf } from "../helpers/refused-settings.ts";
import { PRINTABLE } from "../helpers/passwords.ts";

type Key = keyof typeof settings;

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
  roles: {
    accepts: [
      [{}, {}],
      [{ reporting: { access: "read" } }, { reporting: { access: "read", connectionLimit: 5, pooled: true } }],
      [
        '{"anna":{"access":"write","connectionLimit":"7","pooled":"false"}}',
        { anna: { access: "write", connectionLimit: 7, pooled: false } },
      ],
      [{ select: { access: "read" } }, { select: { access: "read", connectionLimit: 5, pooled: true } }],
    ],
    refuses: [
      [[], "must be an object of role names and what each role is"],
      ["reporting", "must be an object of role names and what each role is"],
      [{ reporting: "read" }, "must be an object with access"],
      [{ reporting: {} }, 'must be "read" or "write"'],
      [{ reporting: { access: "admin" } }, 'must be "read" or "write"'],
      [{ reporting: { access: "read", connectionLimit: 0 } }, "must be at least 1"],
      [{ reporting: { access: "read", connectionLimit: -1 } }, "must be at least 1"],
      [{ reporting: { access: "read", pooled: "no" } }, "must be true or false"],
      [{ reporting: { access: "read", superuser: true } }, "there is no such key"],
      [{ "Anna B": { access: "read" } }, "must be 1 to 63 characters"],
      [{ ["a".repeat(64)]: { access: "read" } }, "must be 1 to 63 characters"],
      [{ "anna\n": { access: "read" } }, "must be 1 to 63 characters"],
      ...[
        "postgres",
        "pgbouncer",
        "app_user",
        "ai_workflow_owner",
        "all",
        "public",
        "replication",
        "ca",
        "constructor",
      ].map((name): [unknown, string] => [{ [name]: { access: "read" } }, "is reserved"]),
      ...["pg_read_all_data", "aiwdb_test_1", "app_reporting", "ai_workflow_x"].map((name): [unknown, string] => [
        { [name]: { access: "read" } },
        "must not begin with",
      ]),
    ],
  },
  appUserTemporary: booleans,
  appUserStatementTimeoutSec: wholeNumbers(0, 86_400),
  extensions: {
    accepts: [
      [
        ["pgcrypto", "uuid-ossp"],
        ["pgcrypto", "uuid-ossp"],
      ],
      ['["citext"]', ["citext"]],
      [[], []],
    ],
    refuses: [
      ["pgcrypto", "must be a list of names of extensions"],
      [[7], "must be a list of names of extensions"],
      [["citext", "dblink"], '("dblink": it connects to other servers'],
      [["plpython3u"], '"plpython3u": it brings a language'],
      [["intarray"], '"intarray": PostgreSQL can\'t choose'],
      [["plpgsql"], '"plpgsql": every stack has it already'],
      [["pgvector"], '"pgvector": the packages that have pgvector'],
      [["constructor"], '"constructor": the images do not have it'],
      [['a"; drop table users; --'], "the images do not have it"],
    ],
  },
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
  pgbouncerResetAfterTransaction: booleans,
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
