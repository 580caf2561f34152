import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type ChangedRoles, changedRoles, whileFrozen } from "../helpers/changed-roles.ts";
import { refusal } from "../helpers/connect.ts";
import { mustSucceed } from "../helpers/real-stack.ts";

// What whoever has a role's password can change of it, and what somebody froze on purpose. More of it is in test/long.
vi.setConfig({ testTimeout: 5 * 60_000 });
let changed: ChangedRoles;

beforeAll(async () => {
  changed = await changedRoles(`ci-c${process.pid}`);
});
afterAll(() => changed.own.remove());

describe("a role that changed itself", () => {
  test("is seen by the preview and put right by up: password, and settings that stop a provider or take a promise back", async () => {
    const { own, as, preview, settingsOf } = changed;
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

  test("of the superuser, whose password somebody changed, likewise", async () => {
    const { own, as } = changed;
    await as("postgres", "alter role postgres password 'by hand'");
    mustSucceed(await own.up());
    expect(await as("postgres", "select current_user::text as role")).toEqual([{ role: "postgres" }]);
  });
});

test("a freeze of the database is respected: up is refused before anything, and goes on when it is taken back", async () => {
  const named = "database ai_workflow_db";
  expect(await whileFrozen(changed, named, named)).toContain(`- ${named}: takes no changes`);
});
