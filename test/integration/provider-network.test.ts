import { afterAll, expect, test } from "vitest";
import { engine } from "../../toolchain/engine/containers.ts";
import { network as networkType } from "../../infra/provider/resources/network.ts";
import { called, recorder } from "../helpers/provider.ts";

const quiet = recorder();
const network = called(networkType);
const inputs = {
  name: `aiwdb-test-network-${process.pid}`,
  subnet: "10.99.79.0/28",
  gateway: "10.99.79.1",
  labels: { purpose: "test" },
};
const made = new Set<string>();

async function create(changes: Partial<typeof inputs> = {}): Promise<string> {
  const { id } = await network.create({ ...inputs, ...changes }, quiet);
  made.add(id);
  return id;
}

afterAll(async () => {
  for (const id of made) await network.delete?.(id, inputs, quiet);
});

test("a network is made once, taken over by a run after one that was cut off, and read as it is", async () => {
  const id = await create();
  expect(await create()).toBe(id);
  expect(await network.read?.(id, inputs, quiet)).toEqual(inputs);
  expect(await network.diff?.({ ...inputs }, inputs, quiet)).toEqual({ changed: [], replaces: [] });
  expect(await network.diff?.({ ...inputs }, { ...inputs, subnet: "10.99.79.16/28" }, quiet)).toEqual({
    changed: ["subnet"],
    replaces: ["subnet"],
  });
});

test("a network of the same name that is somebody else's is refused and left alone", async () => {
  const id = await create();
  await expect(create({ labels: { purpose: "another" } })).rejects.toThrow(/is not this stack's/);
  expect((await engine().getNetwork(id).inspect()).Labels).toEqual(inputs.labels);
});

test("removing a network that is gone already is no failure, and reading it says so", async () => {
  const id = await create();
  await network.delete?.(id, inputs, quiet);
  await network.delete?.(id, inputs, quiet);
  expect(await network.read?.(id, inputs, quiet)).toBeUndefined();
});
