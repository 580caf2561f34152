import type Docker from "dockerode";
import { StateError } from "../../base/errors.ts";
import { ROLES } from "../../database/access/roles.ts";
import { pgbouncerConsole } from "../../infra/servers/pgbouncer/console.ts";
import { listeners, type Listener } from "../../infra/settings/listeners.ts";
import { exec } from "../../toolchain/engine/containers.ts";
import { CONSOLE, connectionFor } from "../connections.ts";
import type { StackOutputs } from "../session.ts";
import { ask, inTime } from "./look.ts";

/** A row of a SHOW command: texts by column. */
type ShownRow = Record<string, string>;

/**
 * What a SHOW command says at each of the pooler's processes. Where a role's certificate opens that role's process
 * only, the monitoring role cannot ask the other processes, so that the container's own account asks.
 */
export async function showAtPooler(
  docker: Docker,
  outputs: StackOutputs,
  command: string,
): Promise<{ listener: Listener; rows: ShownRow[] }[]> {
  const bound = outputs.connections.rolePorts !== undefined;
  return Promise.all(
    listeners({ pgbouncerBindCertificates: bound }).map(async (listener) => ({
      listener,
      rows: bound
        ? await showLocally(docker, outputs.connections.containers.pgbouncer, listener.port, command)
        : await showOverTls(outputs, command),
    })),
  );
}

async function showOverTls(outputs: StackOutputs, command: string): Promise<ShownRow[]> {
  const { rows } = await ask(connectionFor(outputs, ROLES.monitor, CONSOLE), (client) =>
    client.query<Record<string, unknown>>(command),
  );
  return rows.map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, String(value ?? "")])));
}

async function showLocally(docker: Docker, container: string, port: number, command: string): Promise<ShownRow[]> {
  const psql = pgbouncerConsole(port, command, "-P", "footer=off", "-F", "\t");
  const { exitCode, stdout, stderr } = await exec(docker, container, psql, undefined, inTime());
  if (exitCode !== 0) throw new StateError(`${container} does not answer on port ${port}: ${stderr.trim()}`);
  const lines = stdout.split("\n").filter((line) => line !== "");
  const [names = [], ...rows] = lines.map((line) => line.split("\t"));
  return rows.map((values) => Object.fromEntries(names.map((name, index) => [name, values[index] ?? ""])));
}
