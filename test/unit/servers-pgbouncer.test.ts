import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { StackConfig } from "../../infra/settings/table.ts";
import { parseConfig } from "../../infra/settings/check.ts";
import {
  pgbouncerRestartKey,
  readPgbouncerIni,
  renderPgbouncerHba,
  renderPgbouncerIni,
} from "../../infra/servers/pgbouncer/ini.ts";
import { listeners } from "../../infra/settings/listeners.ts";
import { forAccepted } from "../helpers/accepted-settings.ts";
import { readIni } from "../helpers/server-files.ts";

test("pgbouncer.ini is read back from a state as PgBouncer reads it, the entry for all other databases aside", () => {
  const ci = parseConfig("ci-a", {
    pgbouncerBindCertificates: true,
    pgbouncerDefaultPoolSize: 10,
    pgbouncerMaxClientConn: 500,
  });
  for (const listener of listeners(ci)) {
    const text = renderPgbouncerIni(ci, "host", listener);
    const { port, settings, transactionEntries } = readPgbouncerIni(text);
    expect(port).toBe(listener.port);
    expect(Object.fromEntries(settings)).toEqual(readIni(text)["pgbouncer"]);
    expect(transactionEntries).toEqual(["ai_workflow_db", "ai_workflow_db_lookup"]);
  }
});

describe("a pooler that binds certificates", () => {
  const bound = parseConfig("dev", {
    pgbouncerBindCertificates: true,
    pgbouncerMaxDbConnections: 54,
  });
  const settingsOf = (config: StackConfig) =>
    listeners(config).map((listener) => ({
      listener,
      ini: readIni(renderPgbouncerIni(config, "host", listener)),
      hba: renderPgbouncerHba(config, listener),
    }));

  test("has one process for each role, with a port, an HBA file and an authority of its own; everything else is the same", () => {
    expect(
      settingsOf(bound).map(({ listener, ini }) => [
        listener.roles,
        listener.settingsFile,
        ini["pgbouncer"]?.["listen_port"],
        ini["pgbouncer"]?.["auth_hba_file"],
        ini["pgbouncer"]?.["client_tls_ca_file"],
      ]),
    ).toEqual([
      [
        ["app_user"],
        "pgbouncer.ini",
        "6432",
        "/etc/pgbouncer/pgbouncer_hba.conf",
        "/etc/pgbouncer/tls/clients-app_user.crt",
      ],
      [
        ["app_readonly"],
        "pgbouncer-app_readonly.ini",
        "6433",
        "/etc/pgbouncer/pgbouncer_hba-app_readonly.conf",
        "/etc/pgbouncer/tls/clients-app_readonly.crt",
      ],
      [
        ["app_monitor"],
        "pgbouncer-app_monitor.ini",
        "6434",
        "/etc/pgbouncer/pgbouncer_hba-app_monitor.conf",
        "/etc/pgbouncer/tls/clients-app_monitor.crt",
      ],
    ]);
    const own = new Set(["listen_port", "auth_hba_file", "client_tls_ca_file"]);
    const common = (config: StackConfig) =>
      settingsOf(config).map(({ ini }) =>
        Object.fromEntries(Object.entries(ini["pgbouncer"] ?? {}).filter(([name]) => !own.has(name))),
      );
    const [shared] = common({ ...bound, pgbouncerBindCertificates: false });
    expect(common(bound)).toEqual([shared, shared, shared]);
  });

  test("lets one role into each, by its password, and statistics only to the monitoring role's", () => {
    const lines = settingsOf(bound).map(({ hba }) => hba.split("\n").filter((line) => line.startsWith("host")));
    const databases = "ai_workflow_db,ai_workflow_db_session";
    expect(lines).toEqual([
      [`hostssl ${databases} app_user all scram-sha-256`, "host all all all reject"],
      [`hostssl ${databases} app_readonly all scram-sha-256`, "host all all all reject"],
      [
        `hostssl ${databases} app_monitor all scram-sha-256`,
        "hostssl pgbouncer app_monitor all scram-sha-256",
        "host all all all reject",
      ],
    ]);
  });

  test("keeps the server connections of all its processes at the stack's for each mode, and leaves none without", () => {
    const sizes = fc.record({
      pgbouncerBindCertificates: fc.constant(true),
      pgbouncerDefaultPoolSize: fc.constant(1),
      pgbouncerReservePoolSize: fc.constant(0),
      postgresMaxConnections: fc.constant(400),
      postgresMemoryMiB: fc.constant(2_048),
      pgbouncerMaxDbConnections: fc.integer({ min: 40, max: 300 }),
      pgbouncerSessionDbConnections: fc.integer({ min: 3, max: 30 }),
    });
    forAccepted(sizes, (config) => {
      const limits = settingsOf(config).map(({ ini }) =>
        Object.values(ini["databases"] ?? {}).map((entry) => Number(/max_db_connections=(\d+)/.exec(entry)?.[1])),
      );
      expect(Math.min(...limits.flat())).toBeGreaterThanOrEqual(1);
      const sums = [0, 1, 2].map((entry) => limits.reduce((sum, of) => sum + (of[entry] ?? Number.NaN), 0));
      expect(sums).toEqual([config.pgbouncerMaxDbConnections, config.pgbouncerSessionDbConnections, 6]);
    });
  });

  test("is restarted when it is switched on, because no reload opens a port", () => {
    expect(pgbouncerRestartKey(bound)).not.toBe(pgbouncerRestartKey({ ...bound, pgbouncerBindCertificates: false }));
  });
});
