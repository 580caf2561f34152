import type Docker from "dockerode";
import { engineNames } from "../infra/settings/names.ts";
import { isNew, type KnownState } from "./backend.ts";
import type { Caller } from "./caller.ts";
import type { LostData } from "./engine-damage.ts";
import type { LostDatabase } from "./history.ts";
import { describeOwner, notOurs, type Ownership } from "./ownership.ts";
import { refusal } from "./refusal.ts";

type Ask = Caller["ask"];

/**
 * Asks before an empty database takes the place of data that is gone. It does not ask about data that lived in memory:
 * its stack is made for tests, and everybody expects the data to go with its server.
 *
 * @param agreed the user said so on the command line
 * @throws StateError unless the user agrees; nothing has been changed then
 */
export async function agreeToLostData(
  stack: string,
  lost: LostData | undefined,
  agreed: boolean,
  ask: Ask,
): Promise<void> {
  if (lost === undefined || lost.inMemory || agreed) return;
  const question = `Data volume ${lost.volume} is not on the engine, and the data with it. Go on with an EMPTY database in its place?`;
  if (await ask(question)) return;
  throw refusal(`The data of stack "${stack}" is gone`, {
    subject: lost.volume,
    problem: "is not on the engine any more, and the state says that the database lived in it",
    remedy:
      "If it was moved or removed by mistake, put the volume back under this name. To begin with an empty database: " +
      `\`npm run up -- --stack ${stack} --empty-database\`; then restore a backup by pg_restore.`,
  });
}

/**
 * Asks before an empty database takes the place of one that somebody dropped.
 *
 * @param agreed the user said so on the command line
 * @throws StateError unless the user agrees; no data has been touched then
 */
export async function agreeToLostDatabase(
  stack: string,
  { name }: LostDatabase,
  agreed: boolean,
  ask: Ask,
): Promise<void> {
  if (agreed || (await ask(`Database ${name} is not on its server. Go on with an EMPTY one in its place?`))) return;
  throw refusal(`The database of stack "${stack}" is gone`, {
    subject: name,
    problem: "is not on the server any more: it was dropped, or the data volume was exchanged",
    remedy:
      "To restore a backup, make the database by `createdb` and use pg_restore. To begin with an empty one: " +
      `\`npm run up -- --stack ${stack} --empty-database\`.`,
  });
}

/**
 * Asks before `up` goes on with objects on the engine that this state did not make: a lost state made them, `down` kept
 * the data volume, or they are another user's. Nobody here knows their passwords, so that going on means new ones.
 *
 * @returns whether every role gets a new password
 * @throws StateError unless the user agrees
 */
export async function agreeToTakeOver(
  docker: Docker,
  { stack, resetPasswords, yes }: { stack: string; resetPasswords: boolean; yes: boolean },
  state: KnownState,
  ownership: Ownership,
  ask: Ask,
): Promise<boolean> {
  const { dataVolume } = engineNames(stack);
  if (ownership.kind === "another" || ownership.kind === "unknown") {
    const remedy =
      (isNew(state) ? "" : "If your state is of another engine, set DOCKER_HOST to that one. ") +
      `If it is yours and its state is lost: \`aiwdb up --stack ${stack} --reset-passwords --yes\` keeps the data, and locks out whoever has the old passwords.`;
    const question = `The objects of stack "${stack}" on this engine ${describeOwner(ownership)}. Take it over, keep the data, give every role a new password and lock out whoever has the old ones?`;
    if ((resetPasswords && yes) || (await ask(question))) return true;
    throw await notOurs(docker, stack, state, ownership, remedy);
  }
  if (resetPasswords || ownership.kind !== "data") return resetPasswords;
  const question = `Volume ${dataVolume} has data and its state is lost. Keep the data and give every role a new password?`;
  if (await ask(question)) return true;
  throw refusal(`The state of stack "${stack}" is lost, and its data volume is there`, {
    subject: dataVolume,
    problem: "nobody knows its passwords any more; going on silently would lock every client out",
    remedy:
      `Run \`npm run up -- --stack ${stack} --reset-passwords\` to keep the data and give every role a new password and certificate, ` +
      "or restore the state, or remove the volume if the data is not needed.",
  });
}
