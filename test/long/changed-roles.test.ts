import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { type ChangedRoles, changedRoles, whileFrozen } from "../helpers/changed-roles.ts";
import { mustSucceed } from "../helpers/real-stack.ts";

vi.setConfig({ testTimeout: 5 * 60_000 });
let changed: ChangedRoles;

beforeAll(async () => {
  changed = await changedRoles(`ci-c${process.pid}`);
});
afterAll(() => changed.own.remove());

test("a role that changed itself does not stop a rotation of passwords, and keeps what it may have, of a number's length of time too", async () => {
  const { own, as, settingsOf } = changed;
  await as("app_user", "alter role app_user set statement_timeout = 30000");
  await as("app_user", "alter role app_user set lock_timeout = '1s'");
  await as("ai_workflow_owner", "alter role ai_workflow_owner set statement_timeout = '1ms'");
  own.settings({ passwordVersion: 2 });
  mustSucceed(await own.up());
  await own.readOutputs();
  expect(await as("app_user", "select current_user::text as role")).toEqual([{ role: "app_user" }]);
  expect(await settingsOf("app_user")).toEqual(["lock_timeout=1s", "statement_timeout=30000"]);
  mustSucceed(await own.up());
  expect(await settingsOf("app_user")).toContain("statement_timeout=30000");
});

test.each([
  ["role ai_workflow_owner", "role ai_workflow_owner"],
  ["system", "PostgreSQL"],
])(
  "a freeze of %s is respected: up is refused before anything, and goes on when it is taken back",
  async (what, named) => {
    expect(await whileFrozen(changed, what, named)).toContain(`- ${named}: takes no changes`);
  },
);
