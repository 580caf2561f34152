import { rmSync } from "node:fs";
import { expect, test } from "vitest";
import { engineNames } from "../../infra/settings/names.ts";
import { objects, one, other, plainPulumi, removeAllButData, sql, stack, twoOwners } from "../helpers/owners.ts";
import { mustSucceed } from "../helpers/real-stack.ts";

// What happens when the first one takes it back, and with a state of an older backup, is in test/long/owners.test.ts.
twoOwners();

test.each(["up", "up --reset-passwords", "up --yes", "down", "down --delete-data"])(
  "%s of the second is refused by name and changes nothing",
  async (command) => {
    const before = await objects();
    const refused = await other.aiwdb([...command.split(" "), "--stack", stack]);
    expect(refused.exitCode, refused.all).toBe(1);
    expect(refused.stderr).toContain(
      `Stack "${stack}" on this engine is not the one of your state; nothing has been changed:`,
    );
    expect(refused.stderr).toMatch(/belong to a state that is not here, made by \S+@\S+\s+Leave it to its owner/);
    expect(refused.stderr).toContain(engineNames(stack).postgres);
    expect(await objects()).toEqual(before);
  },
);

test("plain Pulumi of the second changes nothing of the first's", async () => {
  const before = await objects();
  mustSucceed(await other.aiwdb(["pulumi", "--stack", stack, "--", "stack"])); // makes an empty state
  const refused = await plainPulumi(other, "up");
  expect(refused.exitCode).not.toBe(0);
  expect(refused.all).toContain("belongs to another state");
  expect(await objects()).toEqual(before);
  mustSucceed(await one.aiwdb(["preview", "--stack", stack, "--expect-no-changes"]));
  mustSucceed(await one.aiwdb(["status", "--stack", stack]));
  expect(await sql(one, "select mark from kept")).toBe("a row");
});

test("while only the data is left of it, the second removes nothing either", async () => {
  const { dataVolume } = engineNames(stack);
  await removeAllButData();
  for (const command of ["down", "up"]) {
    const refused = await other.aiwdb([command, "--stack", stack]);
    expect(refused.exitCode, refused.all).toBe(1);
    expect(refused.stderr).toMatch(/belong to a state that is not here, made by \S+@\S+/);
  }
  await plainPulumi(other, "destroy"); // of what its refused `up` has made
  expect((await objects()).volumes).toEqual([dataVolume]);
  rmSync(other.stateFile(stack));
  mustSucceed(await one.aiwdb(["up", "--stack", stack]));
  expect(await sql(one, "select mark from kept")).toBe("a row");
});

test("the second takes it over by saying so, and then the first is refused", async () => {
  mustSucceed(await other.aiwdb(["up", "--stack", stack, "--reset-passwords", "--yes"]));
  expect(await sql(other, "select mark from kept")).toBe("a row");
  const before = await objects();
  for (const command of ["up", "down"]) {
    const refused = await one.aiwdb([command, "--stack", stack]);
    expect(refused.exitCode, refused.all).toBe(1);
    expect(refused.stderr).toContain("is not the one of your state");
  }
  for (const command of ["up", "destroy"] as const) {
    const refused = await plainPulumi(one, command);
    expect(refused.exitCode, refused.all).not.toBe(0);
    expect(refused.all).toContain("belongs to another state");
  }
  expect(await objects()).toEqual(before);
  mustSucceed(await other.aiwdb(["status", "--stack", stack]));
  mustSucceed(await other.aiwdb(["preview", "--stack", stack, "--expect-no-changes"]));
});
