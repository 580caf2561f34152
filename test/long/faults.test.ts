import { createServer as createHttpServer } from "node:http";
import { appendFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { until } from "../../base/retry.ts";
import { findImage } from "../../toolchain/images/build.ts";
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
import { mustSucceed } from "../helpers/real-stack.ts";

stacksOfFile();

test.each([
  ["while containers are created", "Container database-postgres-container creating"],
  ["while the server is waited for", "ContainerReady database-postgres-ready creating"],
  ["while roles are created", "Role database-database-role-app_user creating"],
  ["while the database is created", "Database database-database-database creating"],
])("an up that is killed %s is continued by the next, and leaves no orphan", async (_when, line) => {
  const stack = newStack("killed");
  expect(await temporary.killAt(stack, line)).toContain(line);
  mustSucceed(await up(stack));
  await expectHealthy(stack);
  mustSucceed(await checkout.aiwdb(["preview", "--stack", stack, "--expect-no-changes"]));
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

test("a setting the server refuses leaves the old ones in force, and up goes on once it is corrected", async () => {
  const stack = newStack("refused");
  mustSucceed(await up(stack));
  checkout.settings(stack, { maintenanceIntervalMin: 0, rolloutPhase: 1, postgresSettings: { work_mem: "banana" } });
  const result = await up(stack);
  expect(result.exitCode).toBe(1);
  expect(result.all).toContain("refused its new settings");
  expect(result.all).toContain("work_mem");
  checkout.settings(stack, { maintenanceIntervalMin: 0, rolloutPhase: 1 });
  mustSucceed(await up(stack));
  await expectHealthy(stack);
});

test("an engine that tells its version and then hangs", async () => {
  const socket = path.join(checkout.root, "../hangs.sock");
  const server = createHttpServer((request, response) => {
    if (request.url?.endsWith("/version")) response.end(JSON.stringify({ Version: "28.0.0" }));
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  try {
    const [result, doctor] = await Promise.all([
      checkout.aiwdb(["up", "--stack", "dev"], { DOCKER_HOST: `unix://${socket}` }),
      checkout.aiwdb(["doctor", "--json"], { DOCKER_HOST: `unix://${socket}` }),
    ]);
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain("did not answer a question within 30 s");
    const { parts, problems } = JSON.parse(doctor.stdout) as { parts: object[]; problems: object[] };
    expect(parts).not.toHaveLength(0);
    expect(problems).toMatchObject([{ subject: "Docker Engine" }]);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

const resetPasswords = ["up", "--reset-passwords", "--yes"];

test.each([
  ["when asked to", (stack: string) => checkout.aiwdb([...resetPasswords, "--stack", stack])],
  [
    "on a terminal too, where Pulumi's words go past us",
    (stack: string) => checkout.onTerminal([...resetPasswords, "--stack", stack]),
  ],
])("what is in the database of a lost state is taken over %s", async (_how, takeOver) => {
  const stack = newStack("lost");
  mustSucceed(await up(stack));
  await asOwner(stack, (client) =>
    client.query("insert into users (username, email, hashed_password) values ('kept', 'kept@example.org', 'x')"),
  );
  rmSync(checkout.stateFile(stack));
  expect(mustSucceed(await takeOver(stack)).all).toContain("taking over what is in the database");
  await expectHealthy(stack);
  const users = await asOwner(stack, async (client) => client.query("select username from users"));
  expect(users.rows).toEqual([{ username: "kept" }]);
  mustSucceed(await checkout.aiwdb(["preview", "--stack", stack, "--expect-no-changes"]));
});
