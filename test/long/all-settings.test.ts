import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { OVERRIDES } from "../../infra/settings/overrides.ts";
import type { FileSpec } from "../../toolchain/engine/archives.ts";
import { exec } from "../../toolchain/engine/containers.ts";
import { readCurrent } from "../../infra/provider/volumes/versions.ts";
import { volumeFiles as volumeFilesType } from "../../infra/provider/resources/volume-files.ts";
import type { StackOutputs } from "../../stack/session.ts";
import { containerName, docker, eventually, query } from "../helpers/connect.ts";
import { ownStack, type OwnStack } from "../helpers/own-stack.ts";
import { called, recorder } from "../helpers/provider.ts";
import { mustSucceed } from "../helpers/real-stack.ts";

// Every setting that a stack may give a server of its own can be set, and taken out again.
const NAME = `ci-a${process.pid}`;
vi.setConfig({ testTimeout: 40 * 60_000 });

const volumeFiles = called(volumeFilesType);

/** Values for settings where a step to the next number or word would lock everybody out, or is none. */
const POSTGRES_VALUES: Readonly<Record<string, string>> = {
  archive_command: "/bin/true",
  archive_mode: "on",
  authentication_timeout: "45",
  client_connection_check_interval: "10000",
  datestyle: "SQL, DMY",
  default_text_search_config: "pg_catalog.german",
  default_transaction_isolation: "repeatable read",
  huge_page_size: "2048",
  huge_pages: "try",
  jit_above_cost: "100001",
  jit_inline_above_cost: "500001",
  jit_optimize_above_cost: "500001",
  idle_in_transaction_session_timeout: "3600000",
  idle_session_timeout: "3600000",
  lock_timeout: "3600000",
  log_line_prefix: "%m [%p] set ",
  log_min_duration_sample: "60000",
  log_min_duration_statement: "60000",
  log_min_error_statement: "warning",
  log_min_messages: "notice",
  log_timezone: "Europe/Berlin",
  statement_timeout: "3600000",
  tcp_user_timeout: "60000",
  timezone: "Europe/Berlin",
  wal_compression: "off",
  wal_level: "logical",
};
const PGBOUNCER_VALUES: Readonly<Record<string, string>> = {
  autodb_idle_timeout: "1800",
  client_idle_timeout: "3600",
  idle_transaction_timeout: "3600",
  ignore_startup_parameters: "extra_float_digits,options,search_path,statement_timeout",
  max_db_client_connections: "200",
  max_user_client_connections: "200",
  max_user_connections: "100",
  pkt_buf: "8192",
  server_check_query: "select 2",
  tcp_keepcnt: "7",
  tcp_keepidle: "60",
  tcp_keepintvl: "10",
  tcp_socket_buffer: "65536",
  tcp_user_timeout: "60000",
  track_extra_parameters: "IntervalStyle,search_path",
};
/** Not together with others: PostgreSQL refuses it beside log_parser_stats. */
const ALONE = new Set(["log_statement_stats"]);

interface Setting {
  readonly name: string;
  readonly value: string;
  readonly setting: string;
}

let own: OwnStack;
let outputs: StackOutputs;
beforeAll(async () => {
  own = await ownStack(NAME);
  ({ outputs } = own);
});
afterAll(() => own.remove());

async function postgresSettings(): Promise<Setting[]> {
  const rows = await query<{
    name: string;
    vartype: string;
    setting: string;
    max_val: string | null;
    enumvals: string[] | null;
  }>(
    "app_monitor", // the superuser has settings of its own
    "direct",
    "select lower(name) as name, vartype, reset_val as setting, max_val, enumvals from pg_settings",
    {
      outputs,
      database: "ai_workflow_db",
    },
  );
  return rows
    .filter(({ name }) => OVERRIDES.postgresSettings.overridable.has(name))
    .map(({ name, vartype, setting, max_val: max, enumvals }) => {
      const next = (step: number) => String(Number(setting) + (Number(setting) + step <= Number(max) ? step : -step));
      const value =
        POSTGRES_VALUES[name] ??
        {
          bool: setting === "on" ? "off" : "on",
          enum: enumvals?.find((each) => each !== setting) ?? "",
          integer: next(1),
          real: next(0.125),
          string: "",
        }[vartype] ??
        "";
      return { name, setting, value };
    })
    .filter(({ value }) => value !== "");
}

async function pgbouncerSettings(): Promise<Setting[]> {
  const rows = await query<{ key: string; value: string | null }>("app_monitor", "transaction", "show config", {
    outputs,
    database: "pgbouncer",
  });
  return rows
    .filter(({ key }) => OVERRIDES.pgbouncerSettings.overridable.has(key))
    .map(({ key: name, value }) => {
      const setting = value ?? "";
      return { name, setting, value: PGBOUNCER_VALUES[name] ?? String(Number(setting) + 1) };
    });
}

const together = (settings: readonly Setting[]) =>
  Object.fromEntries(settings.filter(({ name }) => !ALONE.has(name)).map(({ name, value }) => [name, value]));
const values = (settings: readonly Setting[]) =>
  Object.fromEntries(settings.map(({ name, setting }) => [name, setting]));

test("all settings are set by one `up`, and taken out again by the next", async () => {
  const before = { postgres: await postgresSettings(), pgbouncer: await pgbouncerSettings() };
  const missing = (found: readonly Setting[], all: ReadonlySet<string>) =>
    [...all].filter((name) => !found.some((each) => each.name === name));
  // The image's PostgreSQL has one way to compress.
  expect(missing(before.postgres, OVERRIDES.postgresSettings.overridable)).toEqual(["default_toast_compression"]);
  expect(missing(before.pgbouncer, OVERRIDES.pgbouncerSettings.overridable)).toEqual([]);
  own.settings({
    postgresSettings: together(before.postgres),
    pgbouncerSettings: together(before.pgbouncer),
  });
  mustSucceed(await own.up());
  const set = { postgres: values(await postgresSettings()), pgbouncer: values(await pgbouncerSettings()) };
  const unset = { postgres: values(before.postgres), pgbouncer: values(before.pgbouncer) };
  const same = (one: Record<string, string>, other: Record<string, string>) =>
    Object.keys(one).filter((name) => one[name] === other[name] && !ALONE.has(name));
  expect(same(set.postgres, unset.postgres)).toEqual([]);
  expect(same(set.pgbouncer, unset.pgbouncer)).toEqual([]);

  own.settings();
  mustSucceed(await own.up());
  expect(values(await postgresSettings())).toEqual(unset.postgres);
  expect(values(await pgbouncerSettings())).toEqual(unset.pgbouncer);
  expect(mustSucceed(await own.up()).all).not.toMatch(/(created|updated|replaced|deleted) \(/);
});

describe("each setting alone, at the provider", () => {
  const SERVERS = {
    postgres: { folder: "/etc/postgresql", file: "postgresql.conf", ask: postgresSettings },
    pgbouncer: { folder: "/etc/pgbouncer", file: "pgbouncer.ini", ask: pgbouncerSettings },
  } as const;
  beforeAll(async () => {
    own.settings(); // what a failed test before left
    mustSucceed(await own.up());
  });

  test.each(["postgres", "pgbouncer"] as const)("of %s is set and taken out again", async (service) => {
    const { folder, file, ask } = SERVERS[service];
    const container = containerName(service, NAME);
    const info = await docker().getContainer(container).inspect();
    const { stdout: uid } = await exec(docker(), container, ["id", "-u"]);
    const found = await readCurrent(docker().getContainer(container), folder);
    const files: Record<string, FileSpec> = Object.fromEntries(
      Object.entries(found).map(([name, content]) => [name, { content, mode: 0o600 }]),
    );
    const { host, port } = outputs.connections[service === "postgres" ? "direct" : "transaction"];
    const inputs = {
      volume: info.Mounts.find(({ Destination }) => Destination === folder)?.Name,
      image: info.Config.Image,
      uid: Number(uid),
      files,
      service,
      container,
      restartKey: "",
      host,
      port,
    };
    const wrong: string[] = [];
    // The provider waits for the certificate, which a server offers before its recovery has ended.
    const asked = () => eventually(ask);
    for (const { name, setting, value } of await asked()) {
      const content = `${files[file]?.content ?? ""}\n${name} = ${service === "postgres" ? `'${value}'` : value}\n`;
      const changed = { ...inputs, files: { ...files, [file]: { content, mode: 0o600 } } };
      const now = async () => (await asked()).find((each) => each.name === name)?.setting;
      try {
        await volumeFiles.update("", inputs, changed, recorder());
        if ((await now()) === setting) wrong.push(`${name} is not ${value}`);
      } catch (error) {
        wrong.push(`${name} can't be set to ${value}: ${(error as Error).message}`);
        continue;
      }
      await volumeFiles.update("", changed, inputs, recorder());
      const after = await now();
      if (after !== setting) wrong.push(`${name} is ${after} and not ${setting} after it was taken out`);
    }
    expect(wrong).toEqual([]);
  });
});
