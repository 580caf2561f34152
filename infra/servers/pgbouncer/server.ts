import path from "node:path";
import { StateError } from "../../../base/errors.ts";
import { PACKAGE_ROOT } from "../../../base/versions.ts";
import { exec } from "../../../toolchain/engine/containers.ts";
import { listeners } from "../../settings/listeners.ts";
import { engineNames } from "../../settings/names.ts";
import type { Files, RunningServer, Server } from "../server.ts";
import { pgbouncerConsole, reconnect } from "./console.ts";
import { PGBOUNCER_CONFIG_DIR, readPgbouncerIni, renderPgbouncerHba, renderPgbouncerIni } from "./ini.ts";

/** How long open transactions may keep a connection that was made with an old certificate before `up` goes on. */
const WAIT_CLOSE_SEC = 15;

/** What each of PgBouncer's processes has been told, by the name of its file. */
const processesOf = (files: Files) =>
  Object.entries(files)
    .filter(([name]) => name.endsWith(".ini"))
    .map(([name, { content }]) => ({ name, ...readPgbouncerIni(content) }));

/**
 * Names of settings that RELOAD would ignore without a word. Only the console knows them. Undefined where the console
 * cannot be asked.
 */
async function readAtStart(
  { docker, container, signal }: RunningServer,
  port: number,
): Promise<ReadonlySet<string> | undefined> {
  const show = pgbouncerConsole(port, "SHOW CONFIG", "-t");
  const { exitCode, stdout, stderr } = await exec(docker, container, show, undefined, signal);
  // disable_pqexec, which earlier releases let through, takes the console away as well.
  if (stderr.includes("PQexec disallowed")) return undefined;
  if (exitCode !== 0) throw new StateError(`${container} does not tell its settings: ${stderr.trim()}`);
  // key|value|default|changeable
  const rows = stdout.split("\n").map((line) => line.split("|"));
  return new Set(rows.filter((columns) => columns.at(-1) === "no").map(([name = ""]) => name));
}

export const pgbouncer: Server = {
  image: "pgbouncer",
  uid: 998,
  folder: PGBOUNCER_CONFIG_DIR,
  rendered: (config) =>
    Object.fromEntries(
      listeners(config).flatMap((listener) => [
        [listener.settingsFile, renderPgbouncerIni(config, engineNames(config.stack).postgres, listener)],
        [listener.hbaFile, renderPgbouncerHba(config, listener)],
      ]),
    ),
  healthCheck: () => ["CMD", "healthcheck"],
  live: {
    tryScript: path.join(PACKAGE_ROOT, "infra/servers/pgbouncer/try.sh"),
    refused: async () => "", // it has no way to ask; RELOAD itself says so
    async needsRestart(server, olds, news) {
      if (olds.restartKey !== news.restartKey) return true;
      const [before, after] = [processesOf(olds.files), processesOf(news.files)];
      if (before.map(({ name }) => name).join() !== after.map(({ name }) => name).join()) return true;
      const changed = after.flatMap(({ settings: now }, index) => {
        const then = before[index]?.settings ?? new Map<string, string>();
        return [...new Set([...then.keys(), ...now.keys()])].filter((name) => then.get(name) !== now.get(name));
      });
      const [first] = before;
      if (first === undefined || changed.length === 0) return false;
      const fixed = await readAtStart(server, first.port);
      return fixed === undefined || changed.some((name) => fixed.has(name));
    },
    async reload({ docker, container, signal }, files) {
      const ports = processesOf(files).map(({ port }) => port);
      for (const port of ports) {
        const result = await exec(docker, container, pgbouncerConsole(port, "RELOAD"), undefined, signal);
        if (result.exitCode !== 0) return result.stderr.trim();
      }
      // Server connections made with the old certificate end when they are released; nobody is cut off.
      const notDone = await reconnect(docker, { container, ports }, signal);
      if (notDone !== undefined)
        throw new StateError(
          `${container} reads its new settings, but did not renew its server connections: ${notDone}`,
        );
      return "";
    },
    // A client in session mode keeps its server connection until it leaves, so only transaction mode is waited for.
    async retire({ docker, container, signal }, files, warn) {
      const late = new Set<string>();
      const waits = processesOf(files).map(async ({ port, transactionEntries }) => {
        for (const database of transactionEntries) {
          const wait = ["timeout", String(WAIT_CLOSE_SEC), ...pgbouncerConsole(port, `WAIT_CLOSE ${database}`)];
          if ((await exec(docker, container, wait, undefined, signal)).exitCode !== 0) late.add(database);
        }
      });
      await Promise.all(waits);
      if (late.size > 0)
        warn(
          `${[...late].join(", ")}: transactions that have been open for more than ${WAIT_CLOSE_SEC} s still use a server connection made with the old certificate; it ends with them`,
        );
    },
  },
};
