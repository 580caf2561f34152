import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";
import { tmpdir } from "node:os";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { certificatesOf, type KeyPair } from "../../certs/verify.ts";
import { POOLED_ROLES, type ClientRole, type PooledRole } from "../../database/access/roles.ts";
import { exec } from "../../toolchain/engine/containers.ts";
import { offeredCertificate } from "../../database/handshake.ts";
import { pgbouncerConsole } from "../../infra/servers/pgbouncer/console.ts";
import { roleListener } from "../../infra/settings/listeners.ts";
import type { StackOutputs } from "../../stack/session.ts";
import { connectionFor } from "../../stack/connections.ts";
import type { StackStatus } from "../../stack/status/status.ts";
import { createCheckout, type Checkout, type CommandResult } from "../helpers/checkout.ts";
import { containerName, docker, eventually, open, query, refusal, startedAt } from "../helpers/connect.ts";
import { known } from "../helpers/known.ts";
import { mustSucceed, readOutputs, SETTINGS } from "../helpers/real-stack.ts";
import { authority } from "../helpers/throw-away-ca.ts";

// A stack of its own, because its pooler is switched to and fro.
const NAME = `ci-b${process.pid}`;
let checkout: Checkout;
let outputs: StackOutputs;

// The same max_connections on both sides, so that PostgreSQL is not restarted.
const ONE = { postgresMaxConnections: 93 };
const BOUND = { ...ONE, pgbouncerBindCertificates: true, pgbouncerMaxDbConnections: 54 };
const UNCHANGED = /(created|updated|replaced|deleted) \(/;
const up = async (env: NodeJS.ProcessEnv = {}): Promise<CommandResult> => {
  const result = mustSucceed(await checkout.aiwdb(["up", "--stack", NAME], env));
  outputs = await readOutputs(checkout, NAME);
  return result;
};
const settings = (changed: Record<string, unknown> = {}) =>
  checkout.settings(NAME, { ...SETTINGS, rolloutPhase: 1, maintenanceIntervalMin: 0, ...changed });
const certificateOf = (role: ClientRole): KeyPair => {
  const { sslCert, sslKey } = connectionFor(outputs, role, "direct");
  return { certPem: readFileSync(sslCert, "utf8"), keyPem: readFileSync(sslKey, "utf8") };
};
const portOf = (role: PooledRole) => connectionFor(outputs, role, "transaction").port;
/** The account, with its right password, at one role's listener with another role's certificate. */
const knock = (listener: PooledRole, certificate: KeyPair, account: PooledRole) =>
  open(account, "transaction", { outputs, certificate, port: portOf(listener) });
const WHO = "select current_user as role";
const MODES = ["direct", "transaction", "session"] as const;
const everyRoleConnects = async (certificates: (role: PooledRole) => KeyPair = certificateOf) => {
  for (const role of POOLED_ROLES)
    for (const mode of MODES)
      expect(await query(role, mode, WHO, { outputs, certificate: certificates(role) }), `${role}, ${mode}`).toEqual([
        { role },
      ]);
};
const REFUSED_BY_TLS = /alert unknown ca|ECONNRESET|closed|terminated/i;

beforeAll(async () => {
  checkout = await createCheckout(path.join(tmpdir(), `aiwdb-stack-${NAME}`));
  settings(ONE);
  await up();
});
afterAll(async () => {
  mustSucceed(await checkout.aiwdb(["down", "--stack", NAME]));
  checkout.remove();
});

describe("a stack that is switched to bound certificates", () => {
  const DIRECT_ONLY = ["ai_workflow_owner", "postgres"] as const;

  beforeAll(async () => {
    // What the setting is for: one certificate is as good as another.
    const client = await knock("app_readonly", certificateOf("app_user"), "app_readonly");
    await client.end();
    settings(BOUND);
    await up();
  });

  test("serves each role at a port of its own, in both modes, by that role's certificate and password", async () => {
    const { port } = outputs.connections.transaction;
    expect(POOLED_ROLES.map(portOf)).toEqual([port, port + 1, port + 2]);
    await everyRoleConnects();
    for (const role of POOLED_ROLES) {
      const { stdout } = mustSucceed(await checkout.aiwdb(["url", "--stack", NAME, "--role", role]));
      expect(new URL(stdout.trim()).port).toBe(String(portOf(role)));
    }
    expect((await up()).all).not.toMatch(UNCHANGED);
  });

  test("takes no other certificate with a role's password, and no other role with its certificate, on any port", async () => {
    for (const listener of POOLED_ROLES)
      for (const holder of [...POOLED_ROLES, ...DIRECT_ONLY])
        for (const account of POOLED_ROLES) {
          if (listener === holder && holder === account) continue;
          const what = `${holder}'s certificate, ${account}'s password, ${listener}'s port`;
          expect(await refusal(knock(listener, certificateOf(holder), account)), what).toMatch(
            // At its own listener a certificate opens the handshake, and the HBA file refuses the account.
            listener === holder ? /login rejected/ : REFUSED_BY_TLS,
          );
        }
    for (const role of POOLED_ROLES) {
      const wrong = { outputs, password: outputs.passwords["ai_workflow_owner"] ?? "" };
      expect(await refusal(open(role, "transaction", wrong)), role).toMatch(/SASL|password/);
      expect(await refusal(open(role, "transaction", { outputs, certificate: null })), role).toMatch(
        /certificate required|ECONNRESET|closed|terminated/i,
      );
    }
  });

  test("takes no certificate for a role that the authority signed under its own name", async () => {
    const own = authority(await authorityOf("ca"));
    const certificate = await own.issue({ commonName: "app_user" });
    expect(await refusal(knock("app_user", certificate, "app_user"))).toMatch(REFUSED_BY_TLS);
  });

  test("takes a further certificate that was issued for a role, at that role's port only", async () => {
    const folder = path.join(checkout.root, "..", "issued");
    mustSucceed(await checkout.aiwdb(["certs", "issue", "app_readonly", "--stack", NAME, "--output", folder]));
    const read = (file: string) => readFileSync(path.join(folder, file), "utf8");
    const certificate = { certPem: read("app_readonly.crt"), keyPem: read("app_readonly.key") };
    for (const mode of MODES)
      expect(await query("app_readonly", mode, WHO, { outputs, certificate }), mode).toEqual([
        { role: "app_readonly" },
      ]);
    expect(await refusal(knock("app_user", certificate, "app_user"))).toMatch(REFUSED_BY_TLS);
  });

  test("leaves direct connections as they are: name and password must be the role's", async () => {
    for (const role of DIRECT_ONLY) expect(await query(role, "direct", WHO, { outputs })).toEqual([{ role }]);
    expect(await refusal(open("app_readonly", "direct", { outputs, certificate: certificateOf("app_user") }))).toMatch(
      /28P01|28000/,
    );
  });

  test("shows the monitoring role its own listener's statistics, and `status` everybody's", async () => {
    const held = await open("app_user", "session", { outputs });
    const pools = await query<{ user: string; cl_active: unknown }>("app_monitor", "transaction", "show pools", {
      outputs,
      database: "pgbouncer",
    });
    expect(pools.filter(({ user, cl_active }) => user === "app_user" && Number(cl_active) > 0)).toEqual([]);
    const { stdout } = mustSucceed(await checkout.aiwdb(["status", "--stack", NAME, "--json"]));
    await held.end();
    const status = JSON.parse(stdout) as StackStatus;
    expect(status.pools).toContainEqual(
      expect.objectContaining({
        database: "ai_workflow_db_session",
        role: "app_user",
        mode: "session",
        clientsActive: 1,
      }),
    );
    expect(new Set(known(status.pools).map(({ database, role }) => `${database} ${role}`)).size).toBe(
      known(status.pools).filter(({ role }) => role !== "pgbouncer").length + 1, // each listener looks secrets up
    );
    expect(status.connections.map(({ address }) => Number(/:(\d+)\//.exec(address)?.[1]))).toEqual([
      outputs.connections.transaction.port,
      outputs.connections.session.port,
      outputs.connections.direct.port,
      portOf("app_readonly"),
      portOf("app_monitor"),
    ]);
    expect(status.connections.map(({ role }) => role)).toEqual([
      "app_user",
      "app_user",
      "app_user",
      "app_readonly",
      "app_monitor",
    ]);
    expect(status).toMatchObject({ healthy: true, drift: [] });
  });

  test("names a listener whose setting was changed by hand", async () => {
    const at = (command: string) =>
      exec(docker(), containerName("pgbouncer", NAME), pgbouncerConsole(roleListener("app_readonly").port, command));
    expect((await at("SET client_tls_ca_file = '/etc/pgbouncer/tls/ca.crt'")).exitCode).toBe(0);
    const { exitCode, stdout } = await checkout.aiwdb(["status", "--stack", NAME, "--json"]);
    expect((await at("SET client_tls_ca_file = '/etc/pgbouncer/tls/clients-app_readonly.crt'")).exitCode).toBe(0);
    expect(exitCode).toBe(1);
    expect((JSON.parse(stdout) as StackStatus).drift).toEqual([
      expect.objectContaining({ server: "pgbouncer", name: "client_tls_ca_file", scope: "app_readonly" }),
    ]);
    await everyRoleConnects();
  });

  test("comes back whole when one listener dies, and ends in order when it is stopped", async () => {
    const container = docker().getContainer(containerName("pgbouncer", NAME));
    const before = await startedAt("pgbouncer", NAME);
    await exec(docker(), containerName("pgbouncer", NAME), [
      "sh",
      "-c",
      'for p in /proc/[0-9]*; do case "$(tr "\\0" " " <$p/cmdline)" in *app_monitor.in[i]*) kill -9 ${p#/proc/};; esac; done',
    ]);
    await eventually(async () => expect(await startedAt("pgbouncer", NAME)).not.toBe(before), 60_000);
    await eventually(() => everyRoleConnects(), 60_000);
    await container.stop();
    expect((await container.inspect()).State).toMatchObject({ Status: "exited", ExitCode: 0, OOMKilled: false });
    await container.start();
    await eventually(() => everyRoleConnects(), 60_000);
  });

  test("renews certificates at every listener without a restart", async () => {
    const started = await startedAt("pgbouncer", NAME);
    const serials = () =>
      Promise.all(
        POOLED_ROLES.map(async (role) => {
          const { host, port } = connectionFor(outputs, role, "transaction");
          return (await offeredCertificate(host, port)).serialNumber;
        }),
      );
    const before = new Set(await serials());
    const old = new Map(POOLED_ROLES.map((role) => [role, certificateOf(role)]));
    const kept = await Promise.all(POOLED_ROLES.map((role) => open(role, "session", { outputs })));
    await up({ AIWDB_ROTATE_CERTIFICATES: "bound" });
    const after = new Set(await serials());
    expect([before.size, after.size]).toEqual([1, 1]);
    expect([...after]).not.toEqual([...before]);
    for (const client of kept) {
      expect((await client.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
      await client.end();
    }
    await everyRoleConnects();
    await everyRoleConnects((role) => old.get(role) ?? certificateOf(role));
    expect(await startedAt("pgbouncer", NAME)).toBe(started);
  });

  describe("whose authority is replaced", () => {
    const rotate = async () => {
      const result = mustSucceed(await checkout.aiwdb(["up", "--stack", NAME, "--rotate-authority"]));
      outputs = await readOutputs(checkout, NAME);
      return result.all;
    };
    const issuerOf = (role: PooledRole) => new X509Certificate(certificateOf(role).certPem).issuer;
    /** A client that keeps what it had: its certificate, and the authorities it trusts. */
    const oldConnects = async (ca: string, old: ReadonlyMap<PooledRole, KeyPair>) => {
      for (const [role, certificate] of old)
        for (const mode of MODES)
          expect(await query(role, mode, WHO, { outputs, certificate, ssl: { ca } }), `${role}, ${mode}`).toEqual([
            { role },
          ]);
    };

    test("stays bound in all three phases, and takes both generations for as long as both are trusted", async () => {
      const started = await startedAt("pgbouncer", NAME);
      const old = new Map(POOLED_ROLES.map((role) => [role, certificateOf(role)]));
      const bound = async () => {
        for (const listener of POOLED_ROLES)
          for (const holder of POOLED_ROLES.filter((role) => role !== listener))
            for (const certificate of [certificateOf(holder), old.get(holder) ?? certificateOf(holder)])
              expect(await refusal(knock(listener, certificate, listener)), `${holder} at ${listener}`).toMatch(
                REFUSED_BY_TLS,
              );
      };
      expect(await rotate()).toMatch(/phase 1 of 3/);
      const both = readFileSync(connectionFor(outputs, "app_user", "direct").sslRootCert, "utf8");
      expect(certificatesOf(both)).toHaveLength(2); // what clients trust has no role's authority
      await everyRoleConnects();
      await bound();
      expect(await rotate()).toMatch(/phase 2 of 3/);
      expect(issuerOf("app_readonly")).toMatch(new RegExp(`CN=${NAME} CA 2 app_readonly`));
      await everyRoleConnects();
      await oldConnects(both, old);
      await bound();
      expect(await rotate()).toMatch(/phase 3 of 3/);
      await everyRoleConnects();
      await bound();
      for (const [role, certificate] of old)
        for (const mode of MODES)
          expect(
            await refusal(open(role, mode, { outputs, certificate, ssl: { ca: both } })),
            `${role}, ${mode}`,
          ).toMatch(REFUSED_BY_TLS);
      expect(await startedAt("pgbouncer", NAME)).toBe(started);
      expect((await up()).all).not.toMatch(UNCHANGED);
    });
  });
});

test("a stack that is switched back has one port again, and its roles their old way in", async () => {
  const further = portOf("app_monitor");
  settings(ONE);
  await up();
  expect(new Set(POOLED_ROLES.map(portOf)).size).toBe(1);
  await everyRoleConnects();
  expect(await refusal(open("app_monitor", "transaction", { outputs, port: further }))).toMatch(/ECONNREFUSED/);
  expect((await up()).all).not.toMatch(UNCHANGED);
});

/** Key and certificate of one authority, out of the state. */
async function authorityOf(place: string): Promise<KeyPair> {
  const { stdout } = mustSucceed(
    await checkout.aiwdb(["pulumi", "--stack", NAME, "--", "stack", "export", "--show-secrets"]),
  );
  const resources = JSON.parse(stdout).deployment.resources as { urn: string; outputs: Record<string, any> }[];
  const outputsOf = (part: string) =>
    resources.find(({ urn }) => urn.endsWith(`-certificates-${place}-${part}`))?.outputs ?? {};
  return {
    keyPem: JSON.parse(outputsOf("key")["privateKeyPemPkcs8"].plaintext) as string,
    certPem: outputsOf("cert")["certPem"] as string,
  };
}
