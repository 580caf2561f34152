import { PGBOUNCER_RESERVED, POSTGRES_RESERVED } from "../../infra/settings/reserved.ts";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type StackConfig } from "../../infra/settings/table.ts";
import { parseConfig } from "../../infra/settings/check.ts";
import { ConfigError } from "../../base/errors.ts";
import { addresses, renderPgHba } from "../../infra/servers/postgres/hba.ts";
import {
  pgbouncerDefaults,
  pgbouncerRestartKey,
  readPgbouncerIni,
  renderPgbouncerHba,
  renderPgbouncerIni,
  renderUserlist,
} from "../../infra/servers/pgbouncer/ini.ts";
import { postgresDefaults, postgresRestartKey, renderPostgresqlConf } from "../../infra/servers/postgres/conf.ts";
import { refusedOverrides } from "../../infra/settings/overrides.ts";
import { listeners } from "../../infra/settings/listeners.ts";
import { mergeSettings } from "../../infra/servers/settings.ts";

/** Small, everything by default. */
const dev = parseConfig("dev", { postgresPort: 25_432, pgbouncerPort: 26_432 });
/** Large, with overrides that need quoting. */
const prod = parseConfig("prod", {
  postgresMemoryMiB: 4_096,
  postgresCpus: 4,
  postgresMaxConnections: 100,
  networkSubnet: "10.213.7.0/28",
  postgresClientAddresses: ["192.0.2.7", "10.20.0.0/16"],
  pgbouncerMemoryMiB: 256,
  postgresSettings: { work_mem: "24MB", log_line_prefix: String.raw`it's \n %m ` },
  pgbouncerSettings: { log_connections: true },
});

const FILES: Record<string, (config: StackConfig) => string> = {
  "postgresql.conf": renderPostgresqlConf,
  "pg_hba.conf": renderPgHba,
  "pgbouncer.ini": (config) => renderPgbouncerIni(config, `aiwdb-${config.stack}-postgres`),
  "pgbouncer_hba.conf": renderPgbouncerHba,
};

describe.each([
  ["dev", dev],
  ["prod", prod],
] as const)("a %s-like stack", (name, config) => {
  test.each(Object.keys(FILES))("has exactly this %s", (file) => {
    expect(FILES[file]?.(config)).toBe(
      readFileSync(new URL(`fixtures/rendered/${name}.${file}`, import.meta.url), "utf8"),
    );
  });
});

/** Reads postgresql.conf as the server does: the last of equal names wins. https://www.postgresql.org/docs/16/config-setting.html */
function readConf(text: string): Record<string, string> {
  const settings: Record<string, string> = {};
  for (const line of text.split("\n").filter((each) => each !== "" && !each.startsWith("#"))) {
    const [, name = "", quoted = ""] = /^([a-z0-9_.]+) = '((?:[^'\\]|''|\\.)*)'$/s.exec(line) ?? [];
    if (name === "") throw new Error(`no setting: ${line}`);
    settings[name] = quoted.replaceAll(/''|\\(.)/gs, (_, escaped: string | undefined) => escaped ?? "'");
  }
  return settings;
}

/** Reads an ini file's lines as PgBouncer does: sections, and everything behind the first = and its blanks. */
function readIni(text: string): Record<string, Record<string, string>> {
  const sections: Record<string, Record<string, string>> = {};
  let section: Record<string, string> = {};
  for (const line of text.split("\n").filter((each) => each.trim() !== "" && !each.startsWith(";"))) {
    const header = /^\[(.*)\]$/.exec(line)?.[1];
    if (header !== undefined) {
      section = sections[header] = {};
      continue;
    }
    const [, name = "", value = ""] = /^([^=]+?)\s*=\s*(.*)$/s.exec(line) ?? [];
    section[name] = value;
  }
  return sections;
}

/** Reads userlist.txt as PgBouncer does. https://www.pgbouncer.org/config.html#authentication-file-format */
function readUserlist(text: string): [string, string][] {
  return [...text.matchAll(/^"((?:[^"]|"")*)" "((?:[^"]|"")*)"\n/gm)].map(([, user = "", password = ""]) => [
    user.replaceAll('""', '"'),
    password.replaceAll('""', '"'),
  ]);
}

const printable = fc.string({
  unit: fc.constantFrom(...Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index))),
  maxLength: 60,
});

describe("quoting", () => {
  test("of postgresql.conf reads back as any text without line breaks that was given", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          printable,
          fc.string().filter((text) => !/[\n\r\0]/.test(text)),
        ),
        (value) => {
          const config = parseConfig("dev", { postgresSettings: { log_line_prefix: value } });
          expect(readConf(renderPostgresqlConf(config))["log_line_prefix"]).toBe(value);
        },
      ),
    );
  });

  test("of userlist.txt reads back as the pooler's login and any password", () => {
    fc.assert(
      fc.property(printable, (password) => {
        expect(readUserlist(renderUserlist(password))).toEqual([["pgbouncer", password]]);
      }),
    );
  });

  test("of userlist.txt doubles quotes and leaves backslashes", () => {
    expect(renderUserlist(String.raw`a"b\c`)).toBe(String.raw`"pgbouncer" "a""b\c"` + "\n");
  });

  test("keeps a value that looks like a section, a comment or a directive on its own line of pgbouncer.ini", () => {
    fc.assert(
      fc.property(fc.constantFrom("[databases]", "; x", "# x", "%include /etc/passwd", "a = b"), (value) => {
        const config = parseConfig("dev", { pgbouncerSettings: { application_name_add_host: value } });
        const ini = readIni(renderPgbouncerIni(config, "host"));
        expect(Object.keys(ini)).toEqual(["databases", "pgbouncer"]);
        expect(ini["pgbouncer"]?.["application_name_add_host"]).toBe(value);
      }),
    );
  });

  test("makes a database name in pg_hba.conf a name, whatever keyword it looks like", () => {
    expect(renderPgHba({ ...dev, databaseName: 'all"x' })).toContain('hostssl "all""x" pgbouncer ');
  });
});

describe("every rendered file", () => {
  test.each(Object.keys(FILES))(
    "%s says that it is generated, ends in one newline and is equal for equal settings",
    (file) => {
      const text = FILES[file]?.(dev) ?? "";
      expect(text.split("\n")[0]).toMatch(/^[#;] Generated by ai-workflow-database; changes are overwritten\.$/);
      expect(text).toMatch(/[^\n]\n$/);
      expect(FILES[file]?.(parseConfig("dev", { pgbouncerPort: 26_432, postgresPort: 25_432 }))).toBe(text);
    },
  );

  test("has its settings sorted by name", () => {
    const names = Object.keys(readConf(renderPostgresqlConf(prod)));
    expect(names).toEqual([...names].sort());
    const keys = Object.keys(readIni(renderPgbouncerIni(prod, "host"))["pgbouncer"] ?? {});
    expect(keys).toEqual([...keys].sort());
  });
});

test("gives every setting a reason", () => {
  for (const settings of [postgresDefaults(dev), pgbouncerDefaults(dev)])
    for (const [name, { why }] of Object.entries(settings)) expect(why, name).toMatch(/[a-z]{3}/);
  for (const reasons of [POSTGRES_RESERVED, PGBOUNCER_RESERVED])
    for (const [name, why] of Object.entries(reasons)) expect(why, name).toMatch(/[a-z]{3}/);
});

describe("overrides", () => {
  test("win over defaults and lose against what is mandatory", () => {
    const mandatory = { ssl: { value: "on" } };
    const defaults = { jit: { value: "off" }, ssl: { value: "off" } };
    expect(mergeSettings(mandatory, defaults, { jit: "on", ssl: "off", work_mem: "8MB" })).toEqual([
      ["jit", "on"],
      ["ssl", "on"],
      ["work_mem", "8MB"],
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

describe("the restart key", () => {
  const changed = (raw: Record<string, unknown>) => parseConfig("dev", raw);

  test.each([
    ["max_connections", { postgresMaxConnections: 81 }],
    ["shared_buffers by memory", { postgresMemoryMiB: 1_024 }],
    ["shared_buffers by override", { postgresSettings: { shared_buffers: "96MB" } }],
    ["worker processes", { postgresCpus: 12 }],
  ])("of PostgreSQL changes with %s", (_name, raw) => {
    expect(postgresRestartKey(changed(raw))).not.toBe(postgresRestartKey(dev));
  });

  test.each([
    ["work_mem", { postgresSettings: { work_mem: "8MB" } }],
    ["a setting of the pooler", { pgbouncerDefaultPoolSize: 20 }],
    ["ports outside the container", { postgresPort: 1_234 }],
  ])("of PostgreSQL stays with %s, which a reload applies", (_name, raw) => {
    expect(postgresRestartKey(changed(raw))).toBe(postgresRestartKey(dev));
  });

  test("of PgBouncer changes with listen_backlog and stays with pool sizes, which a reload applies", () => {
    expect(pgbouncerRestartKey(changed({ pgbouncerSettings: { listen_backlog: 128 } }))).not.toBe(
      pgbouncerRestartKey(dev),
    );
    expect(pgbouncerRestartKey(changed({ pgbouncerDefaultPoolSize: 20, pgbouncerMaxClientConn: 300 }))).toBe(
      pgbouncerRestartKey(dev),
    );
  });
});

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

describe("pg_hba.conf", () => {
  const rules = (config: StackConfig) =>
    renderPgHba(config)
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("#"));

  test("lets nobody in over the network without TLS, SCRAM and a certificate", () => {
    for (const rule of rules(prod).filter((line) => !line.startsWith("local"))) {
      expect(rule).toMatch(/ reject$|^hostssl .* scram-sha-256 clientcert=verify-(full|ca)$/);
    }
    expect(rules(prod).at(-1)).toBe("host all all all reject");
  });

  test("takes a certificate of another name from the pooler's address only", () => {
    const { pgbouncer } = addresses(prod);
    expect(rules(prod).filter((line) => line.includes("verify-ca"))).toEqual([
      `hostssl "ai_workflow_db" app_user,app_readonly,app_monitor ${pgbouncer}/32 scram-sha-256 clientcert=verify-ca`,
    ]);
  });

  test("names an address in every line that lets somebody in, and the superuser's is this machine's", () => {
    const { gateway } = addresses(prod);
    for (const config of [dev, prod, parseConfig("ci-1", { postgresClientAddresses: ["192.0.2.7"] })]) {
      for (const rule of rules(config).filter((line) => line.startsWith("host") && !line.endsWith(" reject")))
        expect(rule).toMatch(/ \d+\.\d+\.\d+\.\d+\/\d+ scram-sha-256 /);
    }
    expect(rules(prod).filter((line) => / postgres /.test(line) && line.startsWith("host"))).toEqual([
      `hostssl all postgres ${gateway}/32 scram-sha-256 clientcert=verify-full`,
    ]);
  });

  test("lets the maintenance container in as the owner, and only where there is one", () => {
    const { maintenance } = addresses(prod);
    expect(rules(prod).filter((line) => line.includes(` ${maintenance}/32 `))).toEqual([
      `hostssl "ai_workflow_db" ai_workflow_owner ${maintenance}/32 scram-sha-256 clientcert=verify-full`,
    ]);
    for (const raw of [{ maintenanceIntervalMin: 0 }, { rolloutPhase: 3 }, { profile: "ci" }])
      expect(renderPgHba(parseConfig("dev", raw))).not.toContain(`${addresses(dev).maintenance}/32`);
  });

  test("of a server without a pooler lets nobody speak for a role", () => {
    const config = parseConfig("ci-1", { networkSubnet: "10.213.7.0/28" });
    expect(renderPgHba(config, { pooler: false })).not.toMatch(/10\.213\.7\.3|\bpgbouncer\b/);
    expect(
      renderPgHba(config, { pooler: false })
        .split("\n")
        .filter((line) => line.includes("verify-ca")),
    ).toEqual(['hostssl sameuser "/^aiwdb_test_" 10.213.7.1/32 scram-sha-256 clientcert=verify-ca']);
  });

  test("has one line for an address that is named twice", () => {
    const { gateway } = addresses(dev);
    expect(renderPgHba(parseConfig("dev", { postgresClientAddresses: [gateway, `${gateway}/32`] }))).toBe(
      renderPgHba(parseConfig("dev", {})),
    );
  });

  test("ends the pooler's own lines in a reject, so that it never speaks for owner or superuser", () => {
    const { pgbouncer } = addresses(prod);
    const ofPooler = rules(prod).filter((line) => line.includes(`${pgbouncer}/32`));
    expect(ofPooler.at(-1)).toBe(`host all all ${pgbouncer}/32 reject`);
    expect(ofPooler.join("\n")).not.toMatch(/postgres |ai_workflow_owner/);
    expect(rules(prod).indexOf(ofPooler.at(-1) ?? "")).toBeLessThan(
      rules(prod).findIndex((line) => line.includes(`${addresses(prod).gateway}/32`)),
    );
  });
});

/** Settings that parseConfig may or may not take; half of what it gets fits. */
const anyRaw = fc.record({
  postgresMemoryMiB: fc.integer({ min: 256, max: 200_000 }),
  postgresCpus: fc.double({ min: 0.1, max: 128, noNaN: true }),
  postgresMaxConnections: fc.oneof(fc.integer({ min: 10, max: 300 }), fc.integer({ min: 10, max: 10_000 })),
  pgbouncerMaxDbConnections: fc.integer({ min: 1, max: 300 }),
  pgbouncerSessionDbConnections: fc.integer({ min: 1, max: 60 }),
  pgbouncerDefaultPoolSize: fc.integer({ min: 1, max: 100 }),
  pgbouncerReservePoolSize: fc.integer({ min: 0, max: 30 }),
  pgbouncerMaxClientConn: fc.integer({ min: 1, max: 3_000 }),
});

/** Runs a property over configurations that are accepted, and makes sure that there were some. */
function forAccepted(property: (config: StackConfig) => void): void {
  let accepted = 0;
  fc.assert(
    fc.property(anyRaw, (raw) => {
      let config: StackConfig;
      try {
        config = parseConfig("dev", raw);
      } catch (error) {
        if (error instanceof ConfigError) return;
        throw error;
      }
      accepted += 1;
      property(config);
    }),
    { numRuns: 500 },
  );
  expect(accepted).toBeGreaterThan(40);
}

describe("sums of any accepted stack", () => {
  test("keep both pool modes and the lookup together at pgbouncerMaxDbConnections, inside what PostgreSQL leaves beside superusers and direct connections", () => {
    forAccepted((config) => {
      const ini = readIni(renderPgbouncerIni(config, "host"));
      const limits = Object.values(ini["databases"] ?? {}).map((entry) =>
        Number(/max_db_connections=(\d+)/.exec(entry)?.[1]),
      );
      const pools = Object.values(ini["databases"] ?? {}).map((entry) => Number(/pool_size=(\d+)/.exec(entry)?.[1]));
      expect(Object.keys(ini["databases"] ?? {})).toEqual([
        "ai_workflow_db",
        "ai_workflow_db_session",
        "ai_workflow_db_lookup",
      ]);
      const [transaction = 0, session = 0, lookup = 0] = limits;
      expect(transaction + session + lookup).toBe(config.pgbouncerMaxDbConnections);
      expect(transaction + session + lookup + 10 + 3).toBeLessThanOrEqual(
        Number(readConf(renderPostgresqlConf(config))["max_connections"]),
      );
      for (const [index, pool] of pools.entries()) {
        expect(pool).toBeGreaterThanOrEqual(1);
        expect(pool).toBeLessThanOrEqual(limits[index] ?? 0);
      }
    });
  });

  test("keep buffers and one sort of every connection inside the container's memory", () => {
    const mib = (text: string | undefined) => Number(/^(\d+)MB$/.exec(text ?? "")?.[1]);
    forAccepted((config) => {
      const conf = readConf(renderPostgresqlConf(config));
      const used = mib(conf["shared_buffers"]) + mib(conf["work_mem"]) * config.postgresMaxConnections;
      expect(used).toBeLessThanOrEqual(config.postgresMemoryMiB);
      expect(mib(conf["effective_cache_size"])).toBeLessThanOrEqual(config.postgresMemoryMiB);
      expect(mib(conf["min_wal_size"])).toBeLessThan(mib(conf["max_wal_size"]));
    });
  });

  test("keep parallel workers inside the CPUs and the worker processes", () => {
    forAccepted((config) => {
      const conf = readConf(renderPostgresqlConf(config));
      expect(Number(conf["max_parallel_workers"])).toBeLessThanOrEqual(Math.max(1, config.postgresCpus));
      expect(Number(conf["max_parallel_workers_per_gather"])).toBeLessThanOrEqual(Number(conf["max_parallel_workers"]));
      expect(Number(conf["max_worker_processes"])).toBeGreaterThanOrEqual(Number(conf["max_parallel_workers"]));
    });
  });
});

describe("a pooler that binds certificates", () => {
  const bound = parseConfig("dev", {
    pgbouncerBindCertificates: true,
    pgbouncerMaxDbConnections: 68,
    postgresMaxConnections: 90,
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

  test("keeps the server connections of all its processes at pgbouncerMaxDbConnections, and leaves none without", () => {
    const sizes = fc.record({
      pgbouncerMaxDbConnections: fc.integer({ min: 40, max: 300 }),
      pgbouncerSessionDbConnections: fc.integer({ min: 3, max: 30 }),
    });
    fc.assert(
      fc.property(sizes, (raw) => {
        const more = {
          pgbouncerDefaultPoolSize: 1,
          pgbouncerReservePoolSize: 0,
          postgresMaxConnections: 400,
          postgresMemoryMiB: 2_048,
        };
        let config: StackConfig;
        try {
          config = parseConfig("dev", { pgbouncerBindCertificates: true, ...more, ...raw });
        } catch (error) {
          if (error instanceof ConfigError) return;
          throw error;
        }
        const limits = settingsOf(config).flatMap(({ ini }) =>
          Object.values(ini["databases"] ?? {}).map((entry) => Number(/max_db_connections=(\d+)/.exec(entry)?.[1])),
        );
        expect(limits).toHaveLength(9);
        expect(Math.min(...limits)).toBeGreaterThanOrEqual(1);
        expect(limits.reduce((sum, limit) => sum + limit, 0)).toBe(config.pgbouncerMaxDbConnections);
      }),
    );
  });

  test("is restarted when it is switched on, because no reload opens a port", () => {
    expect(pgbouncerRestartKey(bound)).not.toBe(pgbouncerRestartKey({ ...bound, pgbouncerBindCertificates: false }));
  });
});
