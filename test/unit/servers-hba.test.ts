import { describe, expect, test } from "vitest";
import type { StackConfig } from "../../infra/settings/table.ts";
import { parseConfig } from "../../infra/settings/check.ts";
import { addresses, renderPgHba } from "../../infra/servers/postgres/hba.ts";
import { dev, prod } from "../helpers/server-files.ts";

describe("pg_hba.conf", () => {
  const rules = (config: StackConfig) =>
    renderPgHba(config)
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("#"));

  test("lets nobody in over the network without TLS, SCRAM and a certificate", () => {
    const letsIn = rules(prod).filter((line) => !line.startsWith("local") && !line.endsWith(" reject"));
    expect(letsIn).not.toEqual([]);
    for (const rule of letsIn) expect(rule).toMatch(/^hostssl .* scram-sha-256 clientcert=verify-(full|ca)$/);
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
