import { ROLES } from "../../database/access/roles.ts";
import { MIGRATIONS_FOLDER, readMigrations } from "../../migrate/chain/files.ts";
import { PHASE_NAMES, PHASES, upToPhase, type Phase } from "../../migrate/chain/phases.ts";
import { readApplied } from "../../migrate/run/applied.ts";
import { connectionFor } from "../connections.ts";
import type { StackOutputs } from "../session.ts";
import { readStackConfig } from "../settings-file.ts";
import { ask } from "./look.ts";

export type MigrationStatus = Awaited<ReturnType<typeof migrationStatus>>;

/** How many migrations are applied, the names of those that are pending, and both counts of each rollout phase. */
export async function migrationStatus(stack: string, outputs: StackOutputs) {
  const all = readMigrations(MIGRATIONS_FOLDER);
  const wanted = upToPhase(all, readStackConfig(stack).rolloutPhase as Phase);
  const rows = await ask(connectionFor(outputs, ROLES.owner, "direct"), (client) => readApplied(client));
  const applied: ReadonlySet<string> = new Set(rows.map(({ name }) => name));
  return {
    applied: applied.size,
    pending: wanted.filter(({ name }) => !applied.has(name)).map(({ name }) => name),
    phases: PHASES.map((phase) => {
      const files = all.filter((migration) => migration.phase === phase);
      return {
        phase,
        name: PHASE_NAMES[phase],
        applied: files.filter(({ name }) => applied.has(name)).length,
        total: files.length,
      };
    }),
  };
}
