import { execFileSync } from "node:child_process";
import { createServer, type Server } from "node:net";
import { appendFileSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import type Docker from "dockerode";
import type pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { derivedAddresses } from "../../infra/settings/addresses.ts";
import { engineNames } from "../../infra/settings/names.ts";
import { until } from "../../base/retry.ts";
import { checkDisk } from "../../toolchain/machine.ts";
import { findImage } from "../../toolchain/images/build.ts";
import { imageTag } from "../../toolchain/images/tag.ts";
import type { Checkout } from "../helpers/checkout.ts";
import { listObjects } from "../../stack/engine-objects.ts";
import { mustSucceed } from "../helpers/real-stack.ts";
import { temporaryStacks, type TemporaryStacks } from "../helpers/temporary-stacks.ts";

let temporary: TemporaryStacks;
let checkout: Checkout;
let docker: Docker;

const newStack = (purpose: string, settings?: Record<string, unknown>) => temporary.add(purpose, settings);
const up = (stack: string, ...more: string[]) => temporary.up(stack, ...more);
const asOwner = <T>(stack: string, work: (client: pg.Client) => Promise<T>) => temporary.asOwner(stack, work);
const expectHealthy = (stack: string) => temporary.expectHealthy(stack);
const expectNothingMade = (stack: string) => temporary.expectNothingMade(stack);

beforeAll(async () => {
  temporary = await temporaryStacks();
  ({ checkout, docker } = temporary);
});

afterEach(() => temporary.sweep());

afterAll(() => checkout.remove());

describe("an up that is killed", () => {
  test.each([
    ["while containers are created", "Container database-postgres-container creating"],
    ["while migrations run", "Migrations database-database-migrations creating"],
  ])("%s is continued by the next, and leaves no orphan", async (_when, line) => {
    const stack = newStack("killed");
    expect(await temporary.killAt(stack, line)).toContain(line);
    mustSucceed(await up(stack));
    await expectHealthy(stack);
    mustSucceed(await checkout.aiwdb(["preview", "--stack", stack, "--expect-no-changes"]));
  });
});

test("an up that is killed while a helper holds a volume is taken down without another up", async () => {
  const stack = newStack("helper");
  const running = checkout.start(["up", "--stack", stack]);
  const helperOf = async () => {
    const containers = await docker.listContainers({ all: true, filters: { label: ["ai-workflow-database.helper"] } });
    return containers.find(({ Labels }) => Labels["ai-workflow-database.helper"]?.startsWith(`aiwdb-${stack}-`));
  };
  const seen = await until(helperOf, { deadlineMs: 120_000, everyMs: 5 });
  running.kill();
  await running.result;
  expect(seen).toBeDefined();
  mustSucceed(await checkout.aiwdb(["down", "--stack", stack]));
  await expectNothingMade(stack);
  expect(await helperOf()).toBeUndefined();
});

test("an up that is killed while an image is built leaves none half-built, and the next one builds it", async () => {
  const stack = newStack("image");
  const dockerfile = path.join(checkout.root, "infra/servers/pgbouncer/image/Dockerfile");
  const original = readFileSync(dockerfile);
  appendFileSync(dockerfile, `RUN sleep 5 # ${process.pid} ${Date.now()}\n`);
  let tag: string | undefined;
  try {
    const running = checkout.start(["up", "--stack", stack]);
    const building = async () => /(\S+\/pgbouncer:\S+): building on/.exec(running.output())?.[1];
    tag = await until(building, { deadlineMs: 120_000, everyMs: 5 });
    running.kill();
    const { all } = await running.result;
    expect(tag, all).toBeDefined();
    expect(await findImage(docker, tag ?? "")).toBeUndefined();
    await expectNothingMade(stack);

    mustSucceed(await up(stack));
    expect(await findImage(docker, tag ?? "")).toMatchObject({ tag });
    await expectHealthy(stack);
    mustSucceed(await checkout.aiwdb(["down", "--stack", stack]));
  } finally {
    writeFileSync(dockerfile, original);
    if (tag !== undefined && (await findImage(docker, tag))) await docker.getImage(tag).remove();
  }
});

test("of two first runs at once exactly one goes on, and the other names it", async () => {
  const stack = newStack("twice");
  const runs = [checkout.start(["up", "--stack", stack]), checkout.start(["up", "--stack", stack])];
  const results = await Promise.all(runs.map(({ result }) => result));
  expect(results.map(({ exitCode }) => exitCode).sort(), results.map(({ all }) => all).join("\n")).toEqual([0, 1]);
  const refused = results.find(({ exitCode }) => exitCode === 1);
  const holder = runs[results.findIndex(({ exitCode }) => exitCode === 0)];
  expect(refused?.stderr).toContain(`held by process ${holder?.pid} on `);
  expect(refused?.stdout).toBe("");
  await expectHealthy(stack);
});

describe("what is in the way is named before anything is created", () => {
  const foreign: { remove(): Promise<unknown> }[] = [];
  afterEach(async () => {
    for (const object of foreign.splice(0)) await object.remove();
  });

  test("a port in use", async () => {
    const server: Server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    const stack = newStack("port", { pgbouncerPort: port });
    try {
      const result = await up(stack);
      expect(result.exitCode).toBe(1);
      expect(result.stderr).toContain(`port ${port} on 127.0.0.1 is in use`);
      await expectNothingMade(stack);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });

  test("a container, a network and a volume of somebody else, all at once", async () => {
    const stack = newStack("names");
    const names = engineNames(stack);
    const container = await docker.createContainer({ name: names.postgres, Image: imageTag("pgbouncer") });
    foreign.push({ remove: () => container.remove({ force: true, v: true }) });
    foreign.push(
      await docker.createNetwork({
        Name: names.network,
        IPAM: { Driver: "default", Config: [{ Subnet: "10.99.77.0/28" }] },
      }),
    );
    await docker.createVolume({ Name: names.dataVolume });
    foreign.push(docker.getVolume(names.dataVolume));

    const result = await up(stack);
    expect(result.exitCode).toBe(1);
    for (const name of [names.postgres, names.network, names.dataVolume]) expect(result.stderr).toContain(name);
    await expectNothingMade(stack);
    expect((await container.inspect()).Name, "the other's container is still there").toBe(`/${names.postgres}`);
    for (const object of foreign.splice(0)) await object.remove();
  });

  test("a subnet that another network has", async () => {
    const networkSubnet = "10.99.78.0/28";
    const stack = newStack("subnet", { networkSubnet });
    foreign.push(
      await docker.createNetwork({
        Name: `other-${process.pid}`,
        IPAM: { Driver: "default", Config: [{ Subnet: networkSubnet }] },
      }),
    );
    const result = await up(stack);
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain("networkSubnet");
    expect(result.stderr).toContain(`other-${process.pid}`);
    await expectNothingMade(stack);
  });

  test("but derived addresses that others have are replaced by the next free ones, for good", async () => {
    const stack = newStack("derived");
    const [first, second] = [derivedAddresses(stack), derivedAddresses(stack, 1)];
    foreign.push(
      await docker.createNetwork({
        Name: `other-${process.pid}`,
        IPAM: { Driver: "default", Config: [{ Subnet: first.networkSubnet }] },
      }),
    );
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(first.postgresPort, "127.0.0.1", resolve));
    try {
      const { stderr } = mustSucceed(await up(stack));
      expect(stderr).toContain(`postgresPort ${second.postgresPort}, networkSubnet ${second.networkSubnet}`);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
    for (const object of foreign.splice(0)) await object.remove();
    const { stdout } = mustSucceed(await checkout.aiwdb(["url", "--stack", stack, "--mode", "direct"]));
    expect(new URL(stdout.trim()).port).toBe(String(second.postgresPort));
    // The first ones are free again, and a running stack does not move.
    mustSucceed(await checkout.aiwdb(["preview", "--stack", stack, "--expect-no-changes"]));
    await expectHealthy(stack);
  });

  test("every wrong setting, in one message", async () => {
    const stack = newStack("settings", {
      databaseName: "Bad Name",
      pgbouncerDefaultPoolSize: -1,
      poolSize: 3,
      postgresMemoryMiB: "much",
      certLeafValidityDays: 20,
      networkSubnet: "10.99.79.0/28",
    });
    foreign.push(
      await docker.createNetwork({
        Name: `other-${process.pid}`,
        IPAM: { Driver: "default", Config: [{ Subnet: "10.99.79.0/28" }] },
      }),
    );
    const result = await up(stack, "--json");
    expect(result.exitCode).toBe(1);
    const { error } = JSON.parse(result.stdout) as { error: { problems: { subject: string }[] } };
    expect(error.problems.map(({ subject }) => subject).sort()).toEqual([
      "certRenewBeforeDays", // an impossible sum
      "databaseName",
      "networkSubnet", // taken
      "pgbouncerDefaultPoolSize",
      "poolSize",
      "postgresMemoryMiB",
    ]);
    expect(result.stderr).toContain("6 problems");
    await expectNothingMade(stack);
    checkout.settings(stack, {});
  });

  test("more CPUs than the engine has", async () => {
    const { NCPU } = (await docker.info()) as { NCPU: number };
    const stack = newStack("cpus", { postgresCpus: NCPU + 1 });
    const result = await up(stack);
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain(`postgresCpus: ${NCPU + 1} is above the ${NCPU} CPU`);
    await expectNothingMade(stack);
  });

  test("a disk with less than 1 GiB", async () => {
    if (process.getuid?.() !== 0) {
      // Only root can mount a small disk: then the check itself has to do.
      const [problem] = await checkDisk([{ subject: "state folder", path: checkout.root }], Number.MAX_SAFE_INTEGER);
      expect(problem?.subject).toBe("state folder");
      return;
    }
    const stack = newStack("disk");
    const small = path.join(checkout.root, "../small");
    mkdirSync(small);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=500m", "tmpfs", small]);
    try {
      const result = await checkout.aiwdb(["up", "--stack", stack], { XDG_STATE_HOME: small });
      expect(result.exitCode).toBe(1);
      expect(result.stderr).toContain("cannot be brought up; nothing has been changed");
      expect(result.stderr).toMatch(/state folder: .*small\/ai-workflow-database has 0\.5 GiB free; at least 1\.0 are/);
      await expectNothingMade(stack);
    } finally {
      execFileSync("umount", [small]);
      rmSync(small, { recursive: true });
    }
  });

  test("an authority to replace where there is none yet", async () => {
    const stack = newStack("rotate");
    const result = await up(stack, "--rotate-authority");
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toMatch(/no certificate authority yet; nothing has been changed[^]*--rotate-authority/);
    await expectNothingMade(stack);
  });

  test("an engine on another machine", async () => {
    for (const host of ["tcp://203.0.113.1:2375", "ssh://somebody@203.0.113.1"]) {
      const result = await checkout.aiwdb(["up", "--stack", "dev"], { DOCKER_HOST: host });
      expect(result.exitCode).toBe(1);
      expect(result.stderr).toContain(`DOCKER_HOST (${host}): is on another machine`);
    }
  });

  test("an engine that does not answer", async () => {
    const result = await checkout.aiwdb(["up", "--stack", "dev"], { DOCKER_HOST: "unix:///nonexistent/docker.sock" });
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain("/nonexistent/docker.sock");
    expect(result.stderr).not.toContain("bug");
  });
});

describe("on a stack that is up", () => {
  let stack: string;
  beforeAll(async () => {
    stack = newStack("faults");
    temporary.keep(stack); // shared by the tests of this group
    mustSucceed(await up(stack));
    await asOwner(stack, (client) =>
      client.query("insert into users (username, email, hashed_password) values ('kept', 'kept@example.org', 'x')"),
    );
  });
  afterAll(async () => {
    mustSucceed(await checkout.aiwdb(["down", "--stack", stack]));
    await expectNothingMade(stack);
  });
  const keptUsers = () => asOwner(stack, async (client) => (await client.query("select username from users")).rows);

  test("a wrong passphrase is refused and changes nothing", async () => {
    const file = path.join(checkout.env["XDG_DATA_HOME"] ?? "", "ai-workflow-database/stacks", stack, "passphrase");
    const right = readFileSync(file);
    writeFileSync(file, "wrong");
    const result = await up(stack);
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain("The passphrase is not the one");
    rmSync(file);
    expect((await up(stack)).stderr).toContain(`The passphrase of stack "${stack}" is lost`);
    writeFileSync(file, right);
    await expectHealthy(stack);
  });

  test("a state file cut in half is refused with the command that puts the last good one back", async () => {
    const file = checkout.stateFile(stack);
    const whole = readFileSync(file);
    truncateSync(file, Math.floor(whole.length / 2));
    const result = await up(stack);
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain(file);
    expect(result.stderr).toMatch(/cp '.+' '.+'/);
    writeFileSync(file, whole);
    await expectHealthy(stack);
  });

  test("the second of two runs says who holds the lock", async () => {
    const first = checkout.start(["up", "--stack", stack, "--rotate-certificates"]);
    await until(async () => first.output().includes("Updating") || undefined, { deadlineMs: 60_000, everyMs: 10 });
    const second = await up(stack);
    mustSucceed(await first.result);
    expect(second.exitCode).toBe(1);
    expect(second.stderr).toMatch(/held by process \d+/);
    await expectHealthy(stack);
  });

  test("a migration with an error leaves the database as it was, and the next up goes on once it is mended", async () => {
    const file = (direction: string) => path.join(checkout.root, `migrations/0008_create_broken.${direction}.sql`);
    const migrations = path.join(checkout.root, "migrations");
    const later = readdirSync(migrations).filter((name) => Number(name.slice(0, 4)) >= 8);
    const saved = later.map((name) => [name, readFileSync(path.join(migrations, name))] as const);
    for (const name of later) rmSync(path.join(migrations, name));
    const header = "-- Phase: 1\n-- Why: a test.\n-- Lock: none.\n";
    writeFileSync(file("down"), `-- Data loss: public.broken.\n${header}drop table public.broken;\n`);
    writeFileSync(
      file("up"),
      `${header}create table public.broken (id integer);\ninsert into public.broken values ('no number');\n`,
    );

    const failed = await up(stack);
    expect(failed.exitCode).toBe(1);
    expect(failed.all).toContain("0008_create_broken");
    expect(failed.all).toContain("no number");
    expect(
      await asOwner(stack, async (client) => (await client.query("select to_regclass('public.broken') as found")).rows),
    ).toEqual([{ found: null }]);

    writeFileSync(file("up"), `${header}create table public.broken (id integer);\n`);
    mustSucceed(await up(stack));
    await expectHealthy(stack);
    mustSucceed(await checkout.aiwdb(["rollback", "--stack", stack, "--steps", "1", "--accept-data-loss"]));
    rmSync(file("up"));
    rmSync(file("down"));
    for (const [name, content] of saved) writeFileSync(path.join(migrations, name), content);
    expect(await keptUsers()).toEqual([{ username: "kept" }]);
  });

  test("a setting the server refuses leaves the old ones in force", async () => {
    checkout.settings(stack, { maintenanceIntervalMin: 0, rolloutPhase: 1, postgresSettings: { work_mem: "banana" } });
    const result = await up(stack);
    expect(result.exitCode).toBe(1);
    expect(result.all).toContain("refused its new settings");
    expect(result.all).toContain("work_mem");
    checkout.settings(stack, { maintenanceIntervalMin: 0, rolloutPhase: 1 });
    mustSucceed(await up(stack));
    await expectHealthy(stack);
  });

  test("a lost state is noticed before anything is changed, and the data is taken over when asked to", async () => {
    const before = await docker.getContainer(engineNames(stack).postgres).inspect();
    rmSync(checkout.stateFile(stack));
    const refused = await up(stack);
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toContain("--reset-passwords");
    expect((await docker.getContainer(engineNames(stack).postgres).inspect()).Id, "the server still runs").toBe(
      before.Id,
    );

    // The identity of the lost state may be another user's for all that anybody knows.
    const alone = await up(stack, "--reset-passwords");
    expect(alone.exitCode).toBe(1);
    expect(alone.stderr).toContain("--reset-passwords --yes");
    mustSucceed(await up(stack, "--reset-passwords", "--yes"));
    await expectHealthy(stack);
    expect(await keptUsers()).toEqual([{ username: "kept" }]);
    mustSucceed(await checkout.aiwdb(["preview", "--stack", stack, "--expect-no-changes"]));
  });

  test("--json gives one document, also of a stack that is not healthy", async () => {
    const pooler = docker.getContainer(engineNames(stack).pgbouncer);
    await pooler.stop();
    try {
      const { exitCode, stdout } = await checkout.aiwdb(["status", "--stack", stack, "--json"]);
      expect(exitCode).toBe(1);
      expect(JSON.parse(stdout)).toMatchObject({ stack, healthy: false, error: { message: expect.any(String) } });
    } finally {
      await pooler.start();
    }
    const doctor = await checkout.aiwdb(["doctor", "--stack", stack, "--json"]);
    expect(JSON.parse(doctor.stdout)).toMatchObject({ parts: expect.anything(), problems: [] });
    checkout.settings(stack, { maintenanceIntervalMin: 0, rolloutPhase: 1, poolSize: 3 });
    const ill = await checkout.aiwdb(["doctor", "--stack", stack, "--json"]);
    checkout.settings(stack, { maintenanceIntervalMin: 0, rolloutPhase: 1 });
    expect(JSON.parse(ill.stdout)).toMatchObject({
      parts: expect.arrayContaining([expect.objectContaining({ part: "Docker Engine" })]),
      problems: [{ subject: "poolSize" }],
      error: { problems: [{ subject: "poolSize" }] },
    });
    const preview = await checkout.aiwdb(["preview", "--stack", stack, "--json"]);
    expect(JSON.parse(preview.stdout)).toMatchObject({ changeSummary: expect.anything() });
  });
});

test.each([
  ["PostgreSQL", { postgresSettings: { work_mem: "banana" } }],
  ["PgBouncer", { pgbouncerSettings: { stats_period: "banana" } }],
])("a first run that %s cannot start with is gone on with once the setting is corrected", async (_server, settings) => {
  const stack = newStack("banana", settings);
  const failed = await up(stack);
  expect(failed.exitCode).toBe(1);
  expect(failed.all).toContain("does not stay up");
  expect(failed.all).toContain("banana");
  checkout.settings(stack, { maintenanceIntervalMin: 0, rolloutPhase: 1 });
  const corrected = mustSucceed(await up(stack));
  expect(corrected.all).toContain("which did not stay up");
  await expectHealthy(stack);
});

test("a password in clear is refused, also by plain Pulumi, with the command that makes it a secret; nothing is made", async () => {
  const key = "ai-workflow-database:appUserPassword";
  const password = "in-clear-and-therefore-known";
  const stack = newStack("clear", { appUserPassword: password, databaseName: "No" });
  const plainPulumi = ["pulumi", "--stack", stack, "--", "preview"];
  const refusals = [];
  for (const command of [["up", "--stack", stack], ["preview", "--stack", stack], plainPulumi])
    refusals.push(await checkout.aiwdb(command));
  checkout.settings(stack, { maintenanceIntervalMin: 0, rolloutPhase: 1 });
  for (const refused of refusals) {
    expect(refused.exitCode).toBe(1);
    expect(refused.all).toContain("- appUserPassword: stands in ");
    expect(refused.all).toContain(`\`npx aiwdb pulumi --stack ${stack} -- config set --secret ${key}\``);
    expect(refused.all).toContain("- databaseName: ");
    expect(refused.all).not.toContain(password);
    expect(refused.all).not.toContain("unhandled exception");
  }
  await expectNothingMade(stack);

  checkout.settings(stack, { maintenanceIntervalMin: 0, rolloutPhase: 1 });
  mustSucceed(
    await checkout.aiwdb([
      "pulumi",
      "--stack",
      stack,
      "--",
      "config",
      "set",
      "--secret",
      key,
      "another-one-that-is-new",
    ]),
  );
  mustSucceed(await checkout.aiwdb(plainPulumi));
  mustSucceed(await checkout.aiwdb(["preview", "--stack", stack]));
});

test("two stacks live side by side, and removing one leaves the other whole", async () => {
  const one = newStack("one");
  const two = newStack("two");
  mustSucceed(await up(one));
  mustSucceed(await up(two));
  mustSucceed(await checkout.aiwdb(["down", "--stack", one]));
  await expectNothingMade(one);
  await expectHealthy(two);
  expect((await listObjects(docker, two)).containers.every(({ running }) => running)).toBe(true);
});
