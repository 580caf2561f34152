import { cpSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect } from "vitest";
import type { StackOutputs } from "../../stack/session.ts";
import { exec } from "../../toolchain/engine/containers.ts";
import type { CommandResult } from "./checkout.ts";
import { containerName, docker, query, type Service } from "./connect.ts";
import type { OwnStack } from "./own-stack.ts";

/** Connects as app_user in every way, again and again, while something runs. */
export async function whileConnecting(outputs: StackOutputs, run: () => Promise<CommandResult>) {
  const done = new AbortController();
  let connects = 0;
  const failures: string[] = [];
  const load = (["direct", "transaction", "session"] as const).map(async (mode) => {
    while (!done.signal.aborted) {
      try {
        await query("app_user", mode, "select 1", { outputs });
        connects += 1;
      } catch (error) {
        failures.push(`${mode}: ${(error as Error).message}`);
      }
    }
  });
  try {
    return { result: await run(), connects: () => connects, failures };
  } finally {
    done.abort();
    await Promise.all(load);
  }
}

/** Serial numbers of the certificates the pooler made its server connections with, by backend. */
export async function poolerCertificates(outputs: StackOutputs): Promise<Map<number, string>> {
  const rows = await query<{ pid: number; client_serial: string }>(
    "postgres",
    "direct",
    "select pid, client_serial::text from pg_stat_ssl join pg_stat_activity using (pid) where usename in ('app_user', 'pgbouncer') and client_addr is not null and pid <> pg_backend_pid() and client_dn like '%CN=pgbouncer%'",
    { outputs, database: "ai_workflow_db" },
  );
  return new Map(rows.map(({ pid, client_serial }) => [pid, client_serial]));
}

const SETTINGS_FILES = {
  postgres: "/etc/postgresql/postgresql.conf",
  pgbouncer: "/etc/pgbouncer/pgbouncer.ini",
} as const;

/**
 * Brings a stack up with settings that both servers refuse, and sees that the old ones stay in force and in their
 * files.
 *
 * @returns what `up` printed
 */
export async function upRefusedByServers(own: OwnStack, changed: Record<string, unknown>): Promise<string> {
  const { stack, outputs } = own;
  const services = ["postgres", "pgbouncer"] as const;
  const texts = () =>
    Promise.all(
      services.map(
        async (service) =>
          (await exec(docker(), containerName(service, stack), ["cat", SETTINGS_FILES[service]])).stdout,
      ),
    );
  const look = async () => ({ texts: await texts(), started: await own.started(), shown: await own.shown("work_mem") });
  const before = await look();
  own.settings(changed);
  const failed = await own.up();
  expect(failed.exitCode).toBe(1);
  for (const service of services)
    expect(failed.all).toContain(`${containerName(service, stack)} refused its new settings; nothing has been changed`);
  expect(await look()).toEqual(before);
  expect(await query("app_user", "transaction", "select 1 as one", { outputs })).toEqual([{ one: 1 }]);
  return failed.all;
}

/** Runs a line of shell in a container of its own with a service's image and a volume of its stack. */
export async function editFile(service: Service, stack: string, volume: string, line: string): Promise<void> {
  const { Image } = await docker().getContainer(containerName(service, stack)).inspect();
  const editor = await docker().createContainer({
    Image,
    Entrypoint: ["sh", "-c", line],
    HostConfig: { Binds: [volume], NetworkMode: "none", AutoRemove: true },
  });
  await editor.start();
}

/**
 * Puts one migration behind the last applied one, and takes the migrations of later phases away.
 *
 * The stack has phase 1 only, and a migration of a later phase has the next number.
 *
 * @param root the folder of a checkout
 * @returns a function that restores the folder
 */
export function withOneMigration(root: string, last: string, name: string): () => void {
  const folder = path.join(root, "migrations");
  const aside = path.join(root, "migrations-aside");
  cpSync(folder, aside, { recursive: true });
  for (const file of readdirSync(folder).filter((each) => each > `${last}.up.sql`)) rmSync(path.join(folder, file));
  const write = (way: "up" | "down", comment: string) =>
    writeFileSync(
      path.join(folder, `${name}.${way}.sql`),
      `-- Phase: 1\n-- Lock: none.\ncomment on schema public is ${comment};\n`,
    );
  write("up", "'Said.'");
  write("down", "null");
  return () => {
    rmSync(folder, { recursive: true });
    renameSync(aside, folder);
  };
}
