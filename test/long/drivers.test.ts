import { stripVTControlCharacters } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { clientForm } from "../../database/client-formats.ts";
import { amongOthers } from "../helpers/busy-pooler.ts";
import { CLIENTS, HIKARI_POOL, LONG_CLIENTS, openWorkshop } from "../helpers/clients.ts";
import { type Impostors, impostors, REFUSED } from "../helpers/impostors.ts";
import { markOf, printablePassword } from "../helpers/passwords.ts";
import { mustSucceed } from "../helpers/real-stack.ts";
import { temporaryStacks, type TemporaryStacks } from "../helpers/temporary-stacks.ts";
import { mustSucceed as mustEndWell } from "../helpers/testdb.ts";
import { writtenBy } from "../helpers/written-users.ts";

const PASSWORD = printablePassword(" ");

let temporary: TemporaryStacks;
let stack: string;
const workshop = openWorkshop();

beforeAll(async () => {
  temporary = await temporaryStacks();
  stack = temporary.add("drivers", { rolloutPhase: 4 });
  const set = ["config", "set", "--secret", "appUserPassword", PASSWORD];
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
    const run = async () => mustEndWell(await workshop.run(client, text));
    const written = await writtenBy(await printed("--role", "postgres"), async () =>
      mode === "transaction" ? amongOthers(await printed(), run) : run(),
    );
    expect(written).toEqual({ inserts: 10, deletes: 10, transactions: 20 });
  });
});

test("HikariCP's pool has all connections of its default size in session mode, and none waits", async () => {
  const text = await printed("--format", "jdbc", "--mode", "session");
  const { stdout } = mustEndWell(await workshop.run(HIKARI_POOL, text));
  expect(stripVTControlCharacters(stdout).trim()).toBe("10"); // JShell sets colours
});

describe.each(LONG_CLIENTS)("examples/clients/$name, when it meets another server,", (client) => {
  let others: Impostors;
  beforeAll(async () => {
    const { files, ...rest } = JSON.parse(await printed("--mode", "transaction", "--json"));
    others = await impostors({ ...rest, sslRootCert: files.ca, sslCert: files.cert, sslKey: files.key });
  });
  afterAll(() => others.close());

  test.each(["ofAnotherAuthority", "underAnotherName"] as const)("refuses one %s, without the password", async (of) => {
    const { exitCode, stdout, stderr } = await workshop.run(client, clientForm(others[of], client.format).text);
    expect(`${stdout}${stderr}`).toMatch(REFUSED);
    expect(`${stdout}${stderr}`).not.toContain(markOf(PASSWORD));
    expect(exitCode).not.toBe(0);
  });
});
