import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { renderPgbouncerIni } from "../../infra/servers/pgbouncer/ini.ts";
import { renderPostgresqlConf } from "../../infra/servers/postgres/conf.ts";
import { forAccepted } from "../helpers/accepted-settings.ts";
import { readConf, readIni } from "../helpers/server-files.ts";

/** Settings that parseConfig may or may not take; half of what it gets fits. */
const anyRaw = fc.record({
  postgresMemoryMiB: fc.integer({ min: 256, max: 200_000 }),
  postgresCpus: fc.double({ min: 0.1, max: 128, noNaN: true }),
  postgresMaxConnections: fc.option(fc.oneof(fc.integer({ min: 10, max: 300 }), fc.integer({ min: 10, max: 10_000 })), {
    nil: undefined,
  }),
  pgbouncerMaxDbConnections: fc.integer({ min: 1, max: 300 }),
  pgbouncerSessionDbConnections: fc.integer({ min: 1, max: 60 }),
  pgbouncerDefaultPoolSize: fc.integer({ min: 1, max: 100 }),
  pgbouncerReservePoolSize: fc.integer({ min: 0, max: 30 }),
  pgbouncerMaxClientConn: fc.integer({ min: 1, max: 3_000 }),
});

describe("sums of any accepted stack", () => {
  test("keep both pool modes and the lookup inside what PostgreSQL leaves beside superusers and direct connections", () => {
    forAccepted(anyRaw, (config) => {
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
      expect([transaction, session, lookup]).toEqual([
        config.pgbouncerMaxDbConnections,
        config.pgbouncerSessionDbConnections,
        2,
      ]);
      expect(pools[1]).toBe(session);
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
    forAccepted(anyRaw, (config) => {
      const conf = readConf(renderPostgresqlConf(config));
      const used = mib(conf["shared_buffers"]) + mib(conf["work_mem"]) * config.postgresMaxConnections;
      expect(used).toBeLessThanOrEqual(config.postgresMemoryMiB);
      expect(mib(conf["effective_cache_size"])).toBeLessThanOrEqual(config.postgresMemoryMiB);
      expect(mib(conf["min_wal_size"])).toBeLessThan(mib(conf["max_wal_size"]));
    });
  });

  test("keep parallel workers inside the CPUs and the worker processes", () => {
    forAccepted(anyRaw, (config) => {
      const conf = readConf(renderPostgresqlConf(config));
      expect(Number(conf["max_parallel_workers"])).toBeLessThanOrEqual(Math.max(1, config.postgresCpus));
      expect(Number(conf["max_parallel_workers_per_gather"])).toBeLessThanOrEqual(Number(conf["max_parallel_workers"]));
      expect(Number(conf["max_worker_processes"])).toBeGreaterThanOrEqual(Number(conf["max_parallel_workers"]));
    });
  });
});
