import { StateError } from "../base/errors.ts";
import type { LostData } from "../stack/engine-damage.ts";
import type { LostDatabase } from "../stack/history.ts";
import { confirm } from "./confirm.ts";

/**
 * Asks before an empty database takes the place of data that is gone. Data that lived in memory is not asked about: its
 * stack is made for tests, and everybody expects it to go with its server.
 *
 * @param agreed the user said so on the command line
 * @throws StateError unless the user agrees; nothing has been changed then
 */
export async function agreeToLostData(stack: string, lost: LostData | undefined, agreed: boolean): Promise<void> {
  if (lost === undefined || lost.inMemory || agreed) return;
  const question = `Data volume ${lost.volume} is not on the engine, and the data with it. Go on with an EMPTY database in its place?`;
  if (await confirm(question)) return;
  throw new StateError(`The data of stack "${stack}" is gone; nothing has been changed:`, [
    {
      subject: lost.volume,
      problem: "is not on the engine any more, and the state says that the database lived in it",
      remedy:
        "If it was moved or removed by mistake, put the volume back under this name. To begin with an empty database: " +
        `\`npm run up -- --stack ${stack} --empty-database\`; then restore a backup by pg_restore.`,
    },
  ]);
}

/**
 * Asks before an empty database takes the place of one that somebody dropped.
 *
 * @param agreed the user said so on the command line
 * @throws StateError unless the user agrees; no data has been touched then
 */
export async function agreeToLostDatabase(stack: string, { name }: LostDatabase, agreed: boolean): Promise<void> {
  if (agreed || (await confirm(`Database ${name} is not on its server. Go on with an EMPTY one in its place?`))) return;
  throw new StateError(`The database of stack "${stack}" is gone; nothing has been changed:`, [
    {
      subject: name,
      problem: "is not on the server any more: it was dropped, or the data volume was exchanged",
      remedy:
        "To restore a backup, make the database by `createdb` and use pg_restore. To begin with an empty one: " +
        `\`npm run up -- --stack ${stack} --empty-database\`.`,
    },
  ]);
}
