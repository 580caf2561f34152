import type Docker from "dockerode";
import { backupFolder } from "../infra/settings/places.ts";
import { engineNames } from "../infra/settings/names.ts";
import type { StackConfig } from "../infra/settings/table.ts";
import { backUp } from "../database/backup/dump.ts";
import { MIGRATIONS_FOLDER, readMigrations } from "../migrate/chain/files.ts";
import { type Phase, upToPhase } from "../migrate/chain/phases.ts";
import type { Report } from "../base/progress.ts";
import type { KnownState } from "./backend.ts";
import { listObjects } from "./engine-objects.ts";
import { refuseFrozen } from "./freeze.ts";
import { type History, readHistory, recordedMigrations } from "./history.ts";
import { isDisposable } from "./passphrase.ts";
import { withServerOnVolume } from "./server-on-volume.ts";

/** Names of the migrations that a stack of this rollout phase still lacks. */
function pendingAfter(applied: readonly string[], rolloutPhase: number): string[] {
  const wanted = upToPhase(readMigrations(MIGRATIONS_FOLDER), rolloutPhase as Phase);
  return wanted.map(({ name }) => name).filter((name) => !applied.includes(name));
}

/**
 * Backs a stack up that is not disposable, if migrations are pending: a migration may lose data by its own SQL. The
 * database says what is pending, because somebody may have restored it or rolled it back without the state.
 */
export async function backUpBeforeMigrating(
  docker: Docker,
  { stack, databaseName, rolloutPhase }: StackConfig,
  state: KnownState,
  history: History,
  report: Report,
): Promise<void> {
  const recorded = recordedMigrations(state);
  if (isDisposable(stack) || recorded === undefined || history === "no database") return;
  const pending = pendingAfter(history === "not running" ? recorded.names : history, rolloutPhase);
  if (pending.length === 0) return;
  report(`${pending.length} pending: ${pending.join(", ")}`);
  // The stack's own server may be gone, or may need the settings of this run before it starts.
  await withServerOnVolume(docker, stack, report, (container) =>
    backUp(docker, { container, database: databaseName, folder: backupFolder(stack) }, report),
  );
}

/**
 * Looks into the data before anything changes. It refuses a frozen database, and backs up one that is not disposable if
 * migrations are pending. The lost state cannot say which are, so that the database does: its old server answers, or
 * one that is started for this.
 *
 * @throws StateError when the database is frozen
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
    if (typeof history === "string") return; // no database, because a first run was cut off
    if (pendingAfter(history, rolloutPhase).length === 0) return;
    await backUp(docker, { container, database: databaseName, folder: backupFolder(stack) }, report);
  });
}
