import { afterAll, beforeAll, expect, test } from "vitest";
import { query, type Change } from "../helpers/connect.ts";
import { ownStack, type OwnStack } from "../helpers/own-stack.ts";
import { mustSucceed } from "../helpers/real-stack.ts";

// test/integration/further-roles.test.ts has what these roles may and may not do.
const NAME = `ci-g${process.pid}`;
const ROLES = { reporting: { access: "read", connectionLimit: 4 }, writer: { access: "write" } };
let own: OwnStack;
const here = (): Change => ({ outputs: own.outputs });
const settings = (roles: Record<string, unknown>) => own.settings({ roles, passwordVersion: 2 });
const up = async () => {
  const result = mustSucceed(await own.up());
  await own.readOutputs();
  return result.all;
};
const asSuperuser = (sql: string) => query<Record<string, unknown>>("postgres", "direct", sql, here());

beforeAll(async () => {
  own = await ownStack(NAME, { roles: ROLES });
});
afterAll(() => own.remove());

test("`up` takes back what they changed of themselves, gives all a new password, and makes them what the settings say", async () => {
  const before = own.outputs.passwords["writer"];
  const changes = "alter role writer password 'a-password-of-its-own'; alter role writer set role = 'none'";
  await query("writer", "direct", changes, here());
  settings({ ...ROLES, reporting: { access: "write", connectionLimit: 6 } });
  expect(await up()).toContain("role writer has role = none");
  expect(own.outputs.passwords["writer"]).not.toBe(before);
  for (const role of ["reporting", "writer"])
    for (const mode of ["direct", "transaction", "session"] as const)
      expect(await query(role, mode, "select 1 as one", here())).toEqual([{ one: 1 }]);
  expect(
    await asSuperuser(
      `select roleid::regrole::text as model, inherit_option as inherits, set_option as becomes, rolconnlimit as "limit"
         from pg_auth_members join pg_roles as r on r.oid = member where rolname = 'reporting'`,
    ),
  ).toEqual([{ model: "app_user", inherits: true, becomes: false, limit: 6 }]);
  expect(await up()).not.toMatch(/(created|updated|replaced|deleted) \(/);
});

test("a role of the server that the setting did not make is left alone, its password too", async () => {
  await asSuperuser("create role bob superuser login password 'a-password-of-bobs-own'");
  const stored = "select rolsuper, rolconnlimit, rolpassword from pg_authid where rolname = 'bob'";
  const before = await asSuperuser(stored);
  settings({ ...ROLES, bob: { access: "read" } });
  const { exitCode, all } = await own.up();
  expect(exitCode).toBe(1);
  expect(all).toContain("bob: is a role of this server that the setting did not make");
  expect(await asSuperuser(stored)).toEqual(before);
  await asSuperuser("drop role bob");
  await up();
  expect(await query("bob", "transaction", "select 1 as one", here())).toEqual([{ one: 1 }]);
});
