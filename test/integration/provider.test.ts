import type Docker from "dockerode";
import { beforeAll, describe, expect, inject, test } from "vitest";
import { engineNames } from "../../infra/settings/names.ts";
import { checkPair } from "../helpers/openssl.ts";
import { containerName, docker, query, shell } from "../helpers/connect.ts";
import { connectionFor } from "../../stack/connections.ts";
import { CLIENT_ROLES } from "../../database/access/roles.ts";

const SERVICES = [
  ["postgres", "999:999", 512, 1, 64 + 85 * 2],
  ["pgbouncer", "998:998", 128, 1, 32],
  ["maintenance", "999:999", 64, 0.5, 32],
] as const;
const CONFIGURATION = { postgres: "/etc/postgresql", pgbouncer: "/etc/pgbouncer", maintenance: "/etc/postgresql" };
const isServer = (service: string) => service !== "maintenance";

describe.each(SERVICES)("the running %s container", (service, user, memoryMiB, cpus, pids) => {
  let info: Docker.ContainerInspectInfo;
  let host: Docker.ContainerInspectInfo["HostConfig"];

  beforeAll(async () => {
    info = await docker().getContainer(containerName(service)).inspect();
    host = info.HostConfig;
  });

  test("is no root, by the engine and by the kernel, and cannot become it", async () => {
    expect(info.Config.User).toBe(user);
    const { stdout } = await shell(service, "cat /proc/1/status");
    expect(/^Uid:\s+(\d+)\s+(\d+)/m.exec(stdout)?.slice(1, 3)).toEqual([user.split(":")[0], user.split(":")[0]]);
    expect(/^CapEff:\s+(\w+)/m.exec(stdout)?.[1]).toMatch(/^0+$/);
    expect(/^CapBnd:\s+(\w+)/m.exec(stdout)?.[1]).toMatch(/^0+$/);
    expect(/^NoNewPrivs:\s+(\d)/m.exec(stdout)?.[1]).toBe("1");
    expect(host.CapDrop).toEqual(["ALL"]);
    expect([host.Privileged, host.CapAdd]).toEqual([false, null]);
  });

  test("has a root file system and a configuration that it cannot write to", async () => {
    expect(host.ReadonlyRootfs).toBe(true);
    for (const path of ["/new", "/usr/bin/new", "/var/lib/new", `${CONFIGURATION[service]}/new`]) {
      const { exitCode, stderr } = await shell(service, `echo x > ${path}`);
      expect([exitCode === 0, stderr], path).toEqual([false, expect.stringMatching(/Read-only file system/)]);
    }
  });

  test("runs no program out of the folders it may write to", async () => {
    const folder = { postgres: "/run/postgresql", pgbouncer: "/run/pgbouncer", maintenance: "/tmp" }[service];
    for (const writable of ["/tmp", folder]) {
      const { exitCode, stderr } = await shell(
        service,
        `cp /bin/true ${writable}/program && ${writable}/program; code=$?; rm -f ${writable}/program; exit $code`,
      );
      expect([exitCode, stderr], writable).toEqual([126, expect.stringMatching(/Permission denied/)]);
    }
  });

  test("has limits on memory, swap, CPUs, processes, open files and logs", () => {
    expect(host).toMatchObject({
      Memory: memoryMiB * 1_048_576,
      MemorySwap: memoryMiB * 1_048_576,
      NanoCpus: cpus * 1_000_000_000,
      PidsLimit: pids,
      Ulimits: [{ Name: "nofile", Soft: 16_384, Hard: 16_384 }],
    });
    expect(host.LogConfig).toEqual({ Type: "json-file", Config: { "max-file": "3", "max-size": "20m" } });
  });

  test("may not make more processes than its limit", async () => {
    const { stdout } = await shell(
      service,
      "cat /sys/fs/cgroup/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids/pids.max",
    );
    expect(stdout.trim()).toBe(String(pids));
  });

  test("reaps orphans, stops gracefully, and comes back after a crash", () => {
    expect(host).toMatchObject({ Init: true, RestartPolicy: { Name: "unless-stopped" } });
    expect(info.Config).toMatchObject({ StopSignal: isServer(service) ? "SIGINT" : "SIGTERM", StopTimeout: 120 });
  });

  test("is healthy by a check that runs a query, or looks for a run that succeeded", async () => {
    expect(info.Config.Healthcheck?.Test).toEqual(
      isServer(service) ? ["CMD", "healthcheck"] : ["CMD-SHELL", expect.stringContaining("/tmp/last-success")],
    );
    await expect
      .poll(async () => (await docker().getContainer(containerName(service)).inspect()).State.Health?.Status, {
        timeout: 30_000,
      })
      .toBe("healthy");
  });

  test("is published on loopback only or not at all, in a network of its own", () => {
    const bindings = Object.values((host.PortBindings ?? {}) as Record<string, { HostIp: string }[]>).flat();
    expect(bindings.map(({ HostIp }) => HostIp)).toEqual(isServer(service) ? ["127.0.0.1"] : []);
    expect(Object.keys(info.NetworkSettings.Networks)).toEqual([engineNames(inject("stack").name).network]);
    expect(host.NetworkMode).not.toBe("host");
  });

  test("mounts named volumes of its stack and nothing of this machine", () => {
    for (const mount of info.Mounts)
      expect([mount.Type, mount.Name]).toEqual([
        "volume",
        expect.stringMatching(new RegExp(`^aiwdb-${inject("stack").name}-`)),
      ]);
    expect(host.Binds?.filter((bind) => bind.startsWith("/")) ?? []).toEqual([]);
  });

  test("keeps its files readable by its own account only", async () => {
    const { stdout } = await shell(service, `find ${CONFIGURATION[service]} -type f -exec stat -c '%a %u %n' {} +`);
    const lines = stdout.trim().split("\n");
    expect(lines.length).toBeGreaterThan(3);
    for (const line of lines) expect(line).toMatch(new RegExp(`^600 ${user.split(":")[0]} `));
  });
});

test("PostgreSQL runs with the settings of its file, none pending a restart, none wrong", async () => {
  expect(
    await query("postgres", "direct", "select name, setting, error from pg_file_settings where error is not null"),
  ).toEqual([]);
  expect(await query("postgres", "direct", "select name from pg_settings where pending_restart")).toEqual([]);
  expect(await query("postgres", "direct", "select error from pg_hba_file_rules where error is not null")).toEqual([]);
  const [row] = await query(
    "postgres",
    "direct",
    "select current_setting('data_checksums') as checksums, current_setting('ssl_min_protocol_version') as tls, current_setting('server_version') as version",
  );
  expect(row).toMatchObject({ checksums: "on", tls: "TLSv1.2", version: expect.stringMatching(/^16\./) });
});

test("statement statistics are collected", async () => {
  expect((await query("app_monitor", "direct", "select 1 from pg_stat_statements limit 1")).length).toBe(1);
});

test("every hop is encrypted: no connection inside the server is plain, the pooler's own included", async () => {
  await query("app_user", "transaction", "select 1");
  const rows = await query<{ usename: string; ssl: boolean; version: string }>(
    "postgres",
    "direct",
    "select usename, ssl, version from pg_stat_ssl join pg_stat_activity using (pid) where client_addr is not null",
  );
  expect(rows.map(({ usename }) => usename)).toContain("app_user");
  for (const row of rows) expect(row).toMatchObject({ ssl: true, version: "TLSv1.3" });
});

test("client certificates and both servers' pass OpenSSL's strict check for their purpose", async () => {
  const { outputs } = inject("stack");
  for (const role of CLIENT_ROLES) {
    const { sslRootCert, sslCert } = connectionFor(outputs, role, "direct");
    expect(await checkPair(sslRootCert, sslCert, "sslclient"), role).toContain(": OK");
  }
  for (const mode of ["direct", "transaction"] as const) {
    const { host, port, sslRootCert } = connectionFor(outputs, "app_user", mode);
    expect(await checkPair(sslRootCert, { host, port }, "sslserver"), mode).toContain(": OK");
  }
});
