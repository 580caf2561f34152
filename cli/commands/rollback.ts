import { defineCommand } from "citty";
import { readMigrations } from "../../migrate/chain/files.ts";
import { parsePhase } from "../../migrate/chain/phases.ts";
import { planRollback, rollBack, type RollbackTarget } from "../../migrate/run/rollback.ts";
import { refuseFrozenDatabase } from "../../migrate/run/frozen.ts";
import { engineClient } from "../../toolchain/engine/client.ts";
import { UsageError } from "../../base/errors.ts";
import type { HeldLock } from "../../base/lock.ts";
import { setUp } from "../../toolchain/set-up.ts";
import { stackArguments } from "../arguments.ts";
import { createOutput, type Output } from "../../base/output.ts";
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

/** Shown below the help. */
export const examples = [
  "aiwdb rollback --steps 1",
  "aiwdb rollback --to 0020_add_authentication_checks   # which stays applied",
  "aiwdb rollback --phase 2 --accept-data-loss          # 0: all",
];

export default defineCommand({
  args: {
    ...stackArguments,
    ...migrationArguments,
    ...databaseArguments,
    to: { type: "string", description: "Back to this migration, which stays applied", valueHint: "NNNN_name" },
    phase: {
      type: "string",
      description: "Back to the end of this phase, which stays applied; 0: all",
      valueHint: "N",
    },
    steps: { type: "string", description: "So many migrations back", valueHint: "K" },
    "accept-data-loss": { type: "boolean", default: false, description: "Also take back what loses data" },
  },
  async run({ args }) {
    const output = createOutput({ json: args.json });
    const target = readTarget(args);
    const folder = migrationsFolder(args);
    const migrations = readMigrations(folder);
    const takeBack = () =>
      withDatabase(args, output, async (client) => {
        await refuseFrozenDatabase(client);
        const plan = await planRollback(client, migrations, target);
        const losses = new Map(plan.losses.map(({ name, loss }) => [name, loss]));
        for (const { name } of plan.migrations) {
          const loss = losses.get(name);
          output.progress(`will take back ${name}${loss === undefined ? "" : `; loses ${loss}`}`);
        }
        const acceptDataLoss = args["accept-data-loss"];
        if (losses.size > 0 && acceptDataLoss && args["database-url"] === undefined)
          await backUpStack(args.stack, output);
        return rollBack({ client, folder, migrations, plan, acceptDataLoss, report: output.progress });
      });
    const takeBackAndRefresh = async (lock: HeldLock) => {
      const { applied } = await takeBack();
      if (applied.length > 0) {
        const toolchain = await setUp({ report: output.progress, images: false });
        await renewConnections(engineClient(toolchain.engine), readStackConfig(args.stack), output.warn);
        // So that Pulumi's next preview is right.
        await refresh(
          openSession(args.stack, toolchain, lock),
          [`**${TYPES.migrations}**`],
          `The database is rolled back, but Pulumi's state could not be refreshed; run \`aiwdb pulumi --stack ${args.stack} -- refresh\``,
        );
      }
      return { applied };
    };
    const undone =
      args["database-url"] === undefined
        ? await withStackLock(args.stack, output.progress, takeBackAndRefresh)
        : await takeBack();
    output.json({ undone: undone.applied });
    output.text(undone.applied.length === 0 ? "Nothing to take back." : `Taken back: ${undone.applied.join(", ")}.`);
    if (undone.applied.length > 0)
      output.text("The next `up` applies them again, unless rolloutPhase or the files say otherwise.");
  },
});

async function backUpStack(stack: string, output: Output): Promise<void> {
  const { engine } = await setUp({ report: output.progress, images: false });
  const { databaseName: database } = readStackConfig(stack);
  const source = { container: engineNames(stack).postgres, database, folder: backupFolder(stack) };
  await backUp(engineClient(engine), source, output.progress);
}

function readTarget(args: {
  to?: string | undefined;
  phase?: string | undefined;
  steps?: string | undefined;
}): RollbackTarget {
  const { to, phase, steps } = args;
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
    const count = Number(steps);
    if (/^\d+$/.test(steps) && count > 0) return { steps: count };
    throw new UsageError("How far back?", [
      { subject: "--steps", problem: `${JSON.stringify(steps)} is no number from 1 on.` },
    ]);
  }
  const found = phase === "0" ? 0 : parsePhase(phase);
  if (found !== undefined) return { phase: found };
  throw new UsageError("How far back?", [
    { subject: "--phase", problem: `${JSON.stringify(phase)} is none of 0 to 4.` },
  ]);
}
