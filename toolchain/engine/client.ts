import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { get, type IncomingMessage } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type Docker from "dockerode";
import { ToolError } from "../../base/errors.ts";

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
const ENGINE_QUESTION_MS = 30_000;

/** Whether the engine runs on this machine, which is where the servers are published and reached. */
export function isLocalEngine(host: string): boolean {
  if (host.startsWith("unix://")) return true;
  const name = URL.parse(host.includes("://") ? host : `tcp://${host}`)?.hostname ?? "";
  return name === "localhost" || name === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(name);
}

/**
 * Asks the engine something that it only has to look up, waiting no longer than the limit.
 *
 * @throws ToolError when it does not answer
 */
export async function askWithin<T>(
  question: (options: { abortSignal: AbortSignal }) => Promise<T>,
  timeoutMs: number = ENGINE_QUESTION_MS,
): Promise<T> {
  const abort = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(
        new ToolError("The Docker Engine cannot be used; nothing has been changed:", [
          {
            subject: "Docker Engine",
            problem: `tells its version, but did not answer a question within ${timeoutMs / 1000} s`,
            remedy: "Restart it.",
          },
        ]),
      );
    }, timeoutMs);
  });
  try {
    return await Promise.race([question({ abortSignal: abort.signal }), limit]);
  } finally {
    clearTimeout(timer);
    abort.abort();
  }
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
  const host = env["DOCKER_HOST"];
  if (host === undefined || host === "") return undefined;
  const certPath = env["DOCKER_CERT_PATH"];
  return certPath ? { host, certPath } : { host };
}

/**
 * A client of the engine; all code talks to the engine through one of these.
 *
 * @throws ToolError when the address is of no known kind
 */
export function engineClient(address: EngineAddress | string): Docker {
  // Loaded here: it brings ssh and gRPC with it, which a command that only asks for a sign of life would pay for.
  const Client = require("dockerode") as typeof Docker;
  const { host, certPath } = typeof address === "string" ? { ...engineFromEnv(), host: address } : address;
  const unusable = (problem: string) =>
    new ToolError("No Docker Engine can be used.", [
      { subject: `Docker host ${host}`, problem, remedy: "Use unix:///path, tcp://host:port or ssh://user@host." },
    ]);
  // The library takes what it is not given from DOCKER_HOST, which may be another engine's.
  const none = {
    host: undefined,
    port: undefined,
    socketPath: undefined,
    ca: undefined,
    cert: undefined,
    key: undefined,
  };
  if (host.startsWith("unix://")) {
    const socketPath = host.slice("unix://".length);
    return new Client({ ...none, socketPath, protocol: "http" } as Docker.DockerOptions);
  }
  const url = URL.parse(host.includes("://") ? host : `tcp://${host}`);
  if (url === null) throw unusable("is not an address");
  if (url.protocol === "ssh:") {
    const sshOptions = { agent: process.env["SSH_AUTH_SOCK"] };
    const options = {
      ...none,
      protocol: "ssh",
      host: url.hostname,
      port: url.port || "22",
      username: url.username,
      sshOptions,
    };
    return new Client(options as unknown as Docker.DockerOptions);
  }
  if (!["tcp:", "http:", "https:"].includes(url.protocol)) throw unusable("is of a kind that is not supported");
  const file = (name: string) => {
    const path = join(certPath ?? "", name);
    return certPath !== undefined && existsSync(path) ? readFileSync(path) : undefined;
  };
  const secure = certPath !== undefined || url.protocol === "https:" || process.env["DOCKER_TLS_VERIFY"] === "1";
  return new Client({
    ...none,
    protocol: secure ? "https" : "http",
    host: url.hostname,
    port: url.port || (secure ? "2376" : "2375"),
    ca: file("ca.pem"),
    cert: file("cert.pem"),
    key: file("key.pem"),
  } as Docker.DockerOptions);
}

/** What became of asking an engine whether it is there. */
export type Answer =
  | { readonly state: "answers"; readonly version: string }
  | { readonly state: "absent" }
  | { readonly state: "forbidden" }
  | { readonly state: "silent" }
  | { readonly state: "failed"; readonly message: string };

/** A socket of this machine is asked without the client, which takes longer to load than the answer takes. */
async function askVersion(address: EngineAddress, signal: AbortSignal): Promise<Docker.DockerVersion> {
  if (!address.host.startsWith("unix://")) {
    const docker = engineClient(address);
    // The library's types do not know the option yet.
    const version = docker.version.bind(docker) as unknown as (options: {
      abortSignal: AbortSignal;
    }) => Promise<Docker.DockerVersion>;
    return version({ abortSignal: signal });
  }
  const socketPath = address.host.slice("unix://".length);
  const [response] = (await once(get({ socketPath, path: "/version", signal, agent: false }), "response")) as [
    IncomingMessage,
  ];
  const answer = await text(response);
  if (response.statusCode !== 200) throw new Error(`(HTTP code ${response.statusCode}) ${answer.trim()}`);
  return JSON.parse(answer) as Docker.DockerVersion;
}

/** Asks the engine for its version, waiting no longer than the limit. */
export async function askEngine(address: EngineAddress, timeoutMs = ENGINE_ANSWER_MS): Promise<Answer> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<Answer>((resolve) => (timer = setTimeout(() => resolve({ state: "silent" }), timeoutMs)));
  const abort = new AbortController();
  const question = askVersion(address, abort.signal).then(
    ({ Version }): Answer => ({ state: "answers", version: Version }),
    (error: NodeJS.ErrnoException): Answer => {
      if (error.code === "ENOENT" || error.code === "ECONNREFUSED") return { state: "absent" };
      if (error.code === "EACCES" || error.code === "EPERM") return { state: "forbidden" };
      return { state: "failed", message: error.message };
    },
  );
  try {
    return await Promise.race([question, limit]);
  } finally {
    clearTimeout(timer);
    abort.abort();
  }
}
