import { readFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type pg from "pg";
import { createClone, dropClone } from "../../testing/pool/clones.ts";
import type { Registry, Template } from "../../testing/pool/registry.ts";
import { testDatabase } from "../../testing/databases/test-database.ts";
import { timed } from "../measure.ts";
import { home, NAME } from "./place.ts";
import { compare, quantile, say, section, some, spread, TIMES } from "./report.ts";

/** Ends the pool's keeper, so that nobody else makes databases meanwhile. */
async function endKeeper(): Promise<void> {
  const file = path.join(home, "data/ai-workflow-database/stacks", NAME, "testdb.pid");
  process.kill((JSON.parse(readFileSync(file, "utf8")) as { pid: number }).pid);
  await wait(1_500);
}

/** @returns times of the bare statement */
export async function measureCold(registry: Registry, template: Template, bareClient: pg.Client): Promise<number[]> {
  await endKeeper();
  const clone = () => createClone(registry, template, { label: "", run: "" });
  const bare: number[] = [];
  const bareDrop: number[] = [];
  const cold: number[] = [];
  const coldDrop: number[] = [];
  const walLog: number[] = [];
  const create = (strategy: string) =>
    timed(() => bareClient.query(`create database bare template ${template.database} strategy ${strategy}`));
  for (let count = 0; count < some(40); count++) {
    bare.push(await create("file_copy"));
    bareDrop.push(await timed(() => bareClient.query("drop database bare")));
    let name = "";
    cold.push(await timed(async () => (name = await clone())));
    coldDrop.push(await timed(() => dropClone(registry, name)));
    walLog.push(await create("wal_log"));
    await bareClient.query("drop database bare");
  }
  section("Cold clone against the bare statement, alternating, no pool at work", ...TIMES);
  say(`| bare CREATE DATABASE, FILE_COPY | ${spread(bare)} |`);
  say(`| cold clone, registered and with rights | ${spread(cold)} |`);
  say(`| bare CREATE DATABASE, WAL_LOG | ${spread(walLog)} |`);
  say(`| bare DROP DATABASE | ${spread(bareDrop)} |`);
  say(`| drop of a clone | ${spread(coldDrop)} |`);
  compare("cold clone against the bare CREATE DATABASE", bare, cold, { atMost: 1.1 });
  const resets: number[] = [];
  const anew: number[] = [];
  const used = await testDatabase({ connect: true });
  let current = await clone();
  for (let count = 0; count < some(40); count++) {
    await used.client?.query(
      "insert into users (username, email, hashed_password) values ('ada', 'ada@example.com', 'x')",
    );
    resets.push(await timed(() => used.reset()));
    anew.push(
      await timed(async () => {
        await dropClone(registry, current);
        current = await clone();
      }),
    );
  }
  await dropClone(registry, current);
  await used.drop();
  say(`| reset of a database with a new row, its connection kept | ${spread(resets)} |`);
  say(`| drop and a new copy instead, without a connection | ${spread(anew)} |`);
  compare("reset against drop and a new copy", anew, resets, { atMost: 1 });
  say();
  say(`Cold clone to bare statement: ${(quantile(cold, 0.5) / quantile(bare, 0.5)).toFixed(2)} (aim: at most 1.1).`);
  return bare;
}

/** @param bare times of the statement with the template */
export async function measureParts(template: Template, bareClient: pg.Client, bare: number[]): Promise<void> {
  await bareClient.query("create database small template template0");
  const sizeOf = async (database: string) => {
    const { rows } = await bareClient.query<{ files: number; mebibytes: number }>(
      `select count(*)::integer as files, sum((pg_stat_file(folder || '/' || name)).size)::float8 / 1048576 as mebibytes
         from (select 'base/' || oid as folder from pg_database where datname = $1) as place, pg_ls_dir(folder) as name`,
      [database],
    );
    return `${rows[0]?.files} files, ${rows[0]?.mebibytes.toFixed(1)} MiB`;
  };
  const template0: number[] = [];
  const checkpoints: number[] = [];
  for (let count = 0; count < some(20); count++) {
    checkpoints.push(await timed(() => bareClient.query("checkpoint")));
    template0.push(await timed(() => bareClient.query("create database bare template small strategy file_copy")));
    await bareClient.query("drop database bare");
  }
  section("Where CREATE DATABASE spends its time", ...TIMES);
  say(`| CHECKPOINT with nothing to write (the statement makes two) | ${spread(checkpoints)} |`);
  say(`| CREATE DATABASE of an empty database: ${await sizeOf("small")} | ${spread(template0)} |`);
  say(`| of the template: ${await sizeOf(template.database)} | ${spread(bare)} |`);
  await bareClient.query("drop database small");
}
