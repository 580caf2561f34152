import type Docker from "dockerode";
import { localSql } from "../database/local-sql.ts";
import { hasFailed, inspect } from "../toolchain/engine/containers.ts";
import { until } from "../base/retry.ts";

/** How long a server may recover from a crash before somebody has to look at it. */
const RECOVERY_MS = 120_000;

/**
 * Asks PostgreSQL as its superuser, by its container's own socket. It waits for a server that is starting.
 *
 * @param database where the statement runs
 * @returns what psql prints; undefined where the server does not run, or ends again and again, as it does with settings
 *   that it cannot start with
 * @throws ToolError when it runs and does not answer
 */
export async function askServer(
  docker: Docker,
  container: string,
  sql: string,
  database = "postgres",
): Promise<string | undefined> {
  let failure: unknown;
  const answer = await until(
    async () => {
      const info = await inspect(docker, container);
      if (info?.State.Running !== true || info.State.Paused || info.State.Restarting || hasFailed(info))
        return { text: undefined };
      return localSql(docker, container, sql, { database }).then(
        (text) => ({ text }),
        (error: unknown) => {
          failure = error;
          return undefined;
        },
      );
    },
    { deadlineMs: RECOVERY_MS, everyMs: 500 },
  );
  if (answer === undefined) throw failure;
  return answer.text;
}
