import { readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { engineNames } from "../../infra/settings/names.ts";
import { until } from "../../base/retry.ts";
import { mustSucceed } from "../helpers/real-stack.ts";
import {
  asOwner,
  checkout,
  docker,
  expectHealthy,
  expectNothingMade,
  newStack,
  stacksOfFile,
  temporary,
  up,
} from "../helpers/file-stacks.ts";

stacksOfFile();

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

  // It is taken over in test/long/faults.test.ts.
  test("a lost state is noticed before anything is changed, and another user's is not taken over unasked", async () => {
    const before = await docker.getContainer(engineNames(stack).postgres).inspect();
    const file = checkout.stateFile(stack);
    const state = readFileSync(file);
    rmSync(file);
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
    writeFileSync(file, state);
    await expectHealthy(stack);
    expect(await keptUsers()).toEqual([{ username: "kept" }]);
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
