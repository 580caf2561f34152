import path from "node:path";
import { testDatabase } from "../../testing/databases/test-database.ts";
import type { TestServer } from "../../testing/description/server.ts";
import { aiwdb, libpqOf, run } from "./place.ts";
import { compare, head, ms, quantile, say, section, some } from "./report.ts";
import { warm } from "./warm.ts";

/** Parallel takers, against pgtestdb. */
export async function measureParallel(server: TestServer): Promise<void> {
  section("Parallel takers: time per database with its first query, clean-up aside");
  const ours = new Map<string, number[]>();
  const parallel = async (label: string, takers: number, total: number) => {
    const times: number[] = [];
    await Promise.all(
      Array.from({ length: takers }, async () => {
        for (let count = 0; count < Math.max(2, total / takers); count++) {
          const start = performance.now();
          const db = await testDatabase();
          const client = await db.connect();
          await client.query("select count(*) from users");
          times.push(performance.now() - start);
          await db.drop();
        }
      }),
    );
    ours.set(`${label} ${takers}`, times);
  };
  for (const takers of [1, 8, 32]) await parallel("cold", takers, some(64));
  await aiwdb("testdb", "start");
  for (const takers of [1, 8, 32]) {
    await warm(4);
    await parallel("pool", takers, some(64));
  }
  const theirs = new Map<number, number[]>();
  try {
    const { stdout } = await run("go", ["test", "-count=1", "-v", "-run", "TestTimes", "."], {
      cwd: path.join(import.meta.dirname, "pgtestdb"),
      env: libpqOf(server),
      maxBuffer: 1e8,
    });
    for (const [, json] of stdout.matchAll(/RESULT (.*)/g)) {
      const { takers, times } = JSON.parse(json ?? "") as { takers: number; times: number[] };
      theirs.set(takers, times);
    }
  } catch (error) {
    say(
      `pgtestdb could not be run: ${(error as { stdout?: string; message: string }).stdout?.slice(-500) ?? (error as Error).message}`,
    );
  }
  head(
    "takers",
    "cold: median, p95",
    "pool: median, p95",
    "pgtestdb 0.1.1: median, p95",
    "cold to pgtestdb",
    "pool to pgtestdb",
  );
  for (const takers of [1, 8, 32]) {
    const cold = ours.get(`cold ${takers}`) ?? [];
    const pool = ours.get(`pool ${takers}`) ?? [];
    const other = theirs.get(takers) ?? [];
    if (other.length > 0) compare(`cold, ${takers} takers, against pgtestdb`, other, cold, { atMost: 0.4 });
    const two = (times: number[]) => `${ms(quantile(times, 0.5))}, ${ms(quantile(times, 0.95))}`;
    const ratio = (times: number[]) => (quantile(times, 0.5) / quantile(other, 0.5)).toFixed(2);
    say(`| ${takers} | ${two(cold)} | ${two(pool)} | ${two(other)} | ${ratio(cold)} | ${ratio(pool)} |`);
  }
}
