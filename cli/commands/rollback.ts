import { readMigrations } from "../../migrate/chain/files.ts";
import { parsePhase } from "../../migrate/chain/phases.ts";
import { planRollback, rollBack, type RollbackTarget } from "../../migrate/run/rollback.ts";
import { refuseFrozenDatabase } from "../../migrate/run/frozen.ts";
import { engineClient } from "../../toolchain/engine/client.ts";
import { UsageError } from "../../base/errors.ts";
import type { HeldLock } from "../../base/lock.ts";
import { setUp } from "../../toolchain/set-up.ts";
import type { Report } from "../../base/progress.ts";
import { flag, option, optionError, stackArguments } from "../arguments.ts";
import { command } from "../command.ts";
import { backupFolder } from "../../infra/settings/places.ts";
import { engineNames } from "../../infra/settings/names.ts";
import { backUp } from "../../database/backup/dump.ts";
import { TYPES } from "../../stack/engine-damage.ts";
import { refresh } from "../../stack/heal.ts";
import { renewConnections } from "../../stack/pooler.ts";
import { openSession } from "../../stack/session.ts";
import { readStackConfig } from "../../stack/settings-file.ts";
import { withStackLock } from "../../stack/lock.ts";
import { databaseArguments, migrationArguments, migrationsFolder, withDatabase } from "./migrate/arguments.ts";

export const examples = [
  "aiwdb rollback --steps 1",
  "aiwdb rollback --to 0020_add_authentication_checks   # which stays applied",
  "aiwdb rollback --phase 2 --accept-data-loss          # 0: all",
];

export default command({
  args: {
    ...stackArguments,
    ...migrationArguments,
    ...databaseArguments,
    to: option("NNNN_name", "Back to this migration, which stays applied"),
    phase: option("N", "Back to the end of this phase, which stays applied; 0: all"),
    steps: option("K", "So many migrations back"),
    "accept-data-loss": flag("Also take back what loses data"),
  },
  async run({ args, output }) {
    const target = readTarget(args);
    const { stack } = args;
    const isOfStack = args["database-url"] === undefined;
    const acceptDataLoss = args["accept-data-loss"];
    const report = output.progress;
    const folder = migrationsFolder(args);
    const migrations = readMigrations(folder);
    const takeBack = async (): Promise<readonly string[]> => {
      const { applied } = await withDatabase(args, output, async (client) => {
        await refuseFrozenDatabase(client);
        const plan = await planRollback(client, migrations, target);
        const losses = new Map(plan.losses.map(({ name, loss }) => [name, loss]));
        for (const { name } of plan.migrations) {
          const loss = losses.get(name);
          report(`will take back ${name}${loss === undefined ? "" : `; loses ${loss}`}`);
        }
        if (losses.size > 0 && acceptDataLoss && isOfStack) await backUpStack(stack, report);
        return rollBack({ client, folder, migrations, plan, acceptDataLoss, report });
      });
      return applied;
    };
    const takeBackAndRefresh = async (lock: HeldLock): Promise<readonly string[]> => {
      const undone = await takeBack();
      if (undone.length === 0) return undone;
      const toolchain = await setUp({ report, images: false });
      await renewConnections(engineClient(toolchain.engine), readStackConfig(stack), output.warn);
      // So that Pulumi's next preview is right.
      await refresh(
        openSession(stack, toolchain, lock),
        [`**${TYPES.migrations}**`],
        `The database is rolled back, but Pulumi's state could not be refreshed; run \`aiwdb pulumi --stack ${stack} -- refresh\``,
      );
      return undone;
    };
    const undone = isOfStack ? await withStackLock(stack, report, takeBackAndRefresh) : await takeBack();
    output.json({ undone });
    output.text(undone.length === 0 ? "Nothing to take back." : `Taken back: ${undone.join(", ")}.`);
    if (undone.length > 0)
      output.text("The next `up` applies them again, unless rolloutPhase or the files say otherwise.");
  },
});

async function backUpStack(stack: string, report: Report): Promise<void> {
  const { engine } = await setUp({ report, images: false });
  const { databaseName: database } = readStackConfig(stack);
  const source = { container: engineNames(stack).postgres, database, folder: backupFolder(stack) };
  await backUp(engineClient(engine), source, report);
}

/** @throws UsageError unless exactly one option says how far back, with a value that can be used */
function readTarget({
  to,
  phase,
  steps,
}: Partial<Record<"to" | "phase" | "steps", string | undefined>>): RollbackTarget {
  if ([to, phase, steps].filter((value) => value !== undefined).length !== 1) {
    throw new UsageError("How far back?", [
      {
        subject: "--to, --phase, --steps",
        problem: "exactly one of them is needed.",
        remedy: "See `aiwdb rollback --help`.",
      },
    ]);
  }
  if (to !== undefined) return { to: to.replace(/\.(?:up|down)\.sql$/, "") };
  if (steps !== undefined) {
    if (/^\d+$/.test(steps) && Number(steps) > 0) return { steps: Number(steps) };
    throw optionError("How far back?", "--steps", `${JSON.stringify(steps)} is no number from 1 on.`);
  }
  const found = phase === "0" ? 0 : parsePhase(phase);
  if (found !== undefined) return { phase: found };
  throw optionError("How far back?", "--phase", `${JSON.stringify(phase)} is none of 0 to 4.`);
}
