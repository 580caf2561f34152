import { setTimeout as wait } from "node:timers/promises";
import { messageOf } from "../../base/errors.ts";
import { serveHttp } from "../http-api.ts";
import { keep } from "./keeper.ts";
import { openRegistry } from "../pool/registry.ts";
import { readServer } from "../description/server.ts";

export interface DaemonOptions {
  readonly name: string;
  readonly max?: number | undefined;
  /** Loopback port of the HTTP API, besides the socket. @default - none */
  readonly port?: number | undefined;
  readonly report: (line: string) => void;
  readonly signal: AbortSignal;
}

/** How long a server may be away before its keeper gives up. */
const GONE_AFTER_MS = 60_000;

/** The pool's keeper and the HTTP API of one server, until `signal` is aborted or the server is gone for good. */
export async function serve({ name, max, port, report, signal }: DaemonOptions): Promise<void> {
  const api = await serveHttp({ name, port, report });
  let lastSeen = Date.now();
  try {
    while (!signal.aborted && Date.now() - lastSeen < GONE_AFTER_MS) {
      try {
        const registry = await openRegistry(readServer(name));
        lastSeen = Date.now();
        try {
          await keep(registry, { ...(max === undefined ? {} : { max }), report }, signal);
        } finally {
          lastSeen = Date.now();
          await registry.close().catch(() => {}); // its connection may be lost already
        }
      } catch (error) {
        report(messageOf(error));
      }
      if (!signal.aborted) await wait(500, undefined, { signal }).catch(() => {}); // only the signal ends it early
    }
  } finally {
    await api.close();
  }
  report(signal.aborted ? "stopped" : "the server is gone");
}
