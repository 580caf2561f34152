import { afterAll, beforeAll, expect, test } from "vitest";
import { createDamagedStack, type DamagedStack } from "../helpers/damaged-stack.ts";

// More ways to damage it are in test/long/healing.test.ts.
let damaged: DamagedStack;

beforeAll(async () => {
  damaged = await createDamagedStack(`pr-heal-${process.pid}`);
});

afterAll(() => damaged.remove());

test("stopped containers are named by the preview and started by up", async () => {
  const { postgres, pgbouncer, maintenance } = damaged.names;
  await damaged.stop(postgres, pgbouncer, maintenance);
  const preview = await damaged.preview("--expect-no-changes", "--json");
  expect(preview.exitCode).toBe(1);
  const { repairs } = JSON.parse(preview.stdout) as { repairs: string[] };
  expect(repairs).toEqual(
    [postgres, pgbouncer, maintenance].map((name) => `container ${name} is stopped: it is started`),
  );
  const { stderr } = await damaged.expectHealed();
  for (const line of repairs) expect(stderr).toContain(line);
});

test("containers, network and configuration that are gone are made again around the data", async () => {
  const { postgres, pgbouncer, maintenance, network, postgresConfigVolume, pgbouncerConfigVolume } = damaged.names;
  await damaged.removeContainer(postgres, pgbouncer);
  for (const name of [postgresConfigVolume, pgbouncerConfigVolume]) await damaged.docker.getVolume(name).remove();
  await damaged.removeNetwork();
  const { stderr } = await damaged.expectHealed();
  for (const line of [
    `container ${postgres} is gone`,
    `container ${pgbouncer} is gone`,
    `container ${maintenance} is on a network that is gone`,
    `network ${network} is gone`,
    `volume ${postgresConfigVolume} is gone`,
    `volume ${pgbouncerConfigVolume} is gone`,
  ])
    expect(stderr).toContain(line);
});

test("plain Pulumi sees and starts a container that does not run", async () => {
  const { stack, checkout, names } = damaged;
  await damaged.stop(names.postgres);
  const plain = (command: string) =>
    checkout.shell(`eval "$(bin/aiwdb env --pulumi --stack ${stack})" && pulumi ${command} -s ${stack}`);
  const preview = await plain("preview --expect-no-changes");
  expect(preview.exitCode).not.toBe(0);
  expect(preview.all).toContain(`container ${names.postgres} is stopped`);
  const up = await plain("up --yes --skip-preview");
  expect(up.exitCode, up.all).toBe(0);
  expect(await damaged.sql("select mark from kept")).toBe("a row");
});

test("no empty server takes the place of data that is gone, unless the user says so", async () => {
  const { dataVolume, postgres } = damaged.names;
  await damaged.removeContainer(postgres);
  await damaged.docker.getVolume(dataVolume).remove();
  const refused = await damaged.up();
  expect(refused.exitCode).toBe(1);
  expect(refused.stderr).toContain("is gone; nothing has been changed");
  expect(refused.stderr).toContain("--empty-database");
  await expect(damaged.docker.getVolume(dataVolume).inspect()).rejects.toMatchObject({ statusCode: 404 });
  await expect(damaged.docker.getContainer(postgres).inspect()).rejects.toMatchObject({ statusCode: 404 });

  const { checkout, stack } = damaged;
  const declined = await checkout.onTerminal(["up", "--stack", stack], {}, "no");
  expect(declined.exitCode, declined.all).toBe(0);
  expect(declined.stdout).toMatch(/Go on with an EMPTY database[^]*Nothing has been changed/);
  await expect(damaged.docker.getVolume(dataVolume).inspect()).rejects.toMatchObject({ statusCode: 404 });

  const agreed = await damaged.up("--empty-database");
  expect(agreed.exitCode, agreed.all).toBe(0);
  expect(await damaged.sql("select to_regclass('kept') is null")).toBe("t");
  expect(await damaged.sql("select count(*) > 0 from pgmigrations")).toBe("t");
});
