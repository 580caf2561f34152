import { describe, expect, test } from "vitest";
import { expired, type Expiry } from "../../cli/commands/reap.ts";
import { parseConfig } from "../../infra/config.ts";
import { renderPgHba } from "../../infra/render/pg-hba.ts";
import { renderPgbouncerHba, renderPgbouncerIni } from "../../infra/render/pgbouncer-ini.ts";
import { renderPostgresqlConf } from "../../infra/render/postgresql-conf.ts";
import { leakReport } from "../../testing/leaks.ts";

describe("the profile ci", () => {
  test("belongs to stacks named ci-…, and to others that may be thrown away if asked", () => {
    expect(["ci-1", "dev", "pr-1", "prod", "qa"].map((stack) => parseConfig(stack, {}).profile)).toEqual([
      "ci",
      "standard",
      "standard",
      "standard",
      "standard",
    ]);
    expect(parseConfig("pr-1", { profile: "ci" }).profile).toBe("ci");
    expect(parseConfig("ci-1", { profile: "standard" }).profile).toBe("standard");
    expect(() => parseConfig("prod", { profile: "ci" })).toThrow(/"prod" is no name of such a stack/);
    expect(() => parseConfig("ci-1", { protect: true })).toThrow(
      /ci keeps data in memory only, and protect asks to keep it/,
    );
  });

  test("gives up durability, and nothing a query can see", () => {
    const lines = (stack: string) =>
      renderPostgresqlConf(
        parseConfig(stack, { profile: "ci", postgresMemoryMiB: 6_144, postgresCpus: 2, postgresMaxConnections: 500 }),
      ).split("\n");
    const durable = renderPostgresqlConf(
      parseConfig("dev", { postgresMemoryMiB: 6_144, postgresCpus: 2, postgresMaxConnections: 500 }),
    ).split("\n");
    const changed = lines("ci-1")
      .filter((line) => !durable.includes(line))
      .map((line) => line.split(" ")[0]);
    expect(changed).toEqual([
      "archive_mode",
      "autovacuum",
      "checkpoint_timeout",
      "fsync",
      "full_page_writes",
      "log_checkpoints",
      "max_wal_senders",
      "max_wal_size",
      "min_wal_size",
      "shared_buffers",
      "synchronous_commit",
      "wal_compression",
      "wal_level",
    ]);
  });

  test("lets the roles into test databases and templates, under the same demands, and no other profile does", () => {
    const test =
      'hostssl "ai_workflow_db","/^(aiwdb_test_|aiwdb_tmpl_)" ai_workflow_owner,app_user,app_readonly,app_monitor all scram-sha-256 clientcert=verify-full';
    expect(renderPgHba(parseConfig("ci-1", {})).split("\n")).toContain(test);
    expect(renderPgHba(parseConfig("dev", {}))).not.toContain("aiwdb_test_");
    expect(renderPgbouncerIni(parseConfig("ci-1", {}), "host")).toMatch(
      /^\* = host=host port=5432 auth_dbname=ai_workflow_db_lookup pool_mode=transaction/m,
    );
    expect(renderPgbouncerIni(parseConfig("dev", {}), "host")).not.toMatch(/^\*/m);
    expect(renderPgbouncerHba(parseConfig("ci-1", {}))).toMatch(
      /^hostssl all app_user,app_readonly,app_monitor all scram-sha-256$/m,
    );
    expect(renderPgbouncerHba(parseConfig("dev", {}))).not.toMatch(/^hostssl all/m);
  });
});

describe("an expiry", () => {
  test("is a day for ci-…, a week for pr-…, never for others", () => {
    expect(["ci-1", "pr-1", "dev", "prod"].map((stack) => parseConfig(stack, {}).expiresAfterHours)).toEqual([
      24, 168, 0, 0,
    ]);
    expect(parseConfig("pr-1", { expiresAfterHours: 1 }).expiresAfterHours).toBe(1);
    expect(parseConfig("ci-1", { expiresAfterHours: 0 }).expiresAfterHours).toBe(0);
  });

  test("makes reap remove the stacks past it, and only those", () => {
    const created = new Date("2026-01-01T00:00:00Z");
    const stack = (name: string, hours: number): Expiry => ({
      stack: name,
      createdAt: created,
      expiresAt: new Date(created.getTime() + hours * 3_600_000),
    });
    const stacks = [
      stack("ci-late", 25),
      stack("ci-due", 24),
      stack("pr-older", 2),
      stack("ci-never", 0),
      stack("prod", 1),
      stack("dev", 1),
      stack("circus", 1),
    ];
    expect(expired(stacks, new Date("2026-01-02T00:00:00Z")).map((each) => each.stack)).toEqual(["pr-older", "ci-due"]);
    expect(expired(stacks, new Date("2025-12-31T00:00:00Z"))).toEqual([]);
  });
});

describe("the leak report", () => {
  const database = {
    name: "aiwdb_test_1",
    state: "taken",
    holder: "process 7 on host",
    label: "a test",
    run: "mine",
    ageSec: 1,
    expiresInSec: null,
    sessions: 1,
    template: "t",
  };

  test("names what this run still has, and nothing else", () => {
    const databases = [
      database,
      { ...database, name: "aiwdb_test_2", run: "another" },
      { ...database, name: "aiwdb_test_3", state: "kept" },
    ];
    expect(leakReport(databases, "mine")).toEqual([
      "1 test database was not given back, and will be dropped with the process that holds it:",
      "  aiwdb_test_1, process 7 on host, a test, 1 session",
    ]);
    expect(leakReport(databases, "third")).toEqual([]);
  });
});
