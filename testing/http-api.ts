import { randomBytes, timingSafeEqual } from "node:crypto";
import { chmodSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { z } from "zod";
import { CLIENT_ROLES } from "../infra/names.ts";
import { messageOf, UserError } from "../toolchain/errors.ts";
import { createHeld, dropByName, keepByName, listDatabases, renewByName } from "./holders.ts";
import { serverFiles } from "./server.ts";

/** Seconds a database taken over HTTP lives without being renewed, unless its process is named. */
export const HTTP_TTL_SEC = 600;

const takeRequest = z.strictObject({
  label: z.string().max(200).default(""),
  run: z.string().max(64).default(""),
  role: z.enum(CLIENT_ROLES).default("app_user"),
  mode: z.enum(["direct", "transaction"]).default("direct"),
  phase: z.union([z.literal(1), z.literal(2), z.literal(3), z.literal(4)]).optional(),
  seed: z.string().optional(),
  /** Process of this machine that has it; it is dropped when that ends. */
  pid: z.number().int().positive().optional(),
  ttlSec: z.number().int().min(1).max(86_400).optional(),
});

export interface HttpApi {
  readonly port: number | undefined;
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
  const token = randomBytes(32).toString("base64url");
  writeFileSync(files.token, token, { mode: 0o600 });
  chmodSync(files.token, 0o600);
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
  rmSync(files.socket, { force: true });
  const servers: Server[] = [await listen(createServer(handler), { path: files.socket })];
  chmodSync(files.socket, 0o600);
  let bound: number | undefined;
  if (port !== undefined) {
    const tcp = await listen(createServer(handler), { host: "127.0.0.1", port });
    bound = (tcp.address() as { port: number }).port;
    servers.push(tcp);
    report(`HTTP API on http://127.0.0.1:${bound}`);
  }
  return {
    port: bound,
    async close() {
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
