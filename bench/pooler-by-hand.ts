import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, createWriteStream, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import type Docker from "dockerode";
import { until } from "../base/retry.ts";
import { ROLES } from "../database/access/roles.ts";
import { identifier } from "../database/quote.ts";
import { engineNames } from "../infra/settings/names.ts";
import { connectionFor } from "../stack/connections.ts";
import type { StackOutputs } from "../stack/session.ts";
import { archive } from "../toolchain/engine/archives.ts";
import { exec } from "../toolchain/engine/containers.ts";
import { imageTag } from "../toolchain/images/tag.ts";

/** PgBouncer as somebody sets it up by hand, and where pgbench finds it. */
export interface PoolerByHand {
  /** Its container; undefined where it has none. */
  readonly container?: string;
  readonly address: string;
  readonly port: number;
  remove(): Promise<void>;
}

const CONFIG_DIR = "/etc/pgbouncer";
const ACCOUNT = 998; // of the image

interface Files {
  readonly [name: string]: { readonly content: string; readonly mode: number };
}

/**
 * The files of a PgBouncer with its own default settings, but for what the comparison needs to be fair: as many server
 * connections and clients as ours, the same certificates, TLS verified on both hops, SCRAM.
 */
async function files(
  docker: Docker,
  stack: string,
  outputs: StackOutputs,
  port: number,
  clients: number,
  pool: number,
) {
  const names = engineNames(stack);
  const { database, password, sslRootCert, sslCert, sslKey } = connectionFor(outputs, ROLES.app, "direct");
  const ofOurs = async (name: string) =>
    (await exec(docker, names.pgbouncer, ["cat", `${CONFIG_DIR}/tls/${name}`])).stdout;
  const ini = [
    "[databases]",
    `${database} = host=${names.postgres} port=5432`,
    "[pgbouncer]",
    "listen_addr = *",
    `listen_port = ${port}`,
    "auth_type = scram-sha-256",
    `auth_file = ${CONFIG_DIR}/userlist.txt`,
    "pool_mode = transaction",
    `max_client_conn = ${clients}`,
    `default_pool_size = ${pool}`,
    ...["client", "server"].flatMap((hop) => [
      `${hop}_tls_sslmode = verify-full`,
      `${hop}_tls_ca_file = ${CONFIG_DIR}/ca.crt`,
      `${hop}_tls_cert_file = ${CONFIG_DIR}/${hop}.crt`,
      `${hop}_tls_key_file = ${CONFIG_DIR}/${hop}.key`,
    ]),
    "",
  ].join("\n");
  const contents = {
    "pgbouncer.ini": ini,
    "userlist.txt": `${identifier(ROLES.app)} ${identifier(password)}\n`,
    "ca.crt": readFileSync(sslRootCert, "utf8"),
    "client.crt": await ofOurs("server.crt"),
    "client.key": await ofOurs("server.key"),
    "server.crt": readFileSync(sslCert, "utf8"),
    "server.key": readFileSync(sslKey, "utf8"),
  };
  return Object.fromEntries(
    Object.entries(contents).map(([name, content]) => [name, { content, mode: 0o600 }]),
  ) satisfies Files;
}

/** `docker run` of Debian's PgBouncer on the stack's network, without limits. */
export async function inContainer(docker: Docker, stack: string, outputs: StackOutputs, clients: number, pool: number) {
  const { network } = engineNames(stack);
  const port = 6432;
  const container = await docker.createContainer({
    name: `aiwdb-${stack}-by-hand`,
    Image: imageTag("pgbouncer"),
    Entrypoint: ["pgbouncer", `${CONFIG_DIR}/pgbouncer.ini`],
    HostConfig: { NetworkMode: network },
  });
  const remove = () => container.remove({ force: true, v: true });
  try {
    await container.putArchive(archive(await files(docker, stack, outputs, port, clients, pool), ACCOUNT), {
      path: CONFIG_DIR,
    });
    await container.start();
    const info = await container.inspect();
    const address = info.NetworkSettings.Networks[network]?.IPAddress ?? "";
    return { container: container.id, address, port, remove } satisfies PoolerByHand;
  } catch (error) {
    await remove();
    throw error;
  }
}

/** The same program as a process of this machine, from the image's files. It needs root. */
export async function asProcess(docker: Docker, stack: string, outputs: StackOutputs, clients: number, pool: number) {
  const { postgres, network } = engineNames(stack);
  const root = mkdtempSync(path.join(tmpdir(), "aiwdb-by-hand-"));
  chmodSync(root, 0o755); // the keys lie in a folder of the account's own
  const log = path.join(root, "log");
  const port = await freePort();
  let child: ChildProcess | undefined;
  const remove = async () => {
    if (child && child.exitCode === null) {
      const ended = once(child, "exit");
      child.kill("SIGQUIT"); // at once
      await ended;
    }
    rmSync(root, { recursive: true, force: true });
  };
  try {
    const container = await docker.createContainer({ Image: imageTag("pgbouncer"), Entrypoint: ["true"] });
    try {
      const tar = path.join(root, "image.tar");
      await pipeline(await container.export(), createWriteStream(tar));
      execFileSync("tar", ["-xf", tar, "-C", root]);
      rmSync(tar);
    } finally {
      await container.remove({ v: true });
    }
    const { NetworkSettings } = await docker.getContainer(postgres).inspect();
    writeFileSync(path.join(root, "etc/hosts"), `${NetworkSettings.Networks[network]?.IPAddress ?? ""} ${postgres}\n`);
    const folder = path.join(root, CONFIG_DIR);
    const config = await files(docker, stack, outputs, port, clients, pool);
    for (const [name, { content, mode }] of Object.entries(config))
      writeFileSync(path.join(folder, name), content, { mode });
    execFileSync("chown", ["-R", `${ACCOUNT}:${ACCOUNT}`, folder]);
    child = spawn(
      "/usr/sbin/chroot",
      [`--userspec=${ACCOUNT}:${ACCOUNT}`, root, "pgbouncer", `${CONFIG_DIR}/pgbouncer.ini`],
      {
        stdio: ["ignore", "ignore", openSync(log, "w")],
      },
    );
    const started = await until(async () => (await listens(port)) || undefined, { deadlineMs: 10_000, everyMs: 50 });
    if (!started) throw new Error(`PgBouncer does not start: ${readFileSync(log, "utf8")}`);
    const { IPAM } = (await docker.getNetwork(network).inspect()) as Docker.NetworkInspectInfo;
    return { address: IPAM?.Config?.[0]?.["Gateway"] ?? "", port, remove } satisfies PoolerByHand;
  } catch (error) {
    await remove();
    throw error;
  }
}

async function listens(port: number): Promise<boolean> {
  const socket = net.connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false; // it has not begun to listen yet; the caller says so if it never does
  } finally {
    socket.destroy();
  }
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  server.close();
  return port;
}
