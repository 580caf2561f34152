import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { movedAddresses } from "../../stack/addresses.ts";
import { addressIn, derivedAddresses } from "../../infra/settings/addresses.ts";
import { parseConfig } from "../../infra/settings/check.ts";
import { PROJECT } from "../../infra/settings/names.ts";

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
      roles: {},
      appUserTemporary: false,
      extensions: [],
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
    const bound = { pgbouncerBindCertificates: true, pgbouncerMaxDbConnections: 54 };
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

test("counts addresses across the borders of bytes", () => {
  expect(addressIn("10.213.7.0/28", 2)).toBe("10.213.7.2");
  expect(addressIn("10.213.240.0/20", 257)).toBe("10.213.241.1");
  expect(addressIn("172.16.255.240/28", 15)).toBe("172.16.255.255");
});
