import type Docker from "dockerode";
import type { Report } from "../base/progress.ts";
import type { StackConfig } from "../infra/settings/table.ts";
import { reconnect } from "../infra/servers/pgbouncer/console.ts";
import { poolerOf } from "../infra/settings/listeners.ts";

/**
 * Has the pooler renew its server connections: old ones have plans of tables as they were, or lead to a server that is
 * gone. Warns the user where the pooler does not.
 */
export async function renewConnections(docker: Docker, config: StackConfig, warn: Report): Promise<void> {
  const pooler = poolerOf(config);
  const refused = await reconnect(docker, pooler);
  if (refused !== undefined) warn(`${pooler.container} did not renew its server connections (${refused}): restart it`);
}
