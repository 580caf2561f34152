import { setTimeout as wait } from "node:timers/promises";
import { testDatabase } from "../../testing/databases/test-database.ts";
import { timed } from "../measure.ts";
import { countOf } from "./place.ts";
import { say, section, some, spread, TIMES } from "./report.ts";

/** Waits until there are so many ready databases. */
export async function warm(atLeast: number): Promise<void> {
  while ((await countOf("ready")) < atLeast) await wait(10);
}

export async function measureWarm(): Promise<void> {
  const takes: number[] = [];
  const opens: number[] = [];
  const handedOpen: number[] = [];
  const queries: number[] = [];
  const drops: number[] = [];
  await (await testDatabase()).drop();
  for (let count = 0; count < some(200); count++) {
    if (count % 3 === 0) await warm(4);
    const start = performance.now();
    const db = await testDatabase();
    takes.push(performance.now() - start);
    const client = await db.connect();
    opens.push(performance.now() - start);
    await client.query("select count(*) from users");
    queries.push(performance.now() - start);
    drops.push(await timed(() => db.drop()));
  }
  for (let count = 0; count < some(200); count++) {
    const start = performance.now();
    const db = await testDatabase({ connect: true });
    handedOpen.push(performance.now() - start);
    await db.client?.query("select count(*) from users");
    await wait(20); // a short test; the next one's connection is opened meanwhile
    await db.drop();
  }
  section("From the warm pool", ...TIMES);
  say(`| ready database (\`testDatabase()\`) | ${spread(takes)} |`);
  say(`| the same with an open mTLS connection | ${spread(opens)} |`);
  say(
    `| handed out with an open connection (\`connect\`), tests of 20 ms one after the other | ${spread(handedOpen)} |`,
  );
  say(`| the same with a first query | ${spread(queries)} |`);
  say(`| given back | ${spread(drops)} |`);
  say(
    `| IntegreSQL, published (not measured here: not to be had from a registry) | | 0 wait, 70 with reconnect | 1 | |`,
  );
}
