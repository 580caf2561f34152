import { randomBytes, timingSafeEqual } from "node:crypto";
import { chmodSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import { setTimeout as wait } from "node:timers/promises";
import { z } from "zod";
import { CLIENT_ROLES } from "../infra/names.ts";
import { messageOf, UserError } from "../toolchain/errors.ts";
import { createHeld, dropByName, keepByName, listDatabases, renewByName } from "./holders.ts";
import { replaceFile, serverFiles } from "./server.ts";

/** Seconds a database taken over HTTP lives without being renewed, unless its process is named. */
export const HTTP_TTL_SEC = 600;

const takeRequest = z.strictObject({
  label: z.string().max(200).default(""),
  run: z.string().max(64).default(""),
  role: z.enum(CLIENT_ROLES).default("app_user"),
  mode: z.enum(["direct", "transaction"]).default("direct"),
  phase: z.union([z.literal(1), z.literal(2), z.literal(3), z.literal(4)]).optional(),
  seed: z.string().optional(),
  /** A role of its own that owns the database; `url` and `env` are that role's. */
  owner: z.boolean().default(false),
  /** Process of this machine that has it; it is dropped when that ends. */
  pid: z.number().int().positive().optional(),
  ttlSec: z.number().int().min(1).max(86_400).optional(),
});

interface HttpApi {
  close(): Promise<void>;
}

/**
 * The API for programs in other languages: a Unix socket that only this user may open and, if asked for, a loopback port.
 * Both want the token of the token file. See docs/test-databases.md for the paths.
 */
export async function serveHttp({
  name,
  port,
  report,
}: {
  name: string;
  port?: number | undefined;
  report: (line: string) => void;
}): Promise<HttpApi> {
  const files = serverFiles(name);
  const token = tokenOf(files.token);
  const handler = (request: IncomingMessage, response: ServerResponse) => {
    handle(name, token, request)
      .catch((error: unknown): Answer => {
        if (error instanceof z.ZodError) {
          return {
            status: 400,
            body: {
              error: {
                message: "The request is not usable.",
                problems: error.issues.map(({ path, message }) => ({ subject: path.join("."), problem: message })),
              },
            },
          };
        }
        if (error instanceof UserError)
          return { status: 409, body: { error: { message: error.message, problems: error.problems } } };
        report(`request failed: ${messageOf(error)}`);
        return { status: 500, body: { error: { message: messageOf(error), problems: [] } } };
      })
      .then(({ status, body }) => {
        response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" });
        response.end(body === undefined ? "" : `${JSON.stringify(body)}\n`);
      })
      .catch((error: unknown) => report(`answer failed: ${messageOf(error)}`));
  };
  // Under a name of its own first: a server that ends removes the path it was bound to, and may end after its successor began.
  const own = `${files.socket}.${process.pid}`;
  rmSync(own, { force: true });
  const servers: Server[] = [await listen(createServer(handler), { path: own })];
  chmodSync(own, 0o600);
  renameSync(own, files.socket);
  const closing = new AbortController();
  const opening = port === undefined ? undefined : openPort(name, port, handler, report, closing.signal);
  return {
    async close() {
      closing.abort();
      const tcp = await opening;
      if (tcp) servers.push(tcp);
      await Promise.all(
        servers.map(
          (server) =>
            new Promise<void>((resolve) => {
              server.close(() => resolve());
              server.closeAllConnections();
            }),
        ),
      );
    },
  };
}

/** The loopback port of a running server's HTTP API; undefined where there is none. */
export function boundPort(name: string): number | undefined {
  try {
    return Number(readFileSync(serverFiles(name).port, "utf8"));
  } catch {
    return undefined;
  }
}

/** All keepers of one server have the same token, however often they are restarted; it goes with the server. */
function tokenOf(file: string): string {
  try {
    writeFileSync(file, randomBytes(32).toString("base64url"), { mode: 0o600, flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  const token = readFileSync(file, "utf8");
  if (/^[\w-]{43}$/.test(token)) return token;
  rmSync(file, { force: true }); // half written by one that was killed
  return tokenOf(file);
}

const PORT_AGAIN_MS = 500;

/**
 * Opens the loopback port. One that is taken is asked for again, as a predecessor may still have it; the socket and the pool
 * do not wait for it. A keeper that is restarted takes the port its predecessor had.
 */
async function openPort(
  name: string,
  wanted: number,
  handler: RequestListener,
  report: (line: string) => void,
  signal: AbortSignal,
): Promise<Server | undefined> {
  for (let told = false; !signal.aborted; told = true) {
    const port = wanted === 0 ? (boundPort(name) ?? 0) : wanted;
    try {
      const tcp = await listen(createServer(handler), { host: "127.0.0.1", port });
      const bound = (tcp.address() as { port: number }).port;
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

function listen(server: Server, where: { path: string } | { host: string; port: number }): Promise<Server> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(where, () => resolve(server));
  });
}

interface Answer {
  readonly status: number;
  readonly body?: unknown;
}

async function handle(name: string, token: string, request: IncomingMessage): Promise<Answer> {
  const { pathname } = new URL(request.url ?? "/", "http://localhost");
  if (!allowed(token, request.headers.authorization)) {
    return {
      status: 401,
      body: {
        error: {
          message: "The token is missing or wrong.",
          problems: [
            { subject: "Authorization", problem: `must be "Bearer" and the content of ${serverFiles(name).token}` },
          ],
        },
      },
    };
  }
  const [, version, collection, database, action] = pathname.split("/");
  if (version === "v1" && collection === "databases") {
    if (database === undefined && request.method === "GET") return { status: 200, body: await listDatabases(name) };
    if (database === undefined && request.method === "POST") {
      const options = takeRequest.parse(await readJson(request));
      const ttlSec = options.ttlSec ?? (options.pid === undefined ? HTTP_TTL_SEC : undefined);
      return { status: 201, body: await createHeld(name, { ...options, ttlSec }) };
    }
    if (database && action === undefined && request.method === "DELETE") return found(await dropByName(name, database));
    if (database && action === "renew" && request.method === "POST")
      return found(await renewByName(name, database, HTTP_TTL_SEC));
    if (database && action === "keep" && request.method === "POST")
      return found(await keepByName(name, database, "kept by HTTP"));
  }
  return { status: 404, body: { error: { message: `There is no ${request.method} ${pathname}.`, problems: [] } } };
}

function found(exists: boolean): Answer {
  return exists
    ? { status: 204 }
    : { status: 404, body: { error: { message: "There is no such test database.", problems: [] } } };
}

function allowed(token: string, header: string | undefined): boolean {
  const given = Buffer.from(header ?? "");
  const wanted = Buffer.from(`Bearer ${token}`);
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  let text = "";
  for await (const chunk of request as AsyncIterable<Buffer>) {
    text += chunk.toString("utf8");
    if (text.length > 65_536)
      throw new z.ZodError([{ code: "custom", path: [], message: "is longer than 64 KiB", input: undefined }]);
  }
  if (text === "") return {};
  try {
    return JSON.parse(text);
  } catch {
    throw new z.ZodError([{ code: "custom", path: [], message: "is no JSON", input: undefined }]);
  }
}
