import type Docker from "dockerode";
import { ToolError } from "../base/errors.ts";
import { exec } from "../toolchain/engine/containers.ts";

/**
 * Runs SQL as the superuser over the local socket of PostgreSQL's container, which the network cannot reach.
 *
 * @param signal gives up a server that does not answer; the statement goes on in the container
 * @returns rows without their names, columns parted by `|`
 * @throws ToolError when PostgreSQL refuses a statement
 */
export async function localSql(
  docker: Docker,
  container: string,
  sql: string,
  { database = "postgres", signal }: { readonly database?: string; readonly signal?: AbortSignal } = {},
): Promise<string> {
  const command = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database];
  const { exitCode, stdout, stderr } = await exec(docker, container, command, sql, signal);
  if (exitCode !== 0) throw new ToolError(`PostgreSQL in container ${container} refused a statement: ${stderr.trim()}`);
  return stdout.trim();
}
