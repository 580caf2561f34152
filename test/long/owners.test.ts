import { readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { StateResource } from "../../stack/backend.ts";
import { TYPES } from "../../stack/engine-damage.ts";
import { engineNames } from "../../infra/settings/names.ts";
import { objects, one, other, plainPulumi, removeAllButData, sql, stack, twoOwners } from "../helpers/owners.ts";
import { mustSucceed } from "../helpers/real-stack.ts";

twoOwners();

test("a state of an older backup, from before it had an identity, goes on with the one of its stack", async () => {
  const file = one.stateFile(stack);
  const state = JSON.parse(readFileSync(file, "utf8")) as { checkpoint: { latest: { resources: StateResource[] } } };
  const { latest } = state.checkpoint;
  const identity = latest.resources.find(({ type }) => type === TYPES.identity);
  const withoutIdentity = (_key: string, value: unknown) =>
    Array.isArray(value) ? value.filter((one) => one !== identity?.urn && one?.urn !== identity?.urn) : value;
  state.checkpoint.latest.resources = JSON.parse(JSON.stringify(latest.resources), withoutIdentity);
  expect(JSON.stringify(state)).not.toContain(TYPES.identity);
  writeFileSync(file, JSON.stringify(state));
  mustSucceed(await one.aiwdb(["up", "--stack", stack]));
  expect(readFileSync(file, "utf8")).toContain(`"${identity?.id}"`);
  mustSucceed(await one.aiwdb(["preview", "--stack", stack, "--expect-no-changes"]));
});

test("the first takes it back, whose state has other certificates than the volumes", async () => {
  mustSucceed(await other.aiwdb(["up", "--stack", stack, "--reset-passwords", "--yes"]));
  mustSucceed(await one.aiwdb(["up", "--stack", stack, "--reset-passwords", "--yes"]));
  expect(await sql(one, "select mark from kept")).toBe("a row");
  mustSucceed(await one.aiwdb(["preview", "--stack", stack, "--expect-no-changes"]));
});

test("while only the data is left of it, one that had it before removes nothing", async () => {
  const { dataVolume } = engineNames(stack);
  await removeAllButData();
  expect((await other.aiwdb(["down", "--stack", stack])).exitCode).toBe(1);
  expect((await other.aiwdb(["up", "--stack", stack])).exitCode).toBe(1);
  expect((await plainPulumi(other, "destroy")).exitCode).not.toBe(0);
  expect((await objects()).volumes).toEqual([dataVolume]);
});
