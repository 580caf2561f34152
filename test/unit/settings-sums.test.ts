import { describe, expect, test } from "vitest";
import { parseConfig } from "../../infra/settings/check.ts";
import { problemsOf } from "../helpers/refused-settings.ts";

describe("sums", () => {
  /** A pooler with a listener for each role, and connections for them. */
  const BOUND = { pgbouncerBindCertificates: true, pgbouncerMaxDbConnections: 60 };
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
      { postgresMaxConnections: 73 },
      { postgresMaxConnections: 72 },
      "postgresMaxConnections",
      /72 leaves 59 connections to the pooler, beside 3 reserved for superusers and 10 for direct connections; it may open 60 \(pgbouncerMaxDbConnections 50, pgbouncerSessionDbConnections 8, 2 to look up passwords\)/,
    ],
    [
      "pool and reserve against transaction mode's connections",
      { pgbouncerDefaultPoolSize: 30, pgbouncerReservePoolSize: 20 },
      { pgbouncerDefaultPoolSize: 30, pgbouncerReservePoolSize: 21 },
      "pgbouncerDefaultPoolSize",
      /30 and a reserve of 21 are above the 50 server connections of transaction mode \(pgbouncerMaxDbConnections 50\)/,
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
      { pgbouncerBindCertificates: true, pgbouncerMaxDbConnections: 54 },
      { pgbouncerBindCertificates: true, pgbouncerMaxDbConnections: 53 },
      "pgbouncerDefaultPoolSize",
      /a reserve of 10 are above the 39 server connections of transaction mode \(pgbouncerMaxDbConnections 53 less the shares of app_readonly and app_monitor\)/,
    ],
    [
      "session mode against the number of listeners",
      { ...BOUND, pgbouncerSessionDbConnections: 3 },
      { ...BOUND, pgbouncerSessionDbConnections: 2 },
      "pgbouncerSessionDbConnections",
      /2 are too few: pgbouncerBindCertificates makes three listeners/,
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

test("PostgreSQL takes as many connections as all who connect need, if no setting says otherwise", () => {
  const taken = (raw: Record<string, unknown>) => parseConfig("dev", raw).postgresMaxConnections;
  expect(taken({})).toBe(50 + 20 + 2 + 10 + 3);
  expect(taken({ pgbouncerSessionDbConnections: 40, pgbouncerMaxDbConnections: 60 })).toBe(60 + 40 + 2 + 10 + 3);
  expect(taken({ pgbouncerBindCertificates: true, pgbouncerMaxDbConnections: 54 })).toBe(54 + 20 + 6 + 10 + 3);
  const roles = { anna: { access: "read", connectionLimit: 7, pooled: false }, reporting: { access: "read" } };
  expect(taken({ roles })).toBe(50 + 20 + 2 + 10 + 3 + 7);
  expect(taken({ postgresMaxConnections: 100 })).toBe(100);
});

test("app_user's statements end after two minutes where data are protected, and never elsewhere", () => {
  const after = (raw: Record<string, unknown>) => parseConfig("prod", raw).appUserStatementTimeoutSec;
  expect([after({}), after({ protect: true }), after({ protect: true, appUserStatementTimeoutSec: 0 })]).toEqual([
    0, 120, 0,
  ]);
  expect(after({ appUserStatementTimeoutSec: 7 })).toBe(7);
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
  ).toEqual(["postgresMaxConnections", "pgbouncerMemoryMiB", "certLeafValidityDays"]);
});
