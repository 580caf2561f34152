import type Docker from "dockerode";
import { StateError } from "../../base/errors.ts";
import { readFile } from "../../toolchain/engine/archives.ts";
import { DATA_IDENTITY_FILE, engineNames, IDENTITY_FILE, STATE_LABEL } from "../settings/names.ts";
import { DATA_DIR } from "../servers/postgres/conf.ts";
import { pgbouncer } from "../servers/pgbouncer/server.ts";
import { postgres } from "../servers/postgres/server.ts";
import type { Files } from "../servers/server.ts";
import type { Operation } from "./resource.ts";
import { inspectNetwork } from "./resources/network.ts";
import { readVolume, type Access, type MountedVolume } from "./volumes/helper.ts";
import { CURRENT_VERSION } from "./volumes/versions.ts";

/** In a server's folder. */
const CURRENT_IDENTITY = `${CURRENT_VERSION}/${IDENTITY_FILE}`;

/** Where a stack says which state it belongs to. */
interface Place extends MountedVolume {
  /** Of the file in the folder. */
  readonly file: string;
}

function places(stack: string): { readonly configuration: readonly Place[]; readonly data: Place } {
  const names = engineNames(stack);
  const ofPostgres = { container: names.postgres, image: postgres.image };
  const ofPgbouncer = { container: names.pgbouncer, image: pgbouncer.image };
  return {
    configuration: [
      { ...ofPostgres, volume: names.postgresConfigVolume, folder: postgres.folder, file: CURRENT_IDENTITY },
      { ...ofPgbouncer, volume: names.pgbouncerConfigVolume, folder: pgbouncer.folder, file: CURRENT_IDENTITY },
    ],
    data: { ...ofPostgres, volume: names.dataVolume, folder: DATA_DIR, file: DATA_IDENTITY_FILE },
  };
}

/**
 * What a stack on the engine says of itself: its volumes of configuration first, then its network, then its data. A
 * take-over changes them in this order, so that one that was cut off is noticed.
 *
 * @returns "<id> <user>@<host>"; undefined where nothing says anything, as in stacks of old releases
 * @throws ToolError when the engine does not answer: that is not the same as nothing there
 */
export async function findIdentity(docker: Docker, stack: string, signal?: AbortSignal): Promise<string | undefined> {
  const { configuration, data } = places(stack);
  for (const place of configuration) {
    const found = await readPlace({ docker, signal }, place);
    if (found !== undefined) return found;
  }
  const network = await inspectNetwork(docker, engineNames(stack).network, signal);
  const stateId = network?.Labels?.[STATE_LABEL];
  if (stateId !== undefined) return `${stateId} somebody else`;
  return await readPlace({ docker, signal }, data);
}

/**
 * Refuses a stack of the same name that belongs to another state. Plain Pulumi asks nobody about it.
 *
 * @param id the own state's; undefined where it has none yet
 * @throws StateError unless the user said that the other state is lost
 */
export async function refuseAnothers(
  docker: Docker,
  stack: string,
  id: string | undefined,
  { run, signal }: Operation,
): Promise<void> {
  if (run.takeOver) return;
  const found = await findIdentity(docker, stack, signal);
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

/**
 * Refuses a volume whose files another state wrote: one of another user's stack of the same name.
 *
 * @param files that are about to be written, the identity of the own state among them
 * @throws StateError unless the user said that the other state is lost
 */
export async function refuseAnothersVolume(
  container: Docker.Container,
  { volume, folder }: MountedVolume,
  files: Files,
  { run, signal }: Operation,
): Promise<void> {
  const mine = files[IDENTITY_FILE]?.content;
  if (mine === undefined || run.takeOver) return;
  const found = await readFile(container, `${folder}/${CURRENT_IDENTITY}`, signal);
  if (found === undefined || found === mine) return;
  throw new StateError(`Volume ${volume} belongs to another state; nothing in it has been changed.`, [
    {
      subject: volume,
      problem: `was made by ${makerOf(found)} for a stack of the same name`,
      remedy:
        "Choose another stack name; if that state is lost, run `aiwdb up` for this one with --reset-passwords --yes.",
    },
  ]);
}

export const idOf = (identity: string): string => identity.trim().split(" ")[0] ?? "";
export const makerOf = (identity: string): string => identity.trim().split(" ").slice(1).join(" ");

/** The identity that a stack's data carries; undefined where there is none. */
export function readDataIdentity(docker: Docker, stack: string, signal: AbortSignal): Promise<string | undefined> {
  return readPlace({ docker, signal }, places(stack).data);
}

function readPlace(access: Access, place: Place): Promise<string | undefined> {
  return readVolume(access, place, (container) => readFile(container, `${place.folder}/${place.file}`, access.signal));
}
