import { readFileSync, statfsSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import pg from "pg";
import { testDatabase } from "../../testing/databases/test-database.ts";
import { adminConfig, type TestServer } from "../../testing/description/server.ts";
import type { Template } from "../../testing/pool/registry.ts";
import { localServerProcesses } from "../../testing/server/local.ts";
import { countOf, NAME } from "./place.ts";
import { compare, long, say, section, some } from "./report.ts";

/** Databases per second, then memory and disk over many. */
export async function measureThroughput(server: TestServer, template: Template): Promise<void> {
  const workers = 32;
  const each = async (total: number, work: () => Promise<void>) => {
    let left = total;
    const start = performance.now();
    await Promise.all(
      Array.from({ length: workers }, async () => {
        while (left-- > 0) await work();
      }),
    );
    return total / ((performance.now() - start) / 1_000);
  };
  const settled = async () => {
    while ((await countOf("returned", "dropping", "creating")) > 0) await wait(20);
  };
  const memory = () => {
    const fs = statfsSync("/dev/shm");
    const [file = ""] = localServerProcesses(NAME);
    const pid = readFileSync(file, "utf8").split("\n")[0];
    const rss = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return {
      diskMiB: ((fs.blocks - fs.bfree) * fs.bsize) / 1024 ** 2,
      serverMiB: Number(rss) / 1024,
      takerMiB: process.memoryUsage().rss / 1024 ** 2,
    };
  };
  const takeAndReturn = async () => {
    const db = await testDatabase();
    await db.drop();
  };
  const mine = await each(some(1_000), takeAndReturn);
  await settled();
  const pool = new pg.Pool({ ...adminConfig(server, "postgres"), max: workers });
  let number = 0;
  const bareRate = await each(some(1_000), async () => {
    const name = `bare_${(number += 1)}`;
    await pool.query(`create database ${name} template ${template.database} strategy file_copy`);
    await pool.query(`drop database ${name}`);
  });
  await pool.end();
  section("1,000 databases, 32 workers", "what", "databases per second");
  say(`| taken and returned | ${mine.toFixed(1)} |`);
  say(`| bare CREATE and DROP, as many connections | ${bareRate.toFixed(1)} |`);
  say(`| ratio | ${(mine / bareRate).toFixed(2)} |`);

  const name = "1,000 taken and returned by 32, against bare CREATE and DROP";
  compare(name, [bareRate], [mine], { atLeast: 1 }, "per s");

  const total = long ? 10_000 : some(2_000);
  const columns = ["databases", "disk MiB", "server's first process MiB", "taker MiB"];
  section(`Memory and disk over ${total.toLocaleString("en")} databases`, ...columns);
  for (let done = 0; done <= total; done += total / 5) {
    if (done > 0) await each(total / 5, takeAndReturn);
    await settled();
    const { diskMiB, serverMiB, takerMiB } = memory();
    say(`| ${done} | ${diskMiB.toFixed(0)} | ${serverMiB.toFixed(0)} | ${takerMiB.toFixed(0)} |`);
  }
}
