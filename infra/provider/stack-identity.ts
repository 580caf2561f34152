import type Docker from "dockerode";
import { StateError } from "../../base/errors.ts";
import {
  DATA_IDENTITY_FILE,
  engineNames,
  HELPER_LABEL,
  IDENTITY_FILE,
  STACK_LABEL,
  STATE_LABEL,
} from "../settings/names.ts";
import { PGBOUNCER_CONFIG_DIR } from "../servers/pgbouncer/ini.ts";
import { DATA_DIR, POSTGRES_CONFIG_DIR } from "../servers/postgres/conf.ts";
import {
  ACTION_MS,
  CURRENT_VERSION,
  inspect,
  isNotFound,
  readFile,
  within,
} from "../../toolchain/engine/containers.ts";

/** Set by `aiwdb up --reset-passwords` and `aiwdb down --take-over`: the user said that the other state is lost. */
export const TAKE_OVER_VARIABLE = "AIWDB_TAKE_OVER";

/** Where a stack says which state it belongs to. */
interface Place {
  readonly volume: string;
  readonly container: string;
  /** Where the container has the volume. */
  readonly folder: string;
  /** Of the file in the folder. */
  readonly file: string;
  /** The image whose user may read the volume. */
  readonly kind: "postgres" | "pgbouncer";
}

function places(stack: string): { readonly configuration: readonly Place[]; readonly data: Place } {
  const names = engineNames(stack);
  const current = `${CURRENT_VERSION}/${IDENTITY_FILE}`;
  const { postgres, pgbouncer } = names;
  return {
    configuration: [
      {
        volume: names.postgresConfigVolume,
        container: postgres,
        folder: POSTGRES_CONFIG_DIR,
        file: current,
        kind: "postgres",
      },
      {
        volume: names.pgbouncerConfigVolume,
        container: pgbouncer,
        folder: PGBOUNCER_CONFIG_DIR,
        file: current,
        kind: "pgbouncer",
      },
    ],
    data: {
      volume: names.dataVolume,
      container: postgres,
      folder: DATA_DIR,
      file: DATA_IDENTITY_FILE,
      kind: "postgres",
    },
  };
}

/**
 * What a stack on the engine says of itself: its volumes of configuration, else its network, else its data. A take-over that was
 * cut off has changed them in this order.
 *
 * @returns "<id> <user>@<host>"; undefined where nothing says anything, as of releases that wrote nothing
 * @throws ToolError when the engine does not answer: that is not the same as nothing there
 */
export async function findIdentity(docker: Docker, stack: string): Promise<string | undefined> {
  const { configuration, data } = places(stack);
  for (const place of configuration) {
    const found = await readPlace(docker, stack, place);
    if (found !== undefined) return found;
  }
  const stateId = await readNetworkLabel(docker, engineNames(stack).network);
  if (stateId !== undefined) return `${stateId} somebody else`;
  return await readPlace(docker, stack, data);
}

/**
 * Keeps plain Pulumi, which asks nobody, off a stack of the same name that belongs to another state.
 *
 * @param id of the own state; undefined where it has none yet
 * @throws StateError unless the user said that the other state is lost
 */
export async function refuseAnothers(docker: Docker, stack: string, id: string | undefined): Promise<void> {
  if (process.env[TAKE_OVER_VARIABLE] === "1") return;
  const found = await findIdentity(docker, stack);
  if (found === undefined || idOf(found) === id) return;
  throw new StateError(`Stack "${stack}" on this engine belongs to another state; nothing of it has been changed.`, [
    {
      subject: stack,
      problem: `was made by ${makerOf(found)} as a stack of the same name`,
      remedy:
        "Choose another stack name. If that state is lost: " +
        `\`aiwdb up --stack ${stack} --reset-passwords --yes\`, or \`aiwdb down --stack ${stack} --take-over\`.`,
    },
  ]);
}

export const idOf = (identity: string): string => identity.trim().split(" ")[0] ?? "";
export const makerOf = (identity: string): string => identity.trim().split(" ").slice(1).join(" ");

/** The identity that a stack's data carries; undefined where there is none. */
export function readDataIdentity(docker: Docker, stack: string): Promise<string | undefined> {
  return readPlace(docker, stack, places(stack).data);
}

async function readPlace(docker: Docker, stack: string, place: Place): Promise<string | undefined> {
  const info = await inspect(docker, place.container);
  const file = `${place.folder}/${place.file}`;
  if (info?.Mounts.some(({ Name, Destination }) => Name === place.volume && Destination === place.folder))
    return await readFile(docker.getContainer(info.Id), file);
  if (!(await hasVolume(docker, place.volume))) return undefined;
  return await withVolume(docker, stack, place, (container) => readFile(container, file));
}

async function hasVolume(docker: Docker, volume: string): Promise<boolean> {
  try {
    await within(`tell about volume ${volume}`, ACTION_MS, (options) => docker.getVolume(volume).inspect(options));
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

async function readNetworkLabel(docker: Docker, network: string): Promise<string | undefined> {
  try {
    const { Labels } = await within(`tell about network ${network}`, ACTION_MS, () =>
      docker.getNetwork(network).inspect(),
    );
    return (Labels as Record<string, string> | null)?.[STATE_LABEL];
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** Reads a volume that no container has, by one that is never started; `down` knows one that a kill leaves by its labels. */
async function withVolume<T>(
  docker: Docker,
  stack: string,
  { volume, folder, kind }: Place,
  read: (container: Docker.Container) => Promise<T>,
): Promise<T> {
  const { ensureImage } = await import("../../toolchain/images/ensure.ts"); // here, because it is seldom needed
  const { tag } = await ensureImage(kind, { docker, report: () => {} });
  const settings: Docker.ContainerCreateOptions = {
    Image: tag,
    Entrypoint: ["true"],
    Labels: { [STACK_LABEL]: stack, [HELPER_LABEL]: volume },
    HostConfig: { Binds: [`${volume}:${folder}:ro`], NetworkMode: "none", CapDrop: ["ALL"] },
  };
  const container = await within(`look into volume ${volume}`, ACTION_MS, (options) =>
    docker.createContainer({ ...settings, ...options }),
  );
  try {
    return await read(container);
  } finally {
    await container.remove({ force: true, v: true, abortSignal: AbortSignal.timeout(ACTION_MS) }); // also when the user stops Pulumi
  }
}
