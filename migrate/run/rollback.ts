import type { Client } from "pg";
import { StateError } from "../../base/errors.ts";
import { pendingMigrations, readApplied } from "./applied.ts";
import type { Migration } from "../chain/files.ts";
import { HEADER_KEYS } from "../chain/header.ts";
import type { Phase } from "../chain/phases.ts";
import { applyMigrations, type ApplyOptions, refuseIrreversible } from "./runner.ts";

/** How far back: to the end of a migration (`to`), to the end of a phase, or by a number of steps. */
export type RollbackTarget = { readonly to: string } | { readonly phase: Phase | 0 } | { readonly steps: number };

/** Which migrations a rollback will take back. */
export interface RollbackPlan {
  /** The last one applied first, in the order in which they will run. */
  readonly migrations: readonly Migration[];
  /** Those whose down file loses data, with what it says. */
  readonly losses: readonly { readonly name: string; readonly loss: string }[];
}

/**
 * Works out what a rollback would take back, and changes nothing.
 *
 * @param migrations the whole chain.
 * @throws {StateError} naming the migrations that can't be undone; if the target is not applied; if the files don't
 * continue what is applied.
 */
export async function planRollback(
  client: Client,
  migrations: readonly Migration[],
  target: RollbackTarget,
): Promise<RollbackPlan> {
  const applied = await readApplied(client);
  pendingMigrations(migrations, applied);
  const done = migrations.slice(0, applied.length);
  const toUndo = done.slice(keptCount(done, target)).toReversed();
  refuseIrreversible(toUndo);
  const losses = toUndo.flatMap(({ name, downHeader }) => {
    const loss = downHeader[HEADER_KEYS.dataLoss];
    return loss === undefined || /^none\b/i.test(loss) ? [] : [{ name, loss }];
  });
  return { migrations: toUndo, losses };
}

/** How many of the applied migrations stay. */
function keptCount(done: readonly Migration[], target: RollbackTarget): number {
  if ("phase" in target) return done.filter(({ phase }) => phase <= target.phase).length;
  if ("steps" in target) {
    if (target.steps <= done.length) return done.length - target.steps;
    throw new StateError("The rollback goes too far back; nothing was changed:", [
      { subject: `${target.steps} steps`, problem: `only ${done.length} migrations are applied.` },
    ]);
  }
  const index = done.findIndex(({ name }) => name === target.to);
  if (index < 0) {
    throw new StateError("The rollback has no target; nothing was changed:", [
      {
        subject: target.to,
        problem: "is not applied.",
        remedy: `The last one applied is ${done.at(-1)?.name ?? "none"}. The one named stays applied.`,
      },
    ]);
  }
  return index + 1;
}

/**
 * Takes migrations back, all in one transaction.
 *
 * @param options.plan from {@link planRollback}; if the database has moved on since, nothing is done.
 * @returns the names taken back.
 * @throws {StateError} if data would be lost and `acceptDataLoss` is false, and as {@link applyMigrations} does.
 */
export async function rollBack({
  plan,
  acceptDataLoss,
  ...options
}: Pick<ApplyOptions, "client" | "folder" | "migrations" | "report"> & {
  readonly plan: RollbackPlan;
  readonly acceptDataLoss: boolean;
}): Promise<{ applied: string[] }> {
  if (plan.losses.length > 0 && !acceptDataLoss) {
    throw new StateError("The rollback would lose data; nothing was changed:", [
      ...plan.losses.map(({ name, loss }) => ({ subject: name, problem: loss })),
      { subject: "--accept-data-loss", problem: "is needed.", remedy: "Make a backup first." },
    ]);
  }
  return applyMigrations({ ...options, direction: "down", undo: plan.migrations.map(({ name }) => name) });
}
