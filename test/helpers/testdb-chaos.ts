import { spawn, type ChildProcess } from "node:child_process";
import { randomInt } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll } from "vitest";
import { stackFolder } from "../../infra/settings/places.ts";
import { listDatabases } from "../../testing/databases/by-name.ts";
import { readLocalRecord } from "../../testing/server/local.ts";
import { openRegistry } from "../../testing/pool/registry.ts";
import { readServer, SERVER_VARIABLE } from "../../testing/description/server.ts";
import { closeTestDatabases } from "../../testing/databases/test-database.ts";
import { aiwdb, LIBRARY, MIGRATIONS, mustSucceed, ownHome, until } from "./testdb.ts";

const NAME = `ci-tc${process.pid}`;

/**
 * What a taker must never be told, by SQLSTATE: that something is not there, already there, or not its own. That its
 * server goes, is gone or is not there yet comes in too many words to list, from PostgreSQL, TLS, sockets and drivers.
 */
const FAULTS = "^(42|23|22|2B|2F|3F|0A|P0)";

/**
 * Takes databases for ever; says a word as soon as one is not what it must be: as its template is, and nobody else's.
 * Its own user has a name nobody else gives, so that two in one database see each other's.
 */
const TAKER = `
  const { testDatabase } = await import(${JSON.stringify(LIBRARY)});
  const insert = (client, name) => client.query("insert into users (username, email, hashed_password) values ($1::text, $1::text || '@example.com', 'x')", [name]).then(() => {});
  const seedKey = process.argv[1];
  const seed = seedKey ? { seedKey, seed: (client) => insert(client, seedKey) } : {};
  const expected = JSON.stringify(seedKey ? [seedKey] : []);
  const say = (...words) => process.stdout.write("\\n" + words.join(" ") + "\\n");
  const faults = new RegExp(${JSON.stringify(FAULTS)});
  const check = (error) => {
    const state = error.code ?? error.cause?.code ?? /SQLSTATE (\\w{5})/.exec(error.message)?.[1] ?? "";
    if (faults.test(state)) say("WRONG error", state, error.message);
  };
  for (let turn = 0; ; turn++) {
    const db = await testDatabase({ ...seed, connect: true }).catch(check);
    if (!db) { await new Promise((resolve) => setTimeout(resolve, 50)); continue; }
    try {
      const { rows: [{ users }] } = await db.client.query("select array(select username::text from users order by 1) as users");
      const owner = await db.connect("ai_workflow_owner");
      const { rows: [{ migrations }] } = await owner.query("select count(*)::integer as migrations from pgmigrations");
      if (JSON.stringify(users) !== expected || migrations !== ${readdirSync(MIGRATIONS).filter((file) => file.endsWith(".up.sql")).length}) say("WRONG content", db.name, users, migrations);
      await insert(db.client, "taker" + process.pid + "turn" + turn);
      await new Promise((resolve) => setTimeout(resolve, 5));
      const after = await db.client.query("select count(*)::integer as count from users");
      if (after.rows[0].count !== users.length + 1) say("SHARED", db.name);
      process.stdout.write("+");
    } catch (error) { check(error); }
    await db.drop().catch(check);
  }`;

interface Taker {
  readonly child: ChildProcess;
  output: string;
}

function startTaker(seed: string): Taker {
  const child = spawn(process.execPath, ["--input-type=module", "-e", TAKER, seed], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const taker: Taker = { child, output: "" };
  child.stdout?.on("data", (chunk: Buffer) => (taker.output += chunk.toString("utf8")));
  return taker;
}

const kill = (pid: number) => {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error; // it has just ended by itself
  }
};

const keeper = (): { pid: number } | undefined => {
  try {
    return JSON.parse(readFileSync(path.join(stackFolder(NAME), "testdb.pid"), "utf8")) as { pid: number };
  } catch {
    return undefined; // being written
  }
};
const childrenOf = (pid: number): number[] => {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
  } catch {
    return []; // it was killed already
  }
};

/** Gives a file a server for tests of its own, to be killed. */
export function serverToKill(): void {
  let home: { remove(): void };
  beforeAll(async () => {
    home = ownHome();
    process.env[SERVER_VARIABLE] = NAME;
    mustSucceed(await aiwdb(["testdb", "start", "--engine", "local"]));
  });

  afterAll(async () => {
    await closeTestDatabases();
    mustSucceed(await aiwdb(["testdb", "stop"]));
    home.remove();
  });
}

/**
 * Kills takers, pool, builders and server so many times, each at a random moment, and waits until the takers get
 * through again and nothing unknown is left.
 *
 * @returns what the takers said: a plus for each database that was as it must be, and else what was wrong
 */
export async function surviveKills(rounds: number): Promise<string> {
  const takers: Taker[] = [startTaker(""), startTaker(""), startTaker("seed0")];
  const ended: Taker[] = [];
  const replace = (index: number, seed: string) => {
    const old = takers[index]!;
    kill(old.child.pid!);
    ended.push(old);
    takers[index] = startTaker(seed);
  };
  for (let round = 1; round <= rounds; round++) {
    await wait(randomInt(20, 600)); // at a random moment
    const victim =
      round % 17 === 0 ? "server" : (["taker", "builder", "pool", "supervisor", "backend"] as const)[round % 5];
    if (victim === "taker") replace(randomInt(2), "");
    // Its template is new, so it is killed while that is built, or soon after.
    else if (victim === "builder") replace(2, `seed${round}`);
    else if (victim === "pool") for (const pid of childrenOf(keeper()?.pid ?? 0)) kill(pid);
    else if (victim === "supervisor") kill(keeper()?.pid ?? (takers[0]!.child.pid as number));
    else if (victim === "backend") kill(randomOf(childrenOf(postmaster())) ?? (takers[0]!.child.pid as number));
    else {
      kill(postmaster());
      mustSucceed(await aiwdb(["testdb", "start", "--engine", "local"]));
    }
  }
  const progress = () => [...ended, ...takers].map(({ output }) => output).join("");
  // The takers that are left get through again.
  const before = progress().length;
  await until(
    async () => progress().length,
    (length) => length > before + 10,
  );
  for (const { child } of takers) kill(child.pid!);
  mustSucceed(await aiwdb(["testdb", "start", "--engine", "local"]));
  await until(
    () => listDatabases(NAME),
    (databases) => databases.every(({ state }) => state === "ready" || state === "creating"),
  );
  const registry = await openRegistry(readServer(NAME));
  await until(
    async () => {
      const { rows } = await registry.client.query<{ name: string }>(
        `select datname as name from pg_database where datname ~ '^aiwdb_(test|tmpl)_'
        and datname not in (select name from testdb.clone) and datname not in (select database from testdb.template)`,
      );
      return rows;
    },
    (unknown) => unknown.length === 0,
  );
  await registry.close();
  return progress();
}

function postmaster(): number {
  return Number(readFileSync(path.join(readLocalRecord(NAME)!.folder, "data/postmaster.pid"), "utf8").split("\n")[0]);
}

function randomOf<T>(items: readonly T[]): T | undefined {
  return items.length === 0 ? undefined : items[randomInt(items.length)];
}
