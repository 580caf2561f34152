import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type Docker from "dockerode";
import { hasCode, messageOf, ToolError } from "../../base/errors.ts";
import { deferModule } from "../../base/deferred-module.ts";
import { readIfThere } from "../../base/text-file.ts";

const require = createRequire(import.meta.url);

/** Address of a Docker Engine. */
export interface EngineAddress {
  /** As in DOCKER_HOST: `unix:///…`, `tcp://…` or `ssh://…`. */
  readonly host: string;
  /** Folder with ca.pem, cert.pem and key.pem for `tcp://`, as in DOCKER_CERT_PATH. */
  readonly certPath?: string;
}

/** An engine that is asked for a sign of life has this long. */
export const ENGINE_ANSWER_MS = 5_000;

/**
 * An engine answers a question about what is there within this time, also on a busy machine. One that takes longer
 * hangs.
 */
export const ENGINE_QUESTION_MS = 30_000;

const UNIX = "unix://";

/** An address other than a socket's. Without a scheme it is TCP's. */
function urlOf(host: string): URL | null {
  return URL.parse(host.includes("://") ? host : `tcp://${host}`);
}

/** Whether the engine runs on this machine, which is where the servers are published and reached. */
export function isLocalEngine(host: string): boolean {
  if (host.startsWith(UNIX)) return true;
  const name = urlOf(host)?.hostname ?? "";
  return name === "localhost" || name === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(name);
}

/** What the engine is asked for. The signal breaks it off where the library can. */
export type EngineWork<T> = (options: { abortSignal: AbortSignal }) => Promise<T>;

/**
 * Asks the engine for something, and gives up at the limit, whatever the library makes of the signal.
 *
 * @param late gives the result, or throws the error, of an engine that takes longer
 * @param signal gives up earlier. Its reason is thrown.
 */
export async function limited<T>(
  limitMs: number,
  work: EngineWork<T>,
  late: () => T,
  signal?: AbortSignal,
): Promise<T> {
  const limit = AbortSignal.timeout(limitMs);
  const abortSignal = signal ? AbortSignal.any([limit, signal]) : limit;
  abortSignal.throwIfAborted();
  const ended = new Promise<never>((_resolve, reject) =>
    abortSignal.addEventListener("abort", () => reject(abortSignal.reason as Error)),
  );
  try {
    // Asynchronous, so that an error which the library throws at once does not leave `ended` without a listener.
    const answer = async () => work({ abortSignal });
    return await Promise.race([answer(), ended]);
  } catch (error) {
    if (limit.aborted) return late();
    throw error;
  }
}

/**
 * Asks the engine something that it only has to look up, waiting no longer than the limit.
 *
 * @throws ToolError when it does not answer
 */
export function askWithin<T>(question: EngineWork<T>, timeoutMs: number = ENGINE_QUESTION_MS): Promise<T> {
  return limited(timeoutMs, question, () => {
    throw new ToolError("The Docker Engine cannot be used; nothing has been changed:", {
      subject: "Docker Engine",
      problem: `tells its version, but did not answer a question within ${timeoutMs / 1000} s`,
      remedy: "Restart it.",
    });
  });
}

/** The variables by which Docker's own programs and Pulumi's provider find the engine. */
export function engineEnv(address: EngineAddress): Record<string, string> {
  return {
    DOCKER_HOST: address.host,
    ...(address.certPath === undefined ? {} : { DOCKER_CERT_PATH: address.certPath, DOCKER_TLS_VERIFY: "1" }),
  };
}

/** The engine's address as the environment gives it, or undefined. */
export function engineFromEnv(env: NodeJS.ProcessEnv = process.env): EngineAddress | undefined {
  const { DOCKER_HOST: host, DOCKER_CERT_PATH: certPath } = env;
  if (!host) return undefined;
  return certPath ? { host, certPath } : { host };
}

/**
 * A client of the engine; all code talks to the engine through one of these.
 *
 * @throws ToolError when the address is of no known kind
 */
export function engineClient(address: EngineAddress | string): Docker {
  const Client = loadClient();
  const options = clientOptions(typeof address === "string" ? { ...engineFromEnv(), host: address } : address);
  // The library takes what it is not given from DOCKER_HOST, which may be another engine's.
  const none = ["host", "port", "socketPath", "ca", "cert", "key"].map((name) => [name, undefined]);
  return new Client({ ...Object.fromEntries(none), ...options });
}

/**
 * Loads the library when it is needed, and without its ssh and gRPC. Loading them takes most of the time, and only an
 * engine at an ssh:// address and a build with BuildKit need them.
 */
function loadClient(): typeof Docker {
  for (const name of ["docker-modem/lib/ssh", "./session"]) deferModule(require.resolve("dockerode"), name);
  return require("dockerode") as typeof Docker;
}

function clientOptions({ host, certPath }: EngineAddress): object {
  const unusable = (problem: string) =>
    new ToolError("No Docker Engine can be used.", {
      subject: `Docker host ${host}`,
      problem,
      remedy: "Use unix:///path, tcp://host:port or ssh://user@host.",
    });
  if (host.startsWith(UNIX)) return { protocol: "http", socketPath: host.slice(UNIX.length) };
  const url = urlOf(host);
  if (url === null) throw unusable("is not an address");
  const { hostname, port, username, protocol } = url;
  if (protocol === "ssh:") {
    const sshOptions = { agent: process.env["SSH_AUTH_SOCK"] };
    return { protocol: "ssh", host: hostname, port: port || "22", username, sshOptions };
  }
  if (!["tcp:", "http:", "https:"].includes(protocol)) throw unusable("is of a kind that is not supported");
  const secure = certPath !== undefined || protocol === "https:" || process.env["DOCKER_TLS_VERIFY"] === "1";
  const file = (name: string) => (certPath === undefined ? undefined : readIfThere(join(certPath, name)));
  return {
    protocol: secure ? "https" : "http",
    host: hostname,
    port: port || (secure ? "2376" : "2375"),
    ca: file("ca.pem"),
    cert: file("cert.pem"),
    key: file("key.pem"),
  };
}

/** What became of asking an engine whether it is there. */
export type Answer =
  | { readonly state: "answers"; readonly version: string }
  | { readonly state: "absent" | "forbidden" | "silent" }
  | { readonly state: "failed"; readonly message: string };

/** A socket of this machine is asked without the client, which takes longer to load than the answer takes. */
async function askVersion(address: EngineAddress, signal: AbortSignal): Promise<Docker.DockerVersion> {
  if (!address.host.startsWith(UNIX)) {
    const docker = engineClient(address);
    // The library's types do not know the option yet.
    return (docker.version as (options: object) => Promise<Docker.DockerVersion>).call(docker, { abortSignal: signal });
  }
  const socketPath = address.host.slice(UNIX.length);
  const asked = get({ socketPath, path: "/version", signal, agent: false });
  const [response] = (await once(asked, "response")) as [IncomingMessage];
  const answer = await text(response);
  if (response.statusCode !== 200) throw new Error(`(HTTP code ${response.statusCode}) ${answer.trim()}`);
  return JSON.parse(answer) as Docker.DockerVersion;
}

/** Asks the engine for its version, waiting no longer than the limit. */
export function askEngine(address: EngineAddress, timeoutMs = ENGINE_ANSWER_MS): Promise<Answer> {
  const ask: EngineWork<Answer> = async ({ abortSignal }) => {
    try {
      return { state: "answers", version: (await askVersion(address, abortSignal)).Version };
    } catch (error) {
      if (hasCode(error, "ENOENT", "ECONNREFUSED")) return { state: "absent" };
      if (hasCode(error, "EACCES", "EPERM")) return { state: "forbidden" };
      return { state: "failed", message: messageOf(error) };
    }
  };
  return limited(timeoutMs, ask, () => ({ state: "silent" }));
}
