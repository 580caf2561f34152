import { expect } from "vitest";
import type { CommandResult } from "./checkout.ts";
import { query } from "./connect.ts";
import { ownStack, type OwnStack } from "./own-stack.ts";
import { mustSucceed } from "./real-stack.ts";

/** A stack whose roles a test changes, as whoever has a role's password could. */
export interface ChangedRoles {
  readonly own: OwnStack;
  /** Runs SQL in the stack's database. */
  as(role: "app_user" | "ai_workflow_owner" | "postgres", sql: string): Promise<Record<string, unknown>[]>;
  preview(...more: string[]): Promise<CommandResult>;
  /** A role's own settings, each as `name=value`. */
  settingsOf(role: string): Promise<unknown>;
}

export async function changedRoles(name: string): Promise<ChangedRoles> {
  const own = await ownStack(name);
  const as: ChangedRoles["as"] = (role, sql) =>
    query(role, "direct", sql, { outputs: own.outputs, database: "ai_workflow_db" });
  const preview = (...more: string[]) => own.checkout.aiwdb(["preview", "--stack", name, ...more]);
  return {
    own,
    as,
    preview,
    async settingsOf(role) {
      const sql = `select coalesce(json_agg(pair order by pair), '[]') as found from pg_db_role_setting cross join unnest(setconfig) as pair where setrole = '${role}'::regrole`;
      return (await as("postgres", sql))[0]?.["found"];
    },
  };
}

/**
 * Freezes something, expects every command to respect it, and takes the freeze back.
 *
 * @returns what the refused `up` said
 */
export async function whileFrozen({ own, as, preview }: ChangedRoles, what: string, named: string): Promise<string> {
  await as("postgres", `alter ${what} set default_transaction_read_only = on`);
  if (what === "system") await as("postgres", "select pg_reload_conf()");
  own.settings({ passwordVersion: 2, rolloutPhase: 2, pgbouncerMaxClientConn: 251 });
  const started = await own.started();
  let remedy = `begin read write; alter ${what} reset default_transaction_read_only; commit`;
  const refused = await own.up();
  try {
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toContain(`Stack "${own.stack}" is frozen; nothing has been changed:`);
    expect(refused.all).not.toContain("Updating");
    remedy = /changes are allowed again: `(.*)`/.exec(refused.stderr)?.[1] ?? remedy;
    expect(refused.stderr).toContain("reset default_transaction_read_only");
    expect(await own.started()).toEqual(started);
    expect(mustSucceed(await preview()).all).toContain(`\`up\` will be refused: ${named} takes no changes`);
    const migrate = await own.checkout.aiwdb(["rollback", "--stack", own.stack, "--steps", "1"]);
    expect(migrate.exitCode).toBe(1);
    expect(migrate.stderr).toContain("The database is frozen; nothing was changed:");
  } finally {
    if (what === "system") {
      await as("postgres", "alter system reset default_transaction_read_only");
      await as("postgres", "select pg_reload_conf()");
    } else await as("postgres", remedy);
    own.settings({ passwordVersion: 2 });
  }
  if (what === "system") mustSucceed(await own.up());
  return refused.stderr;
}
