import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { StackOutputs } from "../../stack/session.ts";
import type { CommandResult } from "../helpers/checkout.ts";
import { query, refusal } from "../helpers/connect.ts";
import { ownStack, type OwnStack } from "../helpers/own-stack.ts";
import { mustSucceed } from "../helpers/real-stack.ts";

// What whoever has a role's password can change of it, and what somebody froze on purpose.
const NAME = `ci-c${process.pid}`;
vi.setConfig({ testTimeout: 5 * 60_000 });
let own: OwnStack;
let outputs: StackOutputs;

beforeAll(async () => {
  own = await ownStack(NAME);
  ({ outputs } = own);
});
afterAll(() => own.remove());

const as = (role: "app_user" | "ai_workflow_owner" | "postgres", sql: string) =>
  query<Record<string, unknown>>(role, "direct", sql, { outputs, database: "ai_workflow_db" });
const preview = (...more: string[]): Promise<CommandResult> =>
  own.checkout.aiwdb(["preview", "--stack", NAME, ...more]);
const settingsOf = async (role: string) =>
  (
    await as(
      "postgres",
      `select coalesce(json_agg(pair order by pair), '[]') as found from pg_db_role_setting cross join unnest(setconfig) as pair where setrole = '${role}'::regrole`,
    )
  )[0]?.["found"];

describe("a role that changed itself", () => {
  test("is seen by the preview and put right by up: password, and settings that stop a provider or take a promise back", async () => {
    await as("app_user", "alter role app_user set work_mem = '8MB'");
    await as("app_user", "alter role app_user set idle_in_transaction_session_timeout = '7s'");
    await as("app_user", "alter role app_user in database ai_workflow_db set password_encryption = 'md5'");
    await as("app_user", "alter role app_user set application_name = 'it''s \"quoted\"; drop table users; --'");
    await as("ai_workflow_owner", "alter role ai_workflow_owner set statement_timeout = '1ms'");
    await as("app_user", "alter role app_user set role = 'app_readonly'").catch(() => {});
    await as("ai_workflow_owner", "alter role ai_workflow_owner set local_preload_libraries = 'nix'");
    await as("postgres", "alter role app_user password 'changed by itself'");
    expect(await refusal(as("app_user", "select 1"))).toMatch(/28P01/);

    const seen = await preview("--expect-no-changes");
    expect(seen.exitCode).toBe(1);
    expect(seen.all).toContain("role app_user has another password than the declared one");
    expect(seen.all).toContain(
      "role ai_workflow_owner has statement_timeout = 1ms: the PostgreSQL provider can't read it",
    );

    const { all } = mustSucceed(await own.up());
    expect(all).toContain("role app_user: its password is the declared one again");
    expect(all).toContain("role app_user has a setting of its own, which stays: work_mem = 8MB");
    expect(await as("app_user", "select current_user::text as role")).toEqual([{ role: "app_user" }]);
    expect(await settingsOf("app_user")).toEqual([
      `application_name=it's "quoted"; drop table users; --`,
      "work_mem=8MB",
    ]);
    expect(await settingsOf("ai_workflow_owner")).toEqual([]);
    mustSucceed(await preview("--expect-no-changes"));
  });

  test("does not stop a rotation of passwords, and keeps what it may have, of a number's length of time too", async () => {
    await as("app_user", "alter role app_user set statement_timeout = 30000");
    await as("app_user", "alter role app_user set lock_timeout = '1s'");
    await as("ai_workflow_owner", "alter role ai_workflow_owner set statement_timeout = '1ms'");
    own.settings({ passwordVersion: 2 });
    mustSucceed(await own.up());
    outputs = await own.readOutputs();
    expect(await as("app_user", "select current_user::text as role")).toEqual([{ role: "app_user" }]);
    expect(await settingsOf("app_user")).toEqual([
      `application_name=it's "quoted"; drop table users; --`,
      "lock_timeout=1s",
      "statement_timeout=30000",
      "work_mem=8MB",
    ]);
    mustSucceed(await own.up());
    expect(await settingsOf("app_user")).toContain("statement_timeout=30000");
  });

  test("of the superuser, whose password somebody changed, likewise", async () => {
    await as("postgres", "alter role postgres password 'by hand'");
    mustSucceed(await own.up());
    expect(await as("postgres", "select current_user::text as role")).toEqual([{ role: "postgres" }]);
  });
});

describe("a freeze", () => {
  test.each([
    ["database ai_workflow_db", "database ai_workflow_db"],
    ["role ai_workflow_owner", "role ai_workflow_owner"],
    ["system", "PostgreSQL"],
  ])("of %s is respected: up is refused before anything, and goes on when it is taken back", async (what, named) => {
    await as("postgres", `alter ${what} set default_transaction_read_only = on`);
    if (what === "system") await as("postgres", "select pg_reload_conf()");
    own.settings({ passwordVersion: 2, rolloutPhase: 2, pgbouncerMaxClientConn: 251 });
    const started = await own.started();
    let remedy = `begin read write; alter ${what} reset default_transaction_read_only; commit`;
    try {
      const refused = await own.up();
      expect(refused.exitCode).toBe(1);
      expect(refused.stderr).toContain(`Stack "${NAME}" is frozen; nothing has been changed:`);
      expect(refused.stderr).toContain(`- ${named}: takes no changes`);
      expect(refused.all).not.toContain("Updating");
      remedy = /changes are allowed again: `(.*)`/.exec(refused.stderr)?.[1] ?? remedy;
      expect(refused.stderr).toContain("reset default_transaction_read_only");
      expect(await own.started()).toEqual(started);
      expect(mustSucceed(await preview()).all).toContain(`\`up\` will be refused: ${named} takes no changes`);
      const migrate = await own.checkout.aiwdb(["rollback", "--stack", NAME, "--steps", "1"]);
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
  });
});
