import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { findImage } from "../../toolchain/image-build.ts";
import { imageTag } from "../../toolchain/image-tag.ts";
import { createDamagedStack, type DamagedStack } from "../helpers/damaged-stack.ts";
import { mustSucceed } from "../helpers/real-stack.ts";

let damaged: DamagedStack;

beforeAll(async () => {
  damaged = await createDamagedStack(`pr-heal-${process.pid}`);
});

afterAll(() => damaged.remove());

const CONTAINERS = ["postgres", "pgbouncer", "maintenance"] as const;

test.each(CONTAINERS)("a stopped %s is started", async (name) => {
  await damaged.stop(damaged.names[name]);
  expect((await damaged.expectHealed()).stderr).toContain(`${damaged.names[name]} is stopped: it is started`);
});

test.each(CONTAINERS)("a paused %s is resumed", async (name) => {
  await damaged.docker.getContainer(damaged.names[name]).pause();
  expect((await damaged.expectHealed()).stderr).toContain(`${damaged.names[name]} is paused: it is started`);
});

test("maintenance that is unhealthy is started again", async () => {
  const { docker, names, checkout, stack } = damaged;
  checkout.settings(stack, { healthCheckIntervalSec: 1 });
  mustSucceed(await damaged.up());
  const maintenance = docker.getContainer(names.maintenance);
  const isNow = (health: string) =>
    vi.waitFor(async () => expect((await maintenance.inspect()).State.Health?.Status).toBe(health), {
      timeout: 2 * 60_000,
      interval: 250,
    });
  await isNow("healthy");
  const forget = await maintenance.exec({ Cmd: ["rm", "/tmp/last-success"] });
  await forget.start({});
  await isNow("unhealthy");
  const { stderr } = await damaged.preview();
  expect(stderr).toContain(`${names.maintenance} is unhealthy: it is started again`);
  expect((await damaged.expectHealed()).stderr).toContain(`${names.maintenance} is unhealthy: it is started again`);
  await isNow("healthy");
});

test.each(CONTAINERS)("a killed %s that does not come back is started", async (name) => {
  await damaged.docker.getContainer(damaged.names[name]).update({ RestartPolicy: { Name: "no" } });
  await damaged.docker.getContainer(damaged.names[name]).kill();
  expect((await damaged.expectHealed()).stderr).toContain(`${damaged.names[name]} is stopped: it is started`);
});

test.each(CONTAINERS)("a removed %s is made again", async (name) => {
  await damaged.removeContainer(damaged.names[name]);
  expect((await damaged.expectHealed()).stderr).toContain(`${damaged.names[name]} is gone: it is made again`);
});

test.each(CONTAINERS)("a %s whose configuration volume is gone is made again with it", async (name) => {
  await damaged.removeContainer(damaged.names[name]);
  await damaged.docker.getVolume(damaged.names[`${name}ConfigVolume`]).remove();
  const { stderr } = await damaged.expectHealed();
  expect(stderr).toContain(`${damaged.names[`${name}ConfigVolume`]} is gone: it is made again`);
});

test.each(CONTAINERS)("a %s that was taken off the network is made again", async (name) => {
  await damaged.docker.getNetwork(damaged.names.network).disconnect({ Container: damaged.names[name], Force: true });
  expect((await damaged.expectHealed()).stderr).toContain(`${damaged.names[name]} was taken off its network`);
});

test("a network that is gone is made again with its containers", async () => {
  await damaged.removeNetwork();
  expect((await damaged.expectHealed()).stderr).toContain(`${damaged.names.network} is gone: it is made again`);
});

test("a network that is gone while its containers are stopped, likewise", async () => {
  await damaged.stop(...CONTAINERS.map((name) => damaged.names[name]));
  await damaged.removeNetwork();
  expect((await damaged.expectHealed()).stderr).toContain(`${damaged.names.network} is gone: it is made again`);
});

test("a network that somebody made anew under the same name is no network of the stopped containers", async () => {
  await damaged.stop(...CONTAINERS.map((name) => damaged.names[name]));
  const network = (await damaged.docker.getNetwork(damaged.names.network).inspect()) as {
    Name: string;
    Labels: Record<string, string>;
    IPAM: { Driver: string; Config: { Subnet: string; Gateway: string }[] };
  };
  await damaged.removeNetwork();
  await damaged.docker.createNetwork({ Name: network.Name, Labels: network.Labels, IPAM: network.IPAM });
  expect((await damaged.expectHealed()).stderr).toContain(`${damaged.names.network} is gone: it is made again`);
});

test("a pruned image is no lost volume: files are read by the container's own, and `up` makes it again", async () => {
  const tags = [imageTag("postgres"), imageTag("pgbouncer")];
  for (const tag of tags) await damaged.docker.getImage(tag).remove({ force: true });
  const { checkout, stack } = damaged;
  const preview = await damaged.preview("--expect-no-changes");
  expect(preview.exitCode).toBe(1);
  for (const tag of tags) expect(preview.stderr).toContain(`image ${tag} is gone: it is made again`);
  const files = (name: string) => `**aiwdb:index:VolumeFiles::database-${name}-files`;
  const refresh = ["refresh", "--yes", "--target", files("postgres"), "--target", files("pgbouncer")];
  const refreshed = await checkout.aiwdb(["pulumi", "--stack", stack, "--", ...refresh]);
  expect(refreshed.exitCode, refreshed.all).toBe(0);
  expect(refreshed.all).not.toMatch(/deleted/);
  await damaged.expectHealed();
  for (const tag of tags) expect(await findImage(damaged.docker, tag)).toMatchObject({ tag });
});
