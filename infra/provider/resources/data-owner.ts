import { StateError } from "../../../base/errors.ts";
import { DATA_IDENTITY_FILE } from "../../settings/names.ts";
import { DATA_DIR } from "../../servers/postgres/conf.ts";
import { engine, exec } from "../../../toolchain/engine/containers.ts";
import { byTheSame, changedProperties, type None, type Operation, type ResourceType } from "../resource.ts";
import { idOf, readDataIdentity, refuseAnothers } from "../stack-identity.ts";

export interface DataOwnerInputs {
  readonly stack: string;
  /** Known once the superuser can log in. */
  readonly container: string;
  /** "<id> <user>@<host>" */
  readonly identity: string;
}

/** Written beside the old one and put in its place by a rename: a kill leaves the old or the new one. */
const WRITE = [
  "set -eu",
  `cd ${DATA_DIR}`,
  "umask 077",
  `cat >${DATA_IDENTITY_FILE}.new`,
  `sync ${DATA_IDENTITY_FILE}.new`,
  `mv -f ${DATA_IDENTITY_FILE}.new ${DATA_IDENTITY_FILE}`,
].join("\n");

async function write({ container, identity }: DataOwnerInputs, { signal }: Operation): Promise<None> {
  const { exitCode, stderr } = await exec(engine(), container, ["sh", "-c", WRITE], identity, signal);
  if (exitCode !== 0) throw new StateError(`The owner could not be written into the data of ${container}: ${stderr}`);
  return {};
}

/**
 * The state's identity as a file in the data volume, beside the cluster. It is written once the superuser has the
 * state's password. It says whose the data is when nothing else of the stack is left on the engine.
 *
 * Pulumi deletes this resource before everything else on the engine. Volumes go by their names, which every state knows
 * that has a stack of this name. So `delete` refuses another state's stack.
 */
export const dataOwner: ResourceType<DataOwnerInputs> = {
  async diff(olds, news, { signal }) {
    const changed = changedProperties(olds, news);
    const isWritten = (await readDataIdentity(engine(), news.stack, signal)) === news.identity;
    return { changed: isWritten ? changed : [...new Set([...changed, "identity"])] };
  },
  ...byTheSame(({ container }) => container, write),
  delete: (_id, { stack, identity }, operation) => refuseAnothers(engine(), stack, idOf(identity), operation),
};
