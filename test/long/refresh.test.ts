import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { engineNames, STACK_LABEL } from "../../infra/settings/names.ts";
import { exec } from "../../toolchain/engine/containers.ts";
import type { StackOutputs } from "../../stack/session.ts";
import type { Checkout } from "../helpers/checkout.ts";
import { containerName, docker, eventually, open, query, refusal } from "../helpers/connect.ts";
import { nextMigration } from "../helpers/next-migration.ts";
import { ownStack, type OwnStack } from "../helpers/own-stack.ts";
import { editFile, whileConnecting, withOneMigration } from "../helpers/rotation.ts";
import { mustSucceed } from "../helpers/real-stack.ts";

// What became of a stack behind Pulumi's back, or behind a run that was killed, is seen and put right.
const NAME = `ci-f${process.pid}`;
let own: OwnStack;
let checkout: Checkout;
let outputs: StackOutputs;

const up = (env: NodeJS.ProcessEnv = {}) => own.up(env);
const inDatabase = (sql: string) =>
  query<{ name: string }>("postgres", "direct", sql, { outputs, database: "ai_workflow_db" });
const lastMigration = async () =>
  (await inDatabase("select name from public.pgmigrations order by id desc limit 1"))[0]?.name ?? "";

beforeAll(async () => {
  own = await ownStack(NAME, { appUserTemporary: true });
  ({ checkout, outputs } = own);
});
afterAll(() => own.remove());

test("temporary tables are taken from app_user while it goes on connecting, and the next run changes nothing", async () => {
  own.settings();
  const { connects, failures, result } = await whileConnecting(outputs, up);
  mustSucceed(result);
  expect(failures).toEqual([]);
  expect(connects()).toBeGreaterThan(20);
  expect(await refusal(query("app_user", "transaction", "create temporary table mine ()", { outputs }))).toMatch(
    /42501/,
  );
  expect(mustSucceed(await up()).all).not.toMatch(/(created|updated|replaced|deleted) \(/);
});

test("a run killed while it replaces a server's files leaves it one that starts, and the next run goes on", async () => {
  const volume = engineNames(NAME).postgresConfigVolume;
  const cut = checkout.start(["up", "--stack", NAME], { AIWDB_ROTATE_CERTIFICATES: "killed" });
  // It lives for as long as the files are written, tried and put in force.
  const helper = await eventually(() => docker().getContainer(`${volume}-files`).inspect(), 150_000);
  // What `down` and `up` look for when they sweep what a killed run left.
  expect(helper.Config.Labels).toMatchObject({ [STACK_LABEL]: NAME });
  cut.kill();
  await cut.result;
  const server = docker().getContainer(containerName("postgres", NAME));
  await server.restart();
  await eventually(() => query("app_user", "direct", "select 1", { outputs }), 60_000);
  mustSucceed(await up());
  await expect(docker().getContainer(`${volume}-files`).inspect()).rejects.toThrow(/no such container/i);
  const { stdout } = await exec(docker(), containerName("postgres", NAME), ["ls", "-A", "/etc/postgresql"]);
  expect(
    stdout
      .trim()
      .split("\n")
      .map((name) => name.replace(/^(\.version-).*/, "$1…")),
  ).toEqual([".current", ".version-…", "identity", "pg_hba.conf", "postgresql.conf", "tls"].sort());
});

test("`up` applies a migration again that the database no longer knows of", async () => {
  const last = await lastMigration();
  const name = nextMigration(last, "say_something");
  const forget = () => inDatabase(`delete from public.pgmigrations where name = '${name}' returning name`);
  const giveBack = withOneMigration(checkout.root, last, name);
  try {
    mustSucceed(await up());
    expect(await forget()).toEqual([{ name }]);
    expect(mustSucceed(await up()).all).toContain(`the database no longer says that ${name} is applied: pending again`);
    expect(await forget()).toEqual([{ name }]);
  } finally {
    giveBack();
  }
  mustSucceed(await up());
});

describe("a refresh reads what is there", () => {
  const pulumi = (...args: string[]) => checkout.aiwdb(["pulumi", "--stack", NAME, "--", ...args]);
  const refresh = async () => mustSucceed(await pulumi("refresh", "--yes"));
  const preview = async () => mustSucceed(await checkout.aiwdb(["preview", "--stack", NAME])).all;

  test("of applied migrations: one that is not recorded is pending in the next preview", async () => {
    const last = await lastMigration();
    await inDatabase("create table public.kept_row as select * from public.pgmigrations order by id desc limit 1");
    await inDatabase(`delete from public.pgmigrations where name = '${last}'`);
    try {
      expect(await preview()).toContain(`the database no longer says that ${last} is applied`);
      await refresh();
      expect(await preview()).toContain(`1 pending: ${last}`);
    } finally {
      await inDatabase("insert into public.pgmigrations select * from public.kept_row");
      await inDatabase("drop table public.kept_row");
    }
    await refresh();
    expect(await preview()).not.toContain("pending:");
  });

  test("of files in a volume: one that was edited is put right by the next `up`", async () => {
    const volume = engineNames(NAME).pgbouncerConfigVolume;
    await editFile("pgbouncer", NAME, `${volume}:/etc/pgbouncer`, "echo '; by hand' >>/etc/pgbouncer/pgbouncer.ini");
    const text = async () =>
      (await exec(docker(), containerName("pgbouncer", NAME), ["cat", "/etc/pgbouncer/pgbouncer.ini"])).stdout;
    await eventually(async () => expect(await text()).toContain("; by hand"));
    await refresh();
    expect(await preview()).toMatch(/VolumeFiles: \(update\)\s+.*\s+.*::database-pgbouncer-files/);
    mustSucceed(await up());
    expect(await text()).not.toContain("; by hand");
  });

  test("of the database's own rights: a lookup function that is gone is made again", async () => {
    await inDatabase("drop function pgbouncer.lookup(text)");
    expect(await refusal(open("app_readonly", "transaction", { outputs }))).toBe("08P01: bouncer config error");
    await refresh();
    expect(await preview()).toMatch(/DatabaseBaseline: \(create\)\s+.*::database-database-baseline/);
    mustSucceed(await up());
    expect(await query("app_readonly", "transaction", "select 1 as one", { outputs })).toEqual([{ one: 1 }]);
  });
});
