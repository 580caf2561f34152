import type Docker from "dockerode";
import { engineNames } from "../../infra/names.ts";
import { readIdentity } from "../../infra/provider/engine.ts";
import { PGBOUNCER_CONFIG_DIR } from "../../infra/render/pgbouncer-ini.ts";
import { POSTGRES_CONFIG_DIR } from "../../infra/render/postgresql-conf.ts";
import { type Problem, StateError } from "../../toolchain/errors.ts";
import { ensureImage } from "../../toolchain/images.ts";
import { isNew, type KnownState } from "./backend.ts";
import { resourcesOf, TYPES } from "./engine-damage.ts";
import { type EngineObjects, listObjects } from "./engine-objects.ts";

/**
 * Whose the objects of a stack's name on the engine are: nobody's ("free"), this state's ("mine"), another state's, which says
 * who made it, or nobody can tell ("unknown"). "data": there is only a volume with data, and this state knows nothing of it.
 */
export type Ownership =
  | { readonly kind: "free" | "data" | "unknown" }
  | {
      readonly kind: "mine";
      /** What the stack on the engine says, where the state has no identity yet: the state's is to be the same. */
      readonly identity?: string;
    }
  | { readonly kind: "another"; readonly madeBy: string };

/**
 * Finds out whose stack is on the engine. The identity decides that every state writes into its volumes of configuration and on
 * its network. Releases before wrote none; there, and for a state of such a release, the random ids of containers and networks do
 * that the state has.
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
  const isNamed = [...servers, ...objects.networks].some(({ id }) => known.has(id));
  const own = resourcesOf(state).find(({ type }) => type === TYPES.identity)?.id;
  const found = await findIdentity(docker, stack, objects, report);
  if (found !== undefined) {
    const [id, ...madeBy] = found.trim().split(" ");
    if (id === own) return { kind: "mine" };
    return own === undefined && isNamed
      ? { kind: "mine", identity: found.trim() }
      : { kind: "another", madeBy: madeBy.join(" ") };
  }
  if (isNamed) return { kind: "mine" };
  if (servers.length + objects.networks.length > 0) return { kind: "unknown" };
  // Volumes have names for ids, which every state of the stack's name knows.
  const hasData = objects.volumes.includes(engineNames(stack).dataVolume);
  return { kind: hasData && isNew(state) && !hasBegunVolumes(state) ? "data" : "free" };
}

/** Whether a first run was killed while it made volumes: they are there, empty, and not in its state. */
const hasBegunVolumes = (state: KnownState): boolean =>
  state.kind === "recorded" && Boolean(state.pending?.some((urn) => urn.includes(`${TYPES.volume}::`)));

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
  state: KnownState,
  ownership: Ownership,
  remedy: string,
): Promise<StateError> {
  const { containers, networks, volumes } = await listObjects(docker, stack);
  const forget = `To forget your own state of it, and nothing else: \`aiwdb pulumi --stack ${stack} -- stack rm --force --yes\`.`;
  const problem: Problem = {
    subject: [...[...containers, ...networks].map(({ name }) => name), ...volumes].join(", "),
    problem: describeOwner(ownership),
    remedy:
      `Leave it to its owner, and choose another name by --stack. ${remedy} ${state.kind === "none" ? "" : forget}`.trim(),
  };
  return new StateError(`Stack "${stack}" on this engine is not the one of your state; nothing has been changed:`, [
    problem,
  ]);
}

/** Whose it is, as a sentence goes on after its names. */
export function describeOwner(ownership: Ownership): string {
  if (ownership.kind === "another") return `belong to a state that is not here, made by ${ownership.madeBy}`;
  return ownership.kind === "data"
    ? "hold data, and your state knows nothing of them"
    : "are of a release that did not write down whose they are, and your state does not know them";
}
