import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { exec } from "../../toolchain/engine/containers.ts";
import { findImage } from "../../toolchain/images/build.ts";
import { imageTag } from "../../toolchain/images/tag.ts";
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

describe("maintenance that is unhealthy", () => {
  const becomes = (health: string) =>
    vi.waitFor(
      async () => {
        const { State } = await damaged.docker.getContainer(damaged.names.maintenance).inspect();
        expect(State.Health?.Status).toBe(health);
      },
      { timeout: 3 * 60_000, interval: 250 },
    );
  const makeUnhealthy = async () => {
    await becomes("healthy");
    const { exitCode } = await exec(damaged.docker, damaged.names.maintenance, ["rm", "/tmp/last-success"]);
    expect(exitCode).toBe(0);
    await becomes("unhealthy");
  };
  const said = () => `${damaged.names.maintenance} is unhealthy: it is started again`;

  beforeAll(async () => {
    damaged.checkout.settings(damaged.stack, { healthCheckIntervalSec: 1 });
    mustSucceed(await damaged.up());
  });

  test("is started again", async () => {
    await makeUnhealthy();
    expect((await damaged.preview()).stderr).toContain(said());
    expect((await damaged.expectHealed()).stderr).toContain(said());
    await becomes("healthy");
  });

  test("is made again where the data is gone", async () => {
    await makeUnhealthy();
    const { postgres, dataVolume } = damaged.names;
    await damaged.removeContainer(postgres);
    await damaged.docker.getVolume(dataVolume).remove();
    expect(mustSucceed(await damaged.up("--empty-database")).stderr).not.toContain(said());
    expect(await damaged.sql("select to_regclass('kept') is null")).toBe("t");
    await becomes("healthy");
  });
});

test("a database that somebody dropped is named by the preview, and made again, empty, only if the user says so", async () => {
  const inServer = (statement: string) =>
    exec(damaged.docker, damaged.names.postgres, ["psql", "-X", "-U", "postgres", "-d", "postgres", "-c", statement]);
  expect((await inServer("drop database ai_workflow_db with (force)")).exitCode).toBe(0);
  const preview = await damaged.preview("--expect-no-changes", "--json");
  expect(preview.exitCode).toBe(1);
  expect(JSON.parse(preview.stdout)).toMatchObject({
    repairs: ["database ai_workflow_db is gone from the server, and with it the data"],
  });
  const refused = await damaged.up();
  expect(refused.exitCode).toBe(1);
  expect(refused.stderr).toContain(`The database of stack "${damaged.stack}" is gone; nothing has been changed:`);
  const agreed = await damaged.up("--empty-database");
  expect(agreed.exitCode, agreed.all).toBe(0);
  expect(await damaged.sql("select count(*) > 0 from pgmigrations")).toBe("t");
});
