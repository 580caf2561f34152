import { readFileSync, realpathSync } from "node:fs";
import Docker from "dockerode";
import pg from "pg";
import { inject } from "vitest";
import { engineNames } from "../../infra/settings/names.ts";
import { clientConfig as configOf } from "../../database/connection.ts";
import { exec, type ExecResult } from "../../toolchain/engine/containers.ts";
import { until } from "../../base/retry.ts";
import type { StackOutputs } from "../../stack/session.ts";
import { type CONSOLE, connectionFor, type Mode } from "../../stack/connections.ts";
import type { KeyPair } from "../../certs/verify.ts";

type Way = Mode | typeof CONSOLE;
type Tls = Exclude<pg.ClientConfig["ssl"], boolean | undefined>;

/** What a test changes about a connection that would otherwise work. */
export interface Change extends Omit<pg.ClientConfig, "ssl"> {
  readonly ssl?: Tls | false;
  /** Another certificate; null for none. */
  readonly certificate?: KeyPair | null;
  readonly outputs?: StackOutputs;
}

/** Settings of a client that connects as a role over mTLS. */
export function clientConfig(role: string, mode: Way, change: Change = {}): pg.ClientConfig {
  const { ssl, certificate, outputs, ...rest } = change;
  const connection = connectionFor(outputs ?? inject("stack").outputs, role, mode);
  // A name given at login would hide what a role or the pooler sets.
  const { ssl: verified, application_name: _name, ...config } = configOf(connection, "");
  if (ssl === false) return { ...config, ...rest };
  const { cert: _cert, key: _key, ...server } = verified as Tls;
  const own = certificate ?? readPair(connection.sslCert, connection.sslKey);
  const client = certificate === null ? {} : { cert: own.certPem, key: own.keyPem };
  return { ...config, ssl: { ...server, ...client, ...ssl }, ...rest };
}

/** A certificate and its key. Both come from one version of the files, even while `up` replaces them. */
function readPair(certificate: string, key: string): KeyPair {
  for (;;) {
    const folder = realpathSync(certificate);
    const pair = { certPem: readFileSync(certificate, "utf8"), keyPem: readFileSync(key, "utf8") };
    if (realpathSync(certificate) === folder) return pair;
  }
}

/** A connected client. */
export async function open(role: string, mode: Way, change?: Change): Promise<pg.Client> {
  const client = new pg.Client(clientConfig(role, mode, change));
  client.on("error", () => {}); // a test that cuts the connection off sees it at the next query
  try {
    await client.connect();
  } catch (error) {
    client.end().catch(() => {}); // not awaited: after a refusal inside TLS it never settles
    throw error;
  }
  return client;
}

/** Connects several clients at once. */
export const times = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

/** Runs one query as a role and returns its rows. */
export async function query<Row extends pg.QueryResultRow>(
  role: string,
  mode: Way,
  sql: string,
  change?: Change,
): Promise<Row[]> {
  const client = await open(role, mode, change);
  try {
    return (await client.query<Row>(sql)).rows;
  } finally {
    await client.end();
  }
}

/** Code and message of the error that a promise is rejected with. Fails if the promise is fulfilled. */
export async function refusal(work: Promise<unknown>): Promise<string> {
  let value: unknown;
  try {
    value = await work;
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return `${code ?? "-"}: ${message}`;
  }
  if (value instanceof pg.Client) await value.end();
  throw new Error("it was not refused");
}

/** A superuser's connection, with which a test cleans up. */
export async function asSuperuser<T>(work: (client: pg.Client) => Promise<T>, database?: string): Promise<T> {
  const client = await open("postgres", "direct", database === undefined ? {} : { database });
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

export const docker = () => new Docker();
export type Service = "postgres" | "pgbouncer" | "maintenance";
export const containerName = (service: Service, stack: string = inject("stack").name) => engineNames(stack)[service];

/** Runs a shell line in one of the stack's containers. */
export function shell(service: Service, line: string): Promise<ExecResult> {
  return exec(docker(), containerName(service), ["sh", "-c", line]);
}

/** When a container's main process started. */
export async function startedAt(service: "postgres" | "pgbouncer", stack?: string): Promise<string> {
  return (await docker().getContainer(containerName(service, stack)).inspect()).State.StartedAt;
}

/** Everything that a container wrote to its log since a time. */
export async function log(container: string, since = new Date(0)): Promise<string> {
  const raw = (await docker()
    .getContainer(container)
    .logs({ stdout: true, stderr: true, since: since.getTime() / 1_000 })) as unknown as Buffer;
  return raw.toString("utf8");
}

/** Waits until `attempt` returns without an error and returns what it returned. */
export async function eventually<T>(attempt: () => Promise<T>, deadlineMs = 60_000): Promise<T> {
  let last: unknown;
  const found = await until(
    async () => {
      try {
        return { value: await attempt() };
      } catch (error) {
        last = error;
        return undefined;
      }
    },
    { deadlineMs, everyMs: 50 },
  );
  if (!found) throw new Error(`not within ${deadlineMs} ms`, { cause: last });
  return found.value;
}
