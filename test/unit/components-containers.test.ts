import { describe, expect, test } from "vitest";
import type { Registered } from "../helpers/pulumi-mocks.ts";
import { named, PROD, stackOf } from "../helpers/registered-stack.ts";

const dev = await stackOf({});
const prod = await stackOf(PROD, "prod");

describe.each(["postgres", "pgbouncer", "maintenance"])("the %s container", (service) => {
  const container = (resources: readonly Registered[]) => named(resources, `database-${service}-container`);

  test("may write nowhere but to its volumes and to memory, with no capability and no way to get one", () => {
    const { inputs } = container(dev);
    expect(inputs).toMatchObject({
      readOnly: true,
      capabilities: { drops: ["ALL"] },
      securityOpts: ["no-new-privileges:true"],
      init: true,
    });
    expect(inputs["capabilities"].adds ?? []).toEqual([]);
    expect(inputs["privileged"] ?? false).toBe(false);
    for (const options of Object.values(inputs["tmpfs"] as Record<string, string>)) {
      const id = service === "pgbouncer" ? 998 : 999;
      expect(options).toMatch(new RegExp(`^rw,noexec,nosuid,nodev,size=\\d+m,uid=${id},gid=${id},mode=0700$`));
    }
    const configuration = (inputs["volumes"] as { containerPath: string; readOnly?: boolean }[]).find(
      ({ containerPath }) => containerPath.startsWith("/etc/"),
    );
    expect(configuration?.readOnly).toBe(true);
  });

  test("has limits on memory, CPUs, processes, open files and logs, and time to stop", () => {
    const { inputs } = container(prod);
    const memory = { postgres: 4_096, pgbouncer: 256, maintenance: 64 }[service];
    expect(inputs).toMatchObject({
      memory,
      memorySwap: memory,
      cpus: { postgres: "2.5", pgbouncer: "1.0", maintenance: "0.5" }[service],
      ulimits: [{ name: "nofile", soft: 16_384, hard: 16_384 }],
      logOpts: { "max-size": "20m", "max-file": "3" },
      stopTimeout: 120,
      destroyGraceSeconds: 120,
      restart: "unless-stopped",
    });
    expect(named(prod, `database-${service}-ready`).inputs["pidsLimit"]).toBe(service === "postgres" ? 264 : 32);
  });

  test("is not replaced when a limit of the pooler changes, which would end every session", async () => {
    const more = await stackOf({ ...PROD, pgbouncerMaxClientConn: 2_000, pgbouncerMaxDbConnections: 60 }, "prod");
    expect(container(more).inputs).toEqual(container(prod).inputs);
    const many = await stackOf({ pgbouncerMaxClientConn: 20_000, pgbouncerMemoryMiB: 2_048 });
    expect(named(many, "database-pgbouncer-container").inputs["ulimits"]).toEqual([
      { name: "nofile", soft: 32_768, hard: 32_768 },
    ]);
  });

  test("is asked whether it is healthy, by a query if it is a server, every 30 s", () => {
    expect(container(prod).inputs["healthcheck"]).toMatchObject({
      tests:
        service === "maintenance"
          ? ["CMD-SHELL", expect.stringContaining("/tmp/last-success")]
          : ["CMD", "healthcheck"],
      interval: "30s",
    });
  });

  test("starts only after its files are in place, and is removed before another takes its name and port", () => {
    expect(container(dev).dependsOn).toContain(`database-${service}-files`);
    expect(container(dev).deleteBeforeReplace).toBe(true);
  });

  test("has no secret in environment, labels, command, entrypoint or any other input", () => {
    for (const { inputs, secretInputs } of [container(dev), container(prod)]) {
      const given = Object.keys(inputs)
        .filter((key) => ["envs", "uploads", "command", "entrypoints"].includes(key))
        .sort();
      expect(given).toEqual(service === "maintenance" ? ["command", "entrypoints", "envs"] : []);
      expect(secretInputs).toEqual([]);
      expect(JSON.stringify(inputs)).not.toMatch(/mark/);
    }
  });
});

test("stops PostgreSQL by a fast shutdown", () => {
  expect(named(dev, "database-postgres-container").inputs["stopSignal"]).toBe("SIGINT");
});
