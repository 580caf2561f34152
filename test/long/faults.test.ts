import { createServer as createHttpServer } from "node:http";
import { rmSync } from "node:fs";
import path from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Checkout } from "../helpers/checkout.ts";
import { mustSucceed } from "../helpers/real-stack.ts";
import { temporaryStacks, type TemporaryStacks } from "../helpers/temporary-stacks.ts";

let temporary: TemporaryStacks;
let checkout: Checkout;

beforeAll(async () => {
  temporary = await temporaryStacks();
  ({ checkout } = temporary);
});

afterEach(() => temporary.sweep());

afterAll(() => checkout.remove());

test.each([
  ["while containers are created", "Container database-postgres-container creating"],
  ["while the server is waited for", "ContainerReady database-postgres-ready creating"],
  ["while roles are created", "Role database-database-role-app_user creating"],
  ["while the database is created", "Database database-database-database creating"],
])("an up that is killed %s is continued by the next, and leaves no orphan", async (_when, line) => {
  const stack = temporary.add("killed");
  expect(await temporary.killAt(stack, line)).toContain(line);
  mustSucceed(await temporary.up(stack));
  await temporary.expectHealthy(stack);
  mustSucceed(await checkout.aiwdb(["preview", "--stack", stack, "--expect-no-changes"]));
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

test("a lost state is taken over on a terminal too, where Pulumi's words go past us", async () => {
  const stack = temporary.add("lost");
  mustSucceed(await temporary.up(stack));
  await temporary.asOwner(stack, (client) =>
    client.query("insert into users (username, email, hashed_password) values ('kept', 'kept@example.org', 'x')"),
  );
  rmSync(checkout.stateFile(stack));
  const shown = mustSucceed(await checkout.onTerminal(["up", "--stack", stack, "--reset-passwords", "--yes"])).stdout;
  expect(shown).toContain("taking over what is in the database");
  await temporary.expectHealthy(stack);
  const users = await temporary.asOwner(stack, async (client) => client.query("select username from users"));
  expect(users.rows).toEqual([{ username: "kept" }]);
  mustSucceed(await checkout.aiwdb(["preview", "--stack", stack, "--expect-no-changes"]));
});
