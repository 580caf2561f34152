import { execFileSync } from "node:child_process";
import { createServer, type Server } from "node:net";
import { mkdirSync, rmSync } from "node:fs";
import path from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { engineNames } from "../../infra/settings/names.ts";
import { checkDisk } from "../../toolchain/machine.ts";
import { imageTag } from "../../toolchain/images/tag.ts";
import { foreignNetwork } from "../helpers/foreign-network.ts";
import { mustSucceed } from "../helpers/real-stack.ts";
import { checkout, docker, expectNothingMade, newStack, stacksOfFile, up } from "../helpers/file-stacks.ts";

stacksOfFile();

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
    foreign.push(await foreignNetwork(docker, "10.99.77.0/28", names.network));
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
    foreign.push(await foreignNetwork(docker, networkSubnet));
    const result = await up(stack);
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain("networkSubnet");
    expect(result.stderr).toContain(`other-${process.pid}`);
    await expectNothingMade(stack);
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
    foreign.push(await foreignNetwork(docker, "10.99.79.0/28"));
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
      const [problem] = await checkDisk({ "state folder": checkout.root }, Number.MAX_SAFE_INTEGER);
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
