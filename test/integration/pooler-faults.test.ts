import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import {
  times,
  asSuperuser,
  containerName,
  docker,
  eventually,
  open,
  query,
  refusal,
  shell,
  startedAt,
  type Change,
} from "../helpers/connect.ts";
import { SETTINGS } from "../helpers/real-stack.ts";

/** Processes of a container by name, killed as the kernel would: the container's init sees a child die. */
const killInside = (service: "postgres" | "pgbouncer") =>
  shell(
    service,
    service === "postgres"
      ? "kill -9 $(head -n 1 /var/lib/postgresql/data/pgdata/postmaster.pid)"
      : 'for p in /proc/[0-9]*; do read -r name < $p/comm && [ "$name" = pgbouncer ] && kill -9 "${p#/proc/}"; done; true',
  );

/** Clients that query all the time and come back when they are cut off, until told to stop. */
function load(count: number, change: Change = {}) {
  const stopped = new AbortController();
  let answered = 0;
  let cut = 0;
  const clients = times(count).map(async () => {
    while (!stopped.signal.aborted) {
      try {
        const client = await open("app_user", "transaction", change);
        try {
          while (!stopped.signal.aborted) {
            await client.query("select 1");
            answered += 1;
          }
        } finally {
          client.end().catch(() => {});
        }
      } catch {
        cut += 1;
        await sleep(50); // as a driver's back-off would
      }
    }
  });
  return {
    answered: () => answered,
    cut: () => cut,
    stop: async () => {
      stopped.abort();
      await Promise.all(clients);
    },
  };
}

test("the pooler killed under 200 clients is back at once, its clients come back, and no transaction is left behind", async () => {
  const clients = load(200);
  try {
    await expect.poll(() => clients.answered()).toBeGreaterThan(200);
    const orphan = await open("app_user", "transaction");
    onTestFinished(() => void orphan.end().catch(() => {})); // the kill cut it off
    await orphan.query("begin");
    await orphan.query("select count(*) from public.users");
    const before = await startedAt("pgbouncer");
    const { RestartCount: restarts } = await docker().getContainer(containerName("pgbouncer")).inspect();
    await killInside("pgbouncer");
    await eventually(async () => expect(await startedAt("pgbouncer")).not.toBe(before), 60_000);
    await eventually(() => query("app_user", "transaction", "select 1"), 60_000);
    // By the engine itself, by the first start that it tried and without a pause of its own.
    const { HostConfig, RestartCount, State } = await docker().getContainer(containerName("pgbouncer")).inspect();
    expect(["always", "unless-stopped"]).toContain(HostConfig.RestartPolicy?.Name);
    expect([RestartCount - restarts, State.Running]).toEqual([1, true]);
    expect(clients.cut()).toBeGreaterThan(0);
    const answered = clients.answered();
    await expect.poll(() => clients.answered()).toBeGreaterThan(answered + 200);
    const left = () =>
      asSuperuser(
        async (admin) =>
          (
            await admin.query(
              "select count(*)::int as count from pg_stat_activity where usename = 'app_user' and state like 'idle in transaction%'",
            )
          ).rows[0].count,
      );
    await expect.poll(left).toBe(0);
  } finally {
    await clients.stop();
  }
});

test("the server killed while the pooler lives comes back with its data, and the pooler's clients get service again without its restart", async () => {
  await asSuperuser(async (admin) => {
    await admin.query("create table if not exists public.test_survivors (i int)");
    await admin.query("insert into public.test_survivors values (1)");
  }, "ai_workflow_db");
  const clients = load(20);
  try {
    await expect.poll(() => clients.answered()).toBeGreaterThan(100);
    const [server, pooler] = [await startedAt("postgres"), await startedAt("pgbouncer")];
    await killInside("postgres");
    await eventually(async () => expect(await startedAt("postgres")).not.toBe(server), 60_000);
    await eventually(() => query("app_user", "transaction", "select 1"), 60_000);
    const answered = clients.answered();
    await expect.poll(() => clients.answered()).toBeGreaterThan(answered + 100);
    expect(await startedAt("pgbouncer")).toBe(pooler);
    expect(
      await asSuperuser(
        async (admin) => (await admin.query("select i from public.test_survivors")).rows,
        "ai_workflow_db",
      ),
    ).toEqual([{ i: 1 }]);
  } finally {
    await clients.stop();
    await eventually(() =>
      asSuperuser((admin) => admin.query("drop table if exists public.test_survivors"), "ai_workflow_db"),
    );
  }
});

test("a new client gets the pooler's own clear error when the server hangs, and service as soon as it is back", async () => {
  const server = docker().getContainer(containerName("postgres"));
  await server.pause();
  try {
    // The driver would wait longer than this test may take: the words are the pooler's, and so is the limit.
    const reason = await refusal(open("app_readonly", "transaction", { connectionTimeoutMillis: 600_000 }));
    expect(reason).toMatch(/client_login_timeout|server_login_retry|connect failed/);
  } finally {
    await server.unpause();
  }
  await eventually(() => query("app_readonly", "transaction", "select 1"), 60_000);
  const limits = await query<{ key: string; value: string }>("app_monitor", "transaction", "show config", {
    database: "pgbouncer",
  });
  expect(Number(limits.find(({ key }) => key === "client_login_timeout")?.value)).toBe(
    SETTINGS.pgbouncerClientLoginTimeoutSec,
  );
});
