import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from "vitest";
import { run } from "../../base/run.ts";
import { readLog } from "../../toolchain/engine/logs.ts";
import { createCheckout, type Checkout } from "../helpers/checkout.ts";
import { asSuperuser, containerName, docker, eventually, open, query, refusal } from "../helpers/connect.ts";
import { installUnless, unpackedPackages } from "../helpers/debian-package.ts";
import { mustSucceed, SETTINGS } from "../helpers/real-stack.ts";

let checkout: Checkout;

beforeAll(async () => {
  const { name, home } = inject("stack");
  checkout = await createCheckout(home);
  checkout.settings(name, SETTINGS);
});

const logsArguments = (...args: string[]) => ["logs", "--stack", inject("stack").name, ...args];
const logs = async (...args: string[]) => mustSucceed(await checkout.aiwdb(logsArguments(...args)));

/** Has PostgreSQL write a line with a mark into its log, as an application can; returns the mark. */
async function mark(text = ""): Promise<string> {
  const name = `mark_${process.pid}_${Math.random().toString(36).slice(2)}`;
  await refusal(query("app_user", "direct", `select ${name}, '${text}'`));
  return name;
}

interface Follower {
  readonly child: ChildProcess;
  readonly said: { stdout: string; stderr: string };
  readonly ended: Promise<unknown[]>;
}
const followers: Follower[] = [];
afterEach(async () => {
  for (const { child, ended } of followers.splice(0)) {
    child.kill("SIGKILL");
    await ended;
  }
});

function follow(...args: string[]): Follower {
  const child = spawn(path.join(checkout.root, "bin/aiwdb"), logsArguments("--follow", ...args), {
    cwd: checkout.root,
    env: checkout.env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk: Buffer) => (said.stdout += chunk.toString("utf8")));
  child.stderr.on("data", (chunk: Buffer) => (said.stderr += chunk.toString("utf8")));
  const follower = { child, said, ended: once(child, "close") };
  followers.push(follower);
  return follower;
}

test("one service's lines are as it wrote them, those of several have its name and are in order of time", async () => {
  const name = await mark();
  const raw = (await logs("--service", "postgres", "--since", "10m")).stdout;
  expect(raw).toMatch(
    new RegExp(
      `^[-0-9]+ [.:0-9]+ UTC \\[\\d+\\]: user=app_user,db=ai_workflow_db,client=[.0-9]+ ERROR:  column "${name}"`,
      "m",
    ),
  );
  const all = (await logs()).stdout.trimEnd().split("\n");
  const prefixes = new Set(all.map((each) => each.slice(0, 14)));
  expect([...prefixes].toSorted()).toEqual(["maintenance | ", "pgbouncer   | ", "postgres    | "]);
  const json = (await logs("--json", "--tail", "5")).stdout
    .trimEnd()
    .split("\n")
    .map((each) => JSON.parse(each));
  expect(json.length).toBeGreaterThan(10);
  const times = json.map(({ at }) => at as string);
  expect(times).toEqual(times.toSorted());
  const last = json.findLast(({ service }) => service === "postgres");
  expect(Object.keys(last)).toEqual(["service", "at", "text"]);
});

test("--since and --tail say how much", async () => {
  const before = await mark();
  const since = new Date();
  const after = await mark();
  const of = async (...args: string[]) => (await logs("--service", "postgres", ...args)).stdout;
  const late = await of("--since", since.toISOString());
  expect([late.includes(before), late.includes(after)]).toEqual([false, true]);
  expect((await of("--tail", "1")).split("\n")).toHaveLength(2);
  for (const args of [["--since", "yesterday"], ["--since", "10"], ["--tail", "-1"], ["--service", "redis"], ["x"]])
    expect(await checkout.aiwdb(logsArguments(...args))).toMatchObject({ exitCode: 2, stdout: "" });
});

test("what a terminal would obey is made inert, and a line longer than the engine's parts is one line", async () => {
  const long = "long".repeat(10_000);
  const name = await mark(`\u001B[2Jå${long}`);
  const lines = (await logs("--service", "postgres", "--since", "5m")).stdout.split("\n");
  const line = lines.find((each) => each.includes("STATEMENT") && each.includes(name));
  expect(line).toContain(`select ${name}, '\uFFFD[2Jå${long}'`);
});

test("--follow goes on with a container that is restarted, and Ctrl-C ends it", async () => {
  const { child, said, ended } = follow("--tail", "0");
  // It begins to follow at a time of its own, so that there is a new mark until one is seen.
  const seen = () => {
    const names: string[] = [];
    return eventually(async () => {
      names.push(await mark());
      const name = names.find((each) => said.stdout.includes(each));
      expect(name).toBeDefined();
      return name!;
    });
  };
  await seen();
  await docker().getContainer(containerName("postgres")).restart();
  await eventually(() => query("app_user", "direct", "select 1"));
  const name = await seen();
  expect(said.stdout).toContain("database system is ready to accept connections");
  // No line is given twice, and each has its service's name.
  const shown = () => said.stdout.split("\n").filter((each) => each.includes("STATEMENT") && each.includes(name));
  await eventually(async () => expect(shown()).toEqual([expect.stringMatching(/^postgres {4}\| /)]));
  child.kill("SIGINT");
  expect(await ended).toEqual([null, "SIGINT"]); // 130 in a shell
});

test("--follow waits for a container that has ended, and says so", async () => {
  const { said } = follow("--service", "maintenance", "--tail", "0");
  const container = docker().getContainer(containerName("maintenance"));
  await container.stop();
  try {
    await eventually(async () => expect(said.stderr).toMatch(/maintenance: container aiwdb-.*-maintenance has ended/));
  } finally {
    await container.start();
  }
  await eventually(async () => expect(said.stdout).toContain("maintenance: done"));
});

test.each([[[]], [["--follow"]], [["--json"]]])(
  "it ends before the log does, where nobody takes more: %s",
  async (more) => {
    await mark("x".repeat(1_000_000)); // more than is read ahead
    const command = [path.join(checkout.root, "bin/aiwdb"), ...logsArguments(...more)].join(" ");
    const full = await checkout.shell(`{ ${command} || echo "code $?" >&2; } > /dev/full`);
    expect(full.stderr).toBe("The result cannot be written: ENOSPC: no space left on device, write\ncode 1\n");
    const left = await checkout.shell(`{ ${command}; echo "code $?" >&2; } | head -1`);
    expect(left.stderr).toBe("code 0\n");
  },
);

test("--follow ends when its reader leaves, with the next line", async () => {
  const command = [path.join(checkout.root, "bin/aiwdb"), ...logsArguments("--follow", "--tail", "3")].join(" ");
  const result = checkout.shell(`{ ${command}; echo "code $?" >&2; } | head -1`);
  let isOver = false;
  void result.then(() => (isOver = true));
  await eventually(async () => {
    await mark();
    expect(isOver).toBe(true);
  });
  expect((await result).stderr).toBe("code 0\n");
});

test("a container that is gone is named, and the others' logs are shown", async () => {
  const { Id } = await docker().getContainer(containerName("maintenance")).inspect();
  const container = docker().getContainer(Id);
  await container.rename({ name: `${containerName("maintenance")}-away` });
  try {
    const result = await checkout.aiwdb(logsArguments());
    expect(result).toMatchObject({ exitCode: 1, stdout: expect.stringContaining("pgbouncer   | ") });
    expect(result.stderr).toContain(`- maintenance: container ${containerName("maintenance")} is gone`);
  } finally {
    await container.rename({ name: containerName("maintenance") });
  }
});

test("a log driver that keeps nothing is named", async () => {
  const { Config, Image } = await docker().getContainer(containerName("maintenance")).inspect();
  const silent = await docker().createContainer({
    name: `${containerName("maintenance")}-silent`,
    Image,
    User: Config.User ?? "",
    Entrypoint: ["true"],
    HostConfig: { LogConfig: { Type: "none", Config: {} }, NetworkMode: "none" },
  });
  try {
    await silent.start();
    await expect(readLog(docker(), silent.id).next()).rejects.toThrow(`Docker's log driver "none"`);
  } finally {
    await silent.remove({ force: true });
  }
});

describe("pgBadger, without being told the prefix,", () => {
  const DATABASE = `badger_${process.pid}`;
  let folder: string;

  beforeAll(async () => {
    folder = mkdtempSync(path.join(tmpdir(), "aiwdb-badger-"));
    await asSuperuser(async (client) => {
      await client.query(`create database ${DATABASE}`);
      for (const setting of ["log_connections", "log_disconnections"])
        await client.query(`alter system set ${setting} = on`);
      await client.query("select pg_reload_conf()");
    });
  });

  afterAll(async () => {
    await asSuperuser(async (client) => {
      await client.query(`drop database if exists ${DATABASE} with (force)`);
      for (const setting of ["log_connections", "log_disconnections"])
        await client.query(`alter system reset ${setting}`);
      await client.query("select pg_reload_conf()");
    });
    rmSync(folder, { recursive: true, force: true });
  });

  test("counts the statements, errors and connections that are in the log of `aiwdb logs`", async () => {
    const since = new Date();
    const PASSWORD = "never-in-a-log-0123456789";
    for (const statement of ["select pg_sleep(0.02)", "select pg_sleep(0.03)", "select 1 / 0"]) {
      const client = await open("postgres", "direct", {
        database: DATABASE,
        options: "-c log_min_duration_statement=10 -c log_min_error_statement=error",
      });
      await client.query(statement).catch(() => {});
      await client.query("select pg_sleep(0.01) where $1 <> 'x'", [PASSWORD]);
      await client.end();
    }
    const log = await eventually(async () => {
      const { stdout } = await logs("--service", "postgres", "--since", since.toISOString());
      expect(stdout.match(new RegExp(`disconnection: .* database=${DATABASE} `, "g"))).toHaveLength(3);
      return stdout;
    });
    expect(log).not.toContain(PASSWORD);
    writeFileSync(path.join(folder, "postgres.log"), log);
    const program = path.join(await unpackedPackages("pgbadger"), "usr/bin/pgbadger");
    await installUnless("perl -MStorable -MBenchmark -MTime::Local -e 1", "perl");
    const args = ["--quiet", "--format", "stderr", "--dbname", DATABASE, "--extension", "text", "--outfile", "-"];
    const report = await run("perl", [program, ...args, path.join(folder, "postgres.log")]);
    expect(report).toContain("Number of queries: 5\n");
    expect(report).toContain("Number of events: 1\n");
    expect(report).toContain("Total number of sessions: 3\n");
    expect(report).toContain("1 - ERROR:  division by zero");
    expect(report).toMatch(/- Sessions per user -+\s+\S+\s+Count.*\spostgres - 3 /);
    expect(report).toMatch(
      new RegExp(`select pg_sleep.*[\\s\\S]*database: ${DATABASE}, user: postgres, remote: [.0-9]+`),
    );
    expect(report).toMatch(/- Sessions per host -[\s\S]*\d+\.\d+\.\d+\.\d+ - 3 /);
  });
});
