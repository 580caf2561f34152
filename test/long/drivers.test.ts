import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CLIENTS, LONG_CLIENTS, openWorkshop } from "../helpers/clients.ts";
import { printablePassword } from "../helpers/passwords.ts";
import { mustSucceed } from "../helpers/real-stack.ts";
import { temporaryStacks, type TemporaryStacks } from "../helpers/temporary-stacks.ts";
import { mustSucceed as mustEndWell } from "../helpers/testdb.ts";
import { writtenBy } from "../helpers/written-users.ts";

let temporary: TemporaryStacks;
let stack: string;
const workshop = openWorkshop();

beforeAll(async () => {
  temporary = await temporaryStacks();
  stack = temporary.add("drivers", { rolloutPhase: 4 });
  const set = ["config", "set", "--secret", "appUserPassword", printablePassword(" ")];
  mustSucceed(await temporary.checkout.aiwdb(["pulumi", "--stack", stack, "--", ...set]));
  mustSucceed(await temporary.up(stack));
});
afterAll(async () => {
  workshop.remove();
  await temporary.sweep();
  temporary.checkout.remove();
});

const printed = async (...args: string[]) =>
  mustSucceed(await temporary.checkout.aiwdb(["url", "--stack", stack, ...args])).stdout.replace(/\n$/, "");

// Every printable character is in the password, and the space is the first.
describe.each([...LONG_CLIENTS, ...CLIENTS])("examples/clients/$name", (client) => {
  const modes = LONG_CLIENTS.includes(client) ? ["transaction", "session", "direct"] : ["transaction"];

  test.each(modes)("writes, reads and deletes in transactions of its own, in %s mode", async (mode) => {
    const text = await printed("--format", client.format, "--mode", mode);
    const written = await writtenBy(await printed("--role", "postgres"), async () =>
      mustEndWell(await workshop.run(client, text)),
    );
    expect(written).toEqual({ inserts: 10, deletes: 10, transactions: 20 });
  });
});

test("pgjdbc's error has no password", async () => {
  const text = await printed("--format", "jdbc", "--mode", "transaction");
  const [client] = LONG_CLIENTS;
  const { exitCode, stdout, stderr } = await workshop.run(client!, text.replace("localhost:", "nowhere.invalid:"));
  expect(exitCode).not.toBe(0);
  expect(stdout + stderr).toContain("nowhere.invalid");
  expect(stdout + stderr).not.toContain("password=");
  expect(stdout + stderr).not.toContain(printablePassword(" ").slice(-20));
});
