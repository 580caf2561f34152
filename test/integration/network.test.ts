import { readFileSync } from "node:fs";
import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, inject, test, vi } from "vitest";
import { connectionFor } from "../../stack/connections.ts";
import { addressIn } from "../../infra/settings/addresses.ts";
import { engineNames } from "../../infra/settings/names.ts";
import { ROLES, type ClientRole } from "../../database/access/roles.ts";
import { exec, type ExecResult } from "../../toolchain/engine/containers.ts";
import { createCheckout } from "../helpers/checkout.ts";
import { containerName, docker, query, startedAt } from "../helpers/connect.ts";
import { mustSucceed, SETTINGS } from "../helpers/real-stack.ts";

vi.setConfig({ testTimeout: 10 * 60_000 }); // one of them runs `up` twice

const run = promisify(execFile);
const { network } = engineNames(inject("stack").name);
const NOT_FROM_HERE = /pg_hba\.conf rejects connection for host "([\d.]+)", user "(\w+)", database "ai_workflow_db"/;

/** Where a client's certificate lies: the folder of this machine, or what a container sees of it. */
const CERTIFICATES = path.dirname(connectionFor(inject("stack").outputs, "app_user", "direct").sslCert);

/** A psql command line that connects to the server's own address as a role, with its certificate. */
function psql(
  role: ClientRole,
  folder: string,
  { certificate = role as string, user = role as string, hostaddr = address(2) } = {},
): string[] {
  const { database } = connectionFor(inject("stack").outputs, role, "direct");
  const file = (name: string) => path.join(folder, name);
  const parameters = `host=${containerName("postgres")} hostaddr=${hostaddr} port=5432 user=${user} dbname=${database} connect_timeout=10
    sslmode=verify-full sslrootcert=${file("ca.crt")} sslcert=${file(`${certificate}.crt`)} sslkey=${file(`${certificate}.key`)}`;
  return ["psql", parameters, "-XAtwc", "select current_user, host(inet_client_addr())"];
}

let subnet: string;
const address = (n: number) => addressIn(subnet, n);

/** Containers that somebody attaches to the stack's network. */
const attached = new Map<number, string>();

async function attach(n: number): Promise<void> {
  const { Image } = await docker().getContainer(containerName("postgres")).inspect();
  const container = await docker().createContainer({
    name: `${network}-test-${n}`,
    Image,
    // The keys are this user's alone.
    User: `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`,
    Entrypoint: ["sleep", "900"],
    HostConfig: {
      AutoRemove: true,
      NetworkMode: network,
      Binds: [`${CERTIFICATES}:/certs:ro`],
      // Declared by the image; unmounted, the engine would make nameless volumes for them.
      Tmpfs: { "/var/lib/postgresql/data": "", "/etc/postgresql": "" },
    },
    NetworkingConfig: { EndpointsConfig: { [network]: { IPAMConfig: { IPv4Address: address(n) } } } },
  });
  attached.set(n, container.id);
  await container.start();
}

/** Connects from an attached container; without a password libpq says so as soon as it is asked for one. */
function from(n: number, role: ClientRole, password?: string, change?: { user: string }): Promise<ExecResult> {
  const id = attached.get(n);
  if (id === undefined) throw new Error(`no container has address ${n}`);
  const env = password === undefined ? [] : ["env", `PGPASSWORD=${password}`];
  return exec(docker(), id, [...env, ...psql(role, "/certs", change)]);
}

const passwordOf = (role: ClientRole) => connectionFor(inject("stack").outputs, role, "direct").password;

/** `up` with further settings, in the folder the stack was made in. */
async function up(changed: Record<string, unknown>): Promise<void> {
  const { name, home } = inject("stack");
  const checkout = await createCheckout(home);
  checkout.settings(name, { ...SETTINGS, ...changed });
  mustSucceed(await checkout.aiwdb(["up", "--stack", name]));
}

beforeAll(async () => {
  const { IPAM } = (await docker().getNetwork(network).inspect()) as { IPAM: { Config: { Subnet: string }[] } };
  subnet = IPAM.Config[0]?.Subnet ?? "";
  await attach(9);
  await attach(10);
});

afterAll(async () => {
  for (const id of attached.values()) await docker().getContainer(id).remove({ force: true });
});

describe("PostgreSQL's own address", () => {
  test("is for this machine, which arrives from the network's gateway", async () => {
    for (const role of ["app_user", "app_readonly", "app_monitor", "ai_workflow_owner", "postgres"] as const)
      expect(await query(role, "direct", "select host(inet_client_addr()) as address"), role).toEqual([
        { address: address(1) },
      ]);
  });

  test("lets no other container on the network come as far as a password, whatever role, certificate and password it has", async () => {
    for (const role of ["app_user", "app_readonly", "app_monitor", "ai_workflow_owner"] as const) {
      for (const password of [passwordOf(role), "wrong", undefined]) {
        const { exitCode, stdout, stderr } = await from(9, role, password);
        expect([exitCode, stdout], role).toEqual([2, ""]);
        expect(NOT_FROM_HERE.exec(stderr)?.slice(1), stderr).toEqual([address(9), role]);
      }
    }
    expect((await from(9, "app_user", undefined, { user: ROLES.pooler })).stderr).toMatch(NOT_FROM_HERE);
    expect((await from(9, "postgres", passwordOf("postgres"))).stderr).toMatch(NOT_FROM_HERE);
  });

  test("lets the maintenance container in as the owner, and as nobody else", async () => {
    const as = (user: string) =>
      exec(docker(), containerName("maintenance"), [
        "psql",
        `user=${user}`,
        "-XAtwc",
        "select host(inet_client_addr())",
      ]);
    expect((await as("ai_workflow_owner")).stdout.trim()).toBe(address(4));
    for (const user of ["app_user", "app_readonly", "app_monitor", "pgbouncer", "postgres"])
      expect((await as(user)).stderr, user).toMatch(NOT_FROM_HERE);
  });

  // Only root makes network namespaces.
  test.runIf(process.getuid?.() === 0)(
    "lets a host that has a route to it come no farther than the container",
    async () => {
      // Engines before 28 forward what arrives for a published port, from wherever; later ones drop it.
      const reached = /pg_hba\.conf rejects connection|timeout expired|timed out|No route to host|unreachable/;
      await withRoutedHost(async (namespace) => {
        // It has the route: this machine answers it at the network's gateway, and forwards what is not for itself.
        const gateway = await inNamespace(
          namespace,
          psql("app_user", CERTIFICATES, { hostaddr: address(1) }),
          passwordOf("app_user"),
        );
        expect(gateway.stderr).toMatch(/Connection refused/);
        expect(readFileSync("/proc/sys/net/ipv4/ip_forward", "utf8").trim()).toBe("1");
        for (const role of ["app_user", "ai_workflow_owner"] as const) {
          const command = psql(role, CERTIFICATES);
          const { stderr } = await inNamespace(namespace, command, passwordOf(role));
          expect(stderr).toMatch(reached);
          expect(stderr).not.toMatch(/password/);
        }
      });
    },
  );

  test("lets in who is named by postgresClientAddresses, after a reload, as every role but the superuser", async () => {
    const before = [await startedAt("postgres"), await startedAt("pgbouncer")];
    await up({ postgresClientAddresses: [address(9)] });
    try {
      for (const role of ["app_user", "app_readonly", "app_monitor", "ai_workflow_owner"] as const) {
        expect((await from(9, role, passwordOf(role))).stdout.trim()).toBe(`${role}|${address(9)}`);
        expect((await from(9, role, "wrong")).stderr).toMatch(/password authentication failed/);
      }
      // The certificate is demanded as from this machine.
      expect((await from(9, "app_user", passwordOf("app_readonly"), { user: "app_readonly" })).stderr).toMatch(
        /authentication failed for user "app_readonly"/,
      );
      expect((await from(9, "postgres", passwordOf("postgres"))).stderr).toMatch(NOT_FROM_HERE);
      expect((await from(10, "app_user", passwordOf("app_user"))).stderr).toMatch(NOT_FROM_HERE);
    } finally {
      await up({});
    }
    expect((await from(9, "app_user", passwordOf("app_user"))).stderr).toMatch(NOT_FROM_HERE);
    expect([await startedAt("postgres"), await startedAt("pgbouncer")]).toEqual(before);
  });
});

/** A host beside this machine, in a network namespace, whose way to everything leads through this machine. */
async function withRoutedHost(work: (namespace: string) => Promise<void>): Promise<void> {
  const namespace = `aiwdb-test-${process.pid}`;
  const [here, there] = [`aiwdb-h${process.pid}`, `aiwdb-t${process.pid}`];
  const ip = (...args: string[]) => run("ip", args);
  await ip("netns", "add", namespace);
  try {
    await ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", namespace);
    await ip("addr", "add", "198.51.100.1/30", "dev", here);
    await ip("link", "set", here, "up");
    await ip("-n", namespace, "addr", "add", "198.51.100.2/30", "dev", there);
    await ip("-n", namespace, "link", "set", there, "up");
    await ip("-n", namespace, "route", "add", "default", "via", "198.51.100.1");
    await work(namespace);
  } finally {
    await ip("netns", "del", namespace);
  }
}

/** Runs a command in a routed host. */
async function inNamespace(
  namespace: string,
  command: readonly string[],
  password: string,
): Promise<{ stdout: string; stderr: string }> {
  try {
    return await run("ip", ["netns", "exec", namespace, ...command], { env: { ...process.env, PGPASSWORD: password } });
  } catch (error) {
    return error as { stdout: string; stderr: string };
  }
}
