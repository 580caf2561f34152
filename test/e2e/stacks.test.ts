import { readdirSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createCheckout, type Checkout } from "../helpers/checkout.ts";
import { mustSucceed } from "../helpers/real-stack.ts";

const STACK = `ci-stacks-${process.pid}`;
let checkout: Checkout;
let home: string;

beforeAll(async () => {
  checkout = await createCheckout();
  home = path.dirname(checkout.root);
});
afterAll(() => checkout.remove());

/** Every file of the user's, without the checkout, the tools' own records and what is only there to be locked. */
function filesOf(stack: string): string[] {
  return readdirSync(home, { recursive: true, encoding: "utf8" })
    .filter((file) => !file.startsWith("checkout") && file.includes(stack))
    .toSorted();
}

test.each([
  ["status"],
  ["url"],
  ["env", "--pulumi"],
  ["psql"],
  ["migrate", "plan"],
  ["rollback", "--steps", "1"],
  ["maintain"],
  ["retention", "list"],
  ["privacy", "export", "--user", "1"],
  ["pulumi", "--", "stack"],
])("%s %s names the stacks there are for a name that is none, and makes nothing", async (...command) => {
  const at = command.indexOf("--");
  const args =
    at < 0 ? [...command, "--stack", STACK] : [...command.slice(0, at), "--stack", STACK, ...command.slice(at)];
  const { exitCode, stderr } = await checkout.aiwdb(args);
  expect(stderr).toContain(`There is no stack "${STACK}"; there are dev, prod.`);
  expect(exitCode).toBe(2);
  expect(filesOf(STACK)).toEqual([]);
});

test.each(["up", "preview", "down"])("%s takes no new name that is not one of a throw-away stack", async (command) => {
  const { exitCode, stderr } = await checkout.aiwdb([command, "--stack", "pord"]);
  expect(stderr).toContain('There is no stack "pord"; there are dev, prod.');
  expect(stderr).toContain("For a new stack write Pulumi.pord.yaml");
  expect(exitCode).toBe(2);
  expect(filesOf("pord")).toEqual([]);
});

test("preview of a new stack makes nothing; down leaves nothing of it, and its lines agree", async () => {
  const preview = mustSucceed(await checkout.aiwdb(["preview", "--stack", STACK]));
  expect(preview.all).toContain(`stack ${STACK} does not exist yet`);
  expect(filesOf(STACK)).toEqual([]);

  mustSucceed(await checkout.aiwdb(["up", "--stack", STACK]));
  expect(filesOf(STACK).length).toBeGreaterThan(5);
  const listed = mustSucceed(await checkout.aiwdb(["stacks", "--json"]));
  expect((JSON.parse(listed.stdout) as { stacks: object[] }).stacks).toEqual(
    expect.arrayContaining([
      { stack: STACK, hasState: true, hasSettings: false, containers: { running: 2, all: 2 } },
      expect.objectContaining({ stack: "prod", hasState: false, hasSettings: true }),
    ]),
  );

  const down = mustSucceed(await checkout.aiwdb(["down", "--stack", STACK]));
  expect(down.all).toContain(`stack ${STACK}: removed`);
  expect(down.all).not.toContain("pulumi stack rm");
  expect(filesOf(STACK)).toEqual([]);
  // Again, as a job does that does not know how far it came.
  const again = mustSucceed(await checkout.aiwdb(["down", "--stack", STACK]));
  expect(again.all).toContain(`stack ${STACK}: there was nothing to remove`);
  expect(filesOf(STACK)).toEqual([]);
});

test.each([
  ["qa", "a passphrase that was given"],
  [`ci-secrets-${process.pid}`, "the passphrase made for it, which down leaves for the settings file"],
])("preview shows a new stack %s whose settings have secrets, by %s", async (stack) => {
  const passphrase = path.join(home, "passphrase");
  mustSucceed(await checkout.shell(`umask 077; echo a-passphrase-of-mine > '${passphrase}'`));
  const env = stack === "qa" ? { PULUMI_CONFIG_PASSPHRASE_FILE: passphrase } : {};
  checkout.settings(stack, {});
  mustSucceed(
    await checkout.aiwdb(
      ["pulumi", "--stack", stack, "--", "config", "set", "--secret", "appUserPassword", "a-long-password-of-mine"],
      env,
    ),
  );
  const file = path.join(checkout.root, `Pulumi.${stack}.yaml`);
  expect(readFileSync(file, "utf8")).toContain("secure:");
  mustSucceed(await checkout.aiwdb(["down", "--stack", stack, "--delete-data"], env));
  const preview = mustSucceed(await checkout.aiwdb(["preview", "--stack", stack], env));
  expect(preview.all).toContain(`stack ${stack} does not exist yet`);
  rmSync(file);
});
