import type Docker from "dockerode";
import { engineNames } from "../../infra/names.ts";
import { readIdentity } from "../../infra/provider/engine.ts";
import { PGBOUNCER_CONFIG_DIR } from "../../infra/render/pgbouncer-ini.ts";
import { POSTGRES_CONFIG_DIR } from "../../infra/render/postgresql-conf.ts";
import { type Problem, StateError } from "../../toolchain/errors.ts";
import { ensureImage } from "../../toolchain/images.ts";
import type { KnownState } from "./backend.ts";
import { resourcesOf, TYPES } from "./engine-damage.ts";
import { type EngineObjects, listObjects } from "./engine-objects.ts";

/**
 * Whose the objects of a stack's name on the engine are: nobody's ("free"), this state's ("mine"), another state's, which says
 * who made it, or nobody can tell ("unknown").
 */
export type Ownership =
  | { readonly kind: "free" | "mine" | "unknown" }
  | { readonly kind: "another"; readonly madeBy: string };

/**
 * Finds out whose stack is on the engine. The state that has the random id of a container or network of it is the stack's; of
 * others, the identity decides that every state writes into its volumes of configuration and on its network. Releases before
 * that wrote none.
 */
export async function readOwnership(
  docker: Docker,
  stack: string,
  state: KnownState,
  report: (line: string) => void,
): Promise<Ownership> {
  const objects = await listObjects(docker, stack);
  const servers = objects.containers.filter(({ isHelper }) => !isHelper);
  const known = new Set(resourcesOf(state).flatMap(({ id }) => (id === undefined ? [] : [id])));
  if ([...servers, ...objects.networks].some(({ id }) => known.has(id))) return { kind: "mine" };
  const found = await findIdentity(docker, stack, objects, report);
  if (found !== undefined) {
    const [id, ...madeBy] = found.trim().split(" ");
    const own = resourcesOf(state).find(({ type }) => type === TYPES.identity)?.id;
    return id === own ? { kind: "mine" } : { kind: "another", madeBy: madeBy.join(" ") };
  }
  // Volumes have names for ids, which every state knows; what is in them is asked about before it is used or removed.
  return { kind: servers.length + objects.networks.length === 0 ? "free" : "unknown" };
}

/** What the stack's objects say of themselves: id and maker; undefined where none says anything. */
async function findIdentity(
  docker: Docker,
  stack: string,
  objects: EngineObjects,
  report: (line: string) => void,
): Promise<string | undefined> {
  const names = engineNames(stack);
  const places = [
    [names.postgresConfigVolume, names.postgres, POSTGRES_CONFIG_DIR, "postgres"],
    [names.pgbouncerConfigVolume, names.pgbouncer, PGBOUNCER_CONFIG_DIR, "pgbouncer"],
  ] as const;
  for (const [volume, container, folder, kind] of places) {
    if (!objects.volumes.includes(volume)) continue;
    const exists = objects.containers.some(({ name }) => name === container);
    const read = (by: Docker.Container) => readIdentity(by, folder);
    const found = exists
      ? await read(docker.getContainer(container))
      : await withVolume(docker, volume, folder, kind, read, report);
    if (found !== undefined) return found;
  }
  const stateId = objects.networks.find((network) => network.stateId !== undefined)?.stateId;
  return stateId === undefined ? undefined : `${stateId} somebody else`;
}

/** Reads a volume that no container has, by one that is never started. */
async function withVolume<T>(
  docker: Docker,
  volume: string,
  folder: string,
  kind: "postgres" | "pgbouncer",
  read: (container: Docker.Container) => Promise<T>,
  report: (line: string) => void,
): Promise<T> {
  const { tag } = await ensureImage(kind, { docker, report });
  const container = await docker.createContainer({
    Image: tag,
    Entrypoint: ["true"],
    HostConfig: { Binds: [`${volume}:${folder}:ro`], NetworkMode: "none", CapDrop: ["ALL"] },
  });
  try {
    return await read(container);
  } finally {
    await container.remove({ force: true, v: true });
  }
}

/** What is said to somebody whose state does not know the stack that is there; `remedy` is for one whose state is lost. */
export async function notOurs(
  docker: Docker,
  stack: string,
  ownership: Ownership,
  remedy: string,
): Promise<StateError> {
  const { containers, networks, volumes } = await listObjects(docker, stack);
  const problem: Problem = {
    subject: [...[...containers, ...networks].map(({ name }) => name), ...volumes].join(", "),
    problem: describeOwner(ownership),
    remedy: `Leave it to its owner, and choose another name by --stack. ${remedy}`,
  };
  return new StateError(`Stack "${stack}" on this engine is not the one of your state; nothing has been changed:`, [
    problem,
  ]);
}

/** Whose it is, as a sentence goes on after its names. */
export function describeOwner(ownership: Ownership): string {
  return ownership.kind === "another"
    ? `belong to a state that is not here, made by ${ownership.madeBy}`
    : "are of a release that did not write down whose they are, and your state does not know them";
}
