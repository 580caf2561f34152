import { randomBytes, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { chmodSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import {
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type Server,
  type ServerOptions,
} from "node:http";
import type { AddressInfo, ListenOptions } from "node:net";
import { isAbsolute } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { z } from "zod";
import { CLIENT_ROLES } from "../database/access/roles.ts";
import { hasCode, messageOf, type Problem, UserError } from "../base/errors.ts";
import { createHeld, dropByName, keepByName, listDatabases, renewByName } from "./databases/by-name.ts";
import { isPrintable, LABEL_MAX, lengthOf } from "./databases/labels.ts";
import type { Report } from "../base/progress.ts";
import { replaceFile } from "../base/text-file.ts";
import { boundPort, serverFiles } from "./description/files.ts";

/** Seconds until a database that was taken over HTTP is dropped. A caller that names a process gets no such limit. */
export const HTTP_TTL_SEC = 600;

const label = (max: number) =>
  z
    .string()
    .refine((text) => lengthOf(text) <= max, { message: `is longer than ${max} characters` })
    .refine(isPrintable, { message: "holds control characters, or half of a surrogate pair" });

const takeRequest = z.strictObject({
  label: label(LABEL_MAX).default(""),
  run: label(64).default(""),
  role: z.enum(CLIENT_ROLES).default("app_user"),
  mode: z.enum(["direct", "transaction"]).default("direct"),
  phase: z.literal([1, 2, 3, 4]).optional(),
  seed: z
    .string()
    .refine(isAbsolute, { message: "is no absolute path, and this process is in another folder than its caller" })
    .refine((file) => !file.includes("\0"), { message: "holds a NUL character" })
    .optional(),
  /** Whether the database has an owner of its own. `url` and `env` are then that role's. */
  owner: z.boolean().default(false),
  /** Process of this machine. The database is dropped when it ends. */
  pid: z.number().int().positive().optional(),
  ttlSec: z.number().int().min(1).max(86_400).optional(),
});

/**
 * Milliseconds that a request's headers and the whole request may take to arrive. There must be limits, because every
 * user of this machine may connect. https://nodejs.org/api/http.html#httpcreateserveroptions-requestlistener
 */
const LIMITS: ServerOptions = { headersTimeout: 10_000, requestTimeout: 30_000, connectionsCheckingInterval: 1_000 };
/** Connections that the loopback port accepts. The socket has no such limit, because only this user can open it. */
const PORT_CONNECTIONS = 512;

/** Why a request is refused before its token is looked at; undefined if it is not. */
type Refuse = (request: IncomingMessage) => Problem | undefined;

interface ApiOptions {
  /** Name of the server for tests. */
  readonly name: string;
  /** Loopback port of the API; 0 for any free one. @default - no port, only the socket */
  readonly port?: number | undefined;
  readonly report: Report;
  readonly limits?: ServerOptions;
}

/**
 * Serves the API for programs in other languages, at a Unix socket that only this user may open. If `port` is given, it
 * also serves a loopback port. Both ask for the token of the token file. docs/test-databases.md has the paths.
 */
export async function serveHttp({ name, port, report, limits = LIMITS }: ApiOptions) {
  const { socket, token: tokenFile } = serverFiles(name);
  const token = tokenOf(tokenFile);
  const create = (refuse: Refuse) =>
    createServer(limits, (request, response) => {
      handle({ name, token, refuse }, request)
        .catch((error: unknown): Answer => {
          if (error instanceof UserError) return refusal(error);
          report(`request failed: ${messageOf(error)}`);
          return refusal(new RequestError(500, messageOf(error)));
        })
        .then(({ status, body, headers }) => {
          response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store", ...headers });
          response.end(body === undefined ? "" : `${JSON.stringify(body)}\n`);
        })
        .catch((error: unknown) => report(`answer failed: ${messageOf(error)}`));
    });
  // Node removes a socket's path when its server ends, and that may be after a new server has begun. So the socket gets
  // a path of its own first, and is then renamed.
  const own = `${socket}.${process.pid}`;
  rmSync(own, { force: true });
  const local = await listen(create(ofPage), { path: own });
  chmodSync(own, 0o600);
  renameSync(own, socket);
  const closing = new AbortController();
  const createTcp = () => create((request) => ofPage(request) ?? ofOtherHost(request));
  const opening = port === undefined ? undefined : openPort(name, port, createTcp, report, closing.signal);
  return {
    async close(): Promise<void> {
      closing.abort();
      await Promise.all([local, await opening].map((server) => server && end(server)));
    },
  };
}

async function end(server: Server): Promise<void> {
  const ended = once(server, "close");
  server.close();
  server.closeAllConnections();
  await ended;
}

/** The API's token. It is made once for a server, and stays the same when the keeper is restarted. */
function tokenOf(file: string): string {
  try {
    writeFileSync(file, randomBytes(32).toString("base64url"), { mode: 0o600, flag: "wx" });
  } catch (error) {
    if (!hasCode(error, "EEXIST")) throw error;
  }
  const token = readFileSync(file, "utf8");
  if (/^[\w-]{43}$/.test(token)) return token;
  rmSync(file, { force: true }); // a process that was killed wrote only a part of it
  return tokenOf(file);
}

/** Milliseconds until a port that was taken is tried again. */
const PORT_AGAIN_MS = 500;

/**
 * Opens the loopback port. It tries again as long as the port is taken, because the keeper before this one may still
 * have it. The socket and the pool do not wait for the port. With `wanted` 0, a keeper takes the port of the one before
 * it.
 *
 * @returns undefined if `signal` is aborted before the port is open
 */
async function openPort(
  name: string,
  wanted: number,
  create: () => Server,
  report: Report,
  signal: AbortSignal,
): Promise<Server | undefined> {
  for (let told = false; !signal.aborted; told = true) {
    const port = wanted === 0 ? (boundPort(name) ?? 0) : wanted;
    try {
      const tcp = await listen(create(), { host: "127.0.0.1", port });
      tcp.maxConnections = PORT_CONNECTIONS;
      const bound = (tcp.address() as AddressInfo).port;
      replaceFile(serverFiles(name).port, String(bound));
      report(`HTTP API on http://127.0.0.1:${bound}`);
      return tcp;
    } catch (error) {
      if (!told) report(`HTTP API, port ${port}: ${messageOf(error)}; trying again`);
    }
    await wait(PORT_AGAIN_MS, undefined, { signal }).catch(() => {});
  }
  return undefined;
}

async function listen(server: Server, where: ListenOptions): Promise<Server> {
  await once(server.listen(where), "listening");
  server.on("error", () => {}); // a connection that could not be accepted
  return server;
}

interface Answer {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: OutgoingHttpHeaders;
}

/** The error for a request that is refused, with all its problems. */
class RequestError extends UserError {
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;

  constructor(
    status: number,
    summary: string,
    problems: Problem | readonly Problem[] = [],
    headers: OutgoingHttpHeaders = {},
  ) {
    super(summary, problems);
    this.status = status;
    this.headers = headers;
  }
}

/** The answer to a request that failed. Other errors for the user are about the state of the server: status 409. */
function refusal(error: UserError): Answer {
  const { message, problems } = error;
  const { status, headers } = error instanceof RequestError ? error : { status: 409, headers: {} };
  // The API does not read the rest of such a request, so the connection ends.
  const connection = status === 409 || status === 404 ? {} : { connection: "close" };
  return { status, body: { error: { message, problems } }, headers: { ...headers, ...connection } };
}

/** Refuses web pages. Browsers send the page's origin; other programs send none. */
function ofPage({ headers }: IncomingMessage): Problem | undefined {
  return headers.origin === undefined ? undefined : { subject: "Origin", problem: "web pages are not served" };
}

/** Refuses other host names. A page whose name leads to this machine (DNS rebinding) sends that name as its host. */
function ofOtherHost({ headers }: IncomingMessage): Problem | undefined {
  return /^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/.test(headers.host ?? "")
    ? undefined
    : { subject: "Host", problem: "must be 127.0.0.1 or localhost" };
}

interface Service {
  readonly name: string;
  readonly token: string;
  readonly refuse: Refuse;
}

async function handle({ name, token, refuse }: Service, request: IncomingMessage): Promise<Answer> {
  const refused = refuse(request);
  if (refused) throw new RequestError(403, "The request is refused.", refused);
  if (!allowed(token, request.headers.authorization)) {
    throw new RequestError(401, "The token is missing or wrong.", {
      subject: "Authorization",
      problem: `must be "Bearer" and the content of ${serverFiles(name).token}`,
    });
  }
  const { method = "", url: target = "/" } = request;
  const nothing = `There is no ${method} ${target}.`;
  const [path, database, action] = /^\/v1\/databases(?:\/([^/?]+)(?:\/(renew|keep))?)?$/.exec(target) ?? [];
  if (path === undefined) throw new RequestError(404, nothing);
  const methods = methodsOf(name, request, database, action);
  const answer = methods[method];
  if (answer) return answer();
  const allow = Object.keys(methods).join(", ");
  throw new RequestError(405, nothing, { subject: "method", problem: `must be ${allow}` }, { allow });
}

function methodsOf(
  name: string,
  request: IncomingMessage,
  database: string | undefined,
  action: string | undefined,
): Readonly<Record<string, () => Promise<Answer>>> {
  if (database === undefined) {
    return {
      GET: async () => ({ status: 200, body: await listDatabases(name) }),
      POST: () => take(name, request),
    };
  }
  if (action === "renew") return { POST: () => done(renewByName(name, database, HTTP_TTL_SEC)) };
  if (action === "keep") return { POST: () => done(keepByName(name, database, "kept by HTTP")) };
  return { DELETE: () => done(dropByName(name, database)) };
}

/** @param work tells whether there is such a database */
async function done(work: Promise<boolean>): Promise<Answer> {
  if (!(await work)) throw new RequestError(404, "There is no such test database.");
  return { status: 204 };
}

async function take(name: string, request: IncomingMessage): Promise<Answer> {
  const { success, data: options, error } = takeRequest.safeParse(await readJson(request));
  if (!success) throw unusable(error.issues.flatMap(problemsOf));
  const ttlSec = options.ttlSec ?? (options.pid === undefined ? HTTP_TTL_SEC : undefined);
  const held = await createHeld(name, { ...options, ttlSec });
  // If the caller has hung up, nobody knows the database's name.
  if (request.socket.destroyed) await dropByName(name, held.name);
  return { status: 201, body: held };
}

function problemsOf(issue: z.core.$ZodIssue): Problem[] {
  if (issue.code === "unrecognized_keys") return issue.keys.map((key) => ({ subject: key, problem: "is no option" }));
  return [{ subject: issue.path.join(".") || "body", problem: issue.message }];
}

const unusable = (problems: Problem | readonly Problem[], status = 400) =>
  new RequestError(status, "The request is not usable.", problems);

function allowed(token: string, header: string | undefined): boolean {
  const given = Buffer.from(header ?? "");
  const wanted = Buffer.from(`Bearer ${token}`);
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

const BODY_MAX_BYTES = 65_536;

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let length = 0;
  // Not `for await`: to leave its loop early would end the connection before the answer is sent.
  await new Promise<void>((resolve, reject) => {
    request.on("data", (chunk: Buffer) => {
      length += chunk.length;
      if (length <= BODY_MAX_BYTES) chunks.push(chunk);
      else reject(unusable({ subject: "body", problem: "is longer than 64 KiB" }, 413));
    });
    request.on("end", resolve);
    const brokenOff = () => reject(new RequestError(400, "The request was broken off."));
    request.on("error", brokenOff);
    request.on("close", brokenOff);
  });
  if (length === 0) return {};
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks)));
  } catch {
    throw unusable({ subject: "body", problem: "is no JSON in UTF-8" });
  }
}
