import type Docker from "dockerode";
import { backupFolder } from "../infra/settings/places.ts";
import { engineNames } from "../infra/settings/names.ts";
import type { StackConfig } from "../infra/settings/table.ts";
import { backUp } from "../database/backup/dump.ts";
import { MIGRATIONS_FOLDER, readMigrations } from "../migrate/chain/files.ts";
import { type Phase, upToPhase } from "../migrate/chain/phases.ts";
import type { Report } from "../base/progress.ts";
import type { KnownState } from "./backend.ts";
import { resourcesOf, TYPES } from "./engine-damage.ts";
import { listObjects } from "./engine-objects.ts";
import { refuseFrozen } from "./freeze.ts";
import { type History, readHistory, recordedMigrations } from "./history.ts";
import { isDisposable } from "./passphrase.ts";
import { withServerOnVolume } from "./server-on-volume.ts";

/**
 * Migrations may lose data by what they are told to do; stacks that are not disposable are backed up before any. What is
 * pending is asked of the database: it may have been restored, or rolled back, behind the state's back.
 */
export async function backUpBeforeMigrating(
  docker: Docker,
  { stack, databaseName, rolloutPhase }: StackConfig,
  state: KnownState,
  history: History,
  report: Report,
): Promise<void> {
  const hasMigrated = resourcesOf(state).some(({ type }) => type === TYPES.migrations);
  if (isDisposable(stack) || !hasMigrated || history === "no database") return;
  const applied = history === "not running" ? recordedMigrations(state) : history;
  const wanted = upToPhase(readMigrations(MIGRATIONS_FOLDER), rolloutPhase as Phase);
  const pending = wanted.filter(({ name }) => !applied.includes(name));
  if (pending.length === 0) return;
  report(`${pending.length} pending: ${pending.map(({ name }) => name).join(", ")}`);
  // The stack's own may be gone, or begin to run by the settings that come with this run.
  await withServerOnVolume(docker, stack, report, (container) =>
    backUp(docker, { container, database: databaseName, folder: backupFolder(stack) }, report),
  );
}

/**
 * Looks into the data while everything is still as it was: a frozen database is left alone, and one that is not disposable is
 * backed up where migrations are pending. The state that is lost cannot say which; the database can, of which the old server, or
 * one that is started for this, is asked.
 *
 * @throws StateError for one that is frozen
 */
export async function lookBeforeTakingOver(
  docker: Docker,
  { stack, databaseName, rolloutPhase }: StackConfig,
  backup: boolean,
  report: Report,
): Promise<void> {
  const { volumes } = await listObjects(docker, stack);
  if (!volumes.includes(engineNames(stack).dataVolume)) return;
  await withServerOnVolume(docker, stack, report, async (container) => {
    await refuseFrozen(docker, stack, databaseName, container);
    if (!backup || isDisposable(stack)) return;
    const history = await readHistory(docker, stack, databaseName, container);
    if (typeof history === "string") return; // no database: a first run that was cut off
    const wanted = upToPhase(readMigrations(MIGRATIONS_FOLDER), rolloutPhase as Phase);
    if (wanted.every(({ name }) => history.includes(name))) return;
    await backUp(docker, { container, database: databaseName, folder: backupFolder(stack) }, report);
  });
}
