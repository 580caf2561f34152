import path from "node:path";
import { tmpdir } from "node:os";
import type { StackOutputs } from "../../stack/session.ts";
import { createCheckout, type Checkout, type CommandResult } from "./checkout.ts";
import { query, startedAt } from "./connect.ts";
import { mustSucceed, readOutputs, SETTINGS } from "./real-stack.ts";

/** A stack of a test's own, whose settings change under it. */
export interface OwnStack {
  readonly stack: string;
  readonly checkout: Checkout;
  /** The stack's outputs, as they were last read. */
  outputs: StackOutputs;
  /** Reads the outputs again, for example after a change of passwords. */
  readOutputs(): Promise<StackOutputs>;
  up(env?: NodeJS.ProcessEnv): Promise<CommandResult>;
  /** Writes the settings file: the settings that all tests share, and these. */
  settings(changed?: Record<string, unknown>): void;
  /** When PostgreSQL's and PgBouncer's processes were started. */
  started(): Promise<string[]>;
  /** A setting of PostgreSQL, as a client is shown it. */
  shown(setting: string): Promise<string | undefined>;
  remove(): Promise<void>;
}

/** Brings the stack up, without maintenance and with the first phase of migrations only. */
export async function ownStack(stack: string, first: Record<string, unknown> = {}): Promise<OwnStack> {
  const checkout = await createCheckout(path.join(tmpdir(), `aiwdb-stack-${stack}`));
  const up = (env: NodeJS.ProcessEnv = {}) => checkout.aiwdb(["up", "--stack", stack], env);
  const settings = (changed: Record<string, unknown> = {}) =>
    checkout.settings(stack, { ...SETTINGS, rolloutPhase: 1, maintenanceIntervalMin: 0, ...changed });
  settings(first);
  mustSucceed(await up());
  const own: OwnStack = {
    stack,
    checkout,
    outputs: await readOutputs(checkout, stack),
    readOutputs: async () => (own.outputs = await readOutputs(checkout, stack)),
    up,
    settings,
    started: async () => [await startedAt("postgres", stack), await startedAt("pgbouncer", stack)],
    async shown(setting) {
      const rows = await query<Record<string, string>>("app_user", "direct", `show ${setting}`, own);
      return rows[0]?.[setting];
    },
    async remove() {
      mustSucceed(await checkout.aiwdb(["down", "--stack", stack]));
      checkout.remove();
    },
  };
  return own;
}
