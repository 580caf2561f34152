import { type Problem, StateError, UnknownError } from "../../base/errors.ts";
import { ROLES } from "../../database/access/roles.ts";
import { countWaiting } from "../../database/retention.ts";
import { engineClient } from "../../toolchain/engine/client.ts";
import type { Toolchain } from "../../toolchain/set-up.ts";
import { connectionFor } from "../connections.ts";
import type { Session } from "../pulumi-run.ts";
import { readOutputs } from "../session.ts";
import { readStackConfig } from "../settings-file.ts";
import { type CertificateStatus, certificateStatuses, issuedStatuses } from "./certificates.ts";
import { type ContainerStatus, containerStatus, isHealthy } from "./containers.ts";
import { ask, lookNoting, type Unknown } from "./look.ts";
import { type MigrationStatus, migrationStatus } from "./migrations.ts";
import { isBlinding, missingExtensions, obstaclesInPgBouncer, obstaclesInPostgres } from "./obstacles.ts";
import { type PoolStatus, poolStatus } from "./pools.ts";
import { pgbouncerDrift, postgresDrift, type SettingDrift } from "./settings-drift.ts";
import { type ConnectionStatus, tryWaysIn } from "./ways-in.ts";

/** One screen about a stack; the shape of `aiwdb status --json`. */
export interface StackStatus {
  readonly stack: string;
  /** unhealthy: something was found; unknown: nothing was found, but not everything could be looked at. */
  readonly state: "healthy" | "unhealthy" | "unknown";
  readonly healthy: boolean;
  readonly tls: boolean;
  readonly database: string;
  readonly containers: readonly ContainerStatus[];
  readonly connections: readonly ConnectionStatus[];
  readonly pools: readonly PoolStatus[] | Unknown;
  /** What somebody changed by hand. */
  readonly drift: readonly SettingDrift[];
  /** What keeps clients out or from writing: a paused pooler, a freeze, a role that may not log in. */
  readonly obstacles: readonly Problem[];
  readonly migrations: MigrationStatus | Unknown;
  /** Retention policies that wait for the owner's approval; null where there is no such thing yet. */
  readonly policiesWaiting: number | null | Unknown;
  readonly certificates: readonly CertificateStatus[];
  /** What could not be looked at, and why. */
  readonly unknown: readonly Problem[];
}

/** @throws StateError when the stack is not up */
export async function readStatus(session: Session, toolchain: Pick<Toolchain, "engine">): Promise<StackStatus> {
  const outputs = await readOutputs(session);
  const docker = engineClient(toolchain.engine);
  const { connections } = outputs;
  const unknown: Problem[] = [];
  const look = lookNoting(unknown);
  const poolsFirst = look("pools", () => poolStatus(docker, outputs));
  const [containers, reached, pools, drifts, obstructions, migrations, policiesWaiting, certificates] =
    await Promise.all([
      Promise.all(Object.values(connections.containers).map((name) => containerStatus(docker, name, look))),
      // After the look at the pools, which would count these as clients.
      poolsFirst.then(() => tryWaysIn(outputs)),
      poolsFirst,
      Promise.all([
        look("settings of PostgreSQL", () => postgresDrift(outputs)),
        look("settings of PgBouncer", () => pgbouncerDrift(docker, outputs)),
      ]),
      Promise.all([
        look("roles and freeze", () => obstaclesInPostgres(docker, connections)),
        look("pause", () => obstaclesInPgBouncer(docker, outputs)),
        look("extensions", () => missingExtensions(docker, connections, readStackConfig(session.stack).extensions)),
      ]),
      look("migrations", () => migrationStatus(session.stack, outputs)),
      look("retention", () => ask(connectionFor(outputs, ROLES.owner, "direct"), countWaiting)),
      Promise.all([certificateStatuses(connections, look), issuedStatuses(session, look)]),
    ]);
  const tls = reached.every((connection) => connection.tls?.startsWith("TLSv1.") ?? false);
  // A look that failed found nothing. It is in `unknown`.
  const drift = drifts.flatMap((found) => (found === "unknown" ? [] : found));
  const obstacles = obstructions.flatMap((found) => (found === "unknown" ? [] : found));
  const isSound =
    tls &&
    drift.length === 0 &&
    obstacles.every(isBlinding) &&
    containers.every((each) => isHealthy(each, connections));
  const state = isSound ? (unknown.length === 0 ? "healthy" : "unknown") : "unhealthy";
  return {
    stack: session.stack,
    state,
    healthy: state === "healthy",
    tls,
    database: connections.database,
    containers,
    connections: reached,
    pools,
    drift,
    obstacles,
    migrations,
    policiesWaiting,
    certificates: certificates.flat(),
    unknown,
  };
}

/**
 * Fails where a status is not a good one.
 *
 * @param summary the begin of the message, such as `Stack "dev" is`
 * @throws StateError where it is not healthy, UnknownError where not everything could be looked at
 */
export function refuseUnlessHealthy(status: StackStatus, summary: string): void {
  if (status.state === "unhealthy") throw new StateError(`${summary} not healthy; see above.`, [], { result: status });
  if (status.state === "healthy") return;
  const unknown = `${summary} healthy as far as it could be looked at, which is not everything; see above.`;
  throw new UnknownError(unknown, [], { result: status });
}
