import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll } from "vitest";
import { boundPort, serverFiles } from "../../testing/description/files.ts";
import { listDatabases } from "../../testing/databases/by-name.ts";
import { closeTestDatabases } from "../../testing/databases/test-database.ts";
import { SERVER_VARIABLE } from "../../testing/description/server.ts";
import { aiwdb, mustSucceed, ownHome, until } from "./testdb.ts";

interface Answer {
  readonly status: number;
  readonly body: any;
  readonly headers: NodeJS.Dict<string | string[]>;
}

/** A local server for the tests of one file, whose HTTP API also listens at a port, with functions that call it. */
export function httpServer(name: string) {
  /** For seeds. */
  const folder = mkdtempSync(path.join(tmpdir(), "aiwdb-seeds-"));
  let home: { remove(): void };
  beforeAll(async () => {
    home = ownHome();
    process.env[SERVER_VARIABLE] = name;
    mustSucceed(await aiwdb(["testdb", "start", "--engine", "local", "--port", "0"]));
  });
  afterAll(async () => {
    await closeTestDatabases();
    mustSucceed(await aiwdb(["testdb", "stop"]));
    rmSync(folder, { recursive: true, force: true });
    home.remove();
  });

  const token = () => readFileSync(serverFiles(name).token, "utf8");
  function call(
    method: string,
    where: string,
    body?: unknown,
    { headers = {}, tcp = false }: { headers?: Record<string, string>; tcp?: boolean } = {},
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const message = request(
        {
          ...(tcp ? { host: "127.0.0.1", port: boundPort(name) } : { socketPath: serverFiles(name).socket }),
          method,
          path: where,
          headers: { authorization: `Bearer ${token()}`, ...headers },
        },
        (response) => {
          let text = "";
          response.on("data", (chunk: Buffer) => (text += chunk.toString("utf8")));
          response.on("end", () =>
            resolve({
              status: response.statusCode ?? 0,
              body: text === "" ? undefined : JSON.parse(text),
              headers: response.headers,
            }),
          );
        },
      );
      message.on("error", reject);
      message.end(
        body === undefined || typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body),
      );
    });
  }
  const take = (body: unknown) => call("POST", "/v1/databases", body);
  /** Waits until nobody holds a database. A refused request must leave none behind. */
  const nothingHeld = () =>
    until(
      () => listDatabases(name),
      (databases) => databases.every(({ state }) => state === "ready" || state === "creating"),
    );
  return { folder, token, call, take, nothingHeld };
}

/** What a server answers to raw bytes, up to the end of the connection. */
export function raw(bytes: string | Buffer, to: { path: string } | { host: string; port: number }): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    const socket = connect(to as never, () => socket.write(bytes));
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    socket.on("error", () => {}); // it may be cut while this still writes
    socket.on("close", () => resolve(text));
  });
}

export const subjects = ({ body }: Answer) =>
  (body.error.problems as { subject: string }[]).map(({ subject }) => subject);
