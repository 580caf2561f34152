import { execFile } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { libpqEnvironment, libpqUrl, pgpassLine } from "../../database/libpq.ts";
import { connectionFor, MODES } from "../../stack/connections.ts";
import type { StackOutputs } from "../../stack/session.ts";
import { engineNames } from "../../infra/settings/names.ts";
import { type ClientRole } from "../../database/access/roles.ts";
import { exec } from "../../toolchain/engine/containers.ts";
import { renderUserlist } from "../../infra/servers/pgbouncer/ini.ts";
import { createCheckout, type Checkout } from "../helpers/checkout.ts";
import { docker, eventually, log, open, query, refusal } from "../helpers/connect.ts";
import { markOf, printablePassword } from "../helpers/passwords.ts";
import { mustSucceed, readOutputs, SETTINGS } from "../helpers/real-stack.ts";
import { privateKeyLines } from "../helpers/stack-secrets.ts";

// A stack of its own, made with everything logged from its first start.
const NAME = `ci-l${process.pid}`;
vi.setConfig({ testTimeout: 10 * 60_000, hookTimeout: 10 * 60_000 });

/** All that may be switched on by settings. */
const LOG_EVERYTHING = {
  logMaxSizeMiB: 1_000,
  postgresSettings: {
    log_statement: "all",
    log_min_duration_statement: 0,
    log_min_error_statement: "debug5",
    log_min_messages: "debug2",
    log_duration: true,
    log_connections: true,
    log_disconnections: true,
    log_lock_waits: true,
  },
  pgbouncerSettings: { log_connections: 1, log_disconnections: 1 },
};
/** Every printable character in each; at the ends those that some parser takes for its own. */
const GIVEN = {
  ownerPassword: printablePassword("]"), // ends in a backslash
  appUserPassword: printablePassword(" "),
  appReadonlyPassword: printablePassword("!"), // ends in a space
  appMonitorPassword: printablePassword("#"), // ends in a double quote
};
const ROWS = {
  hash: "2b12Qmarkofahash0123456789",
  totp: "JBSWY3DPMARKOFATOTPSECRET",
  token: "markofasessiontoken0123456789",
};

let checkout: Checkout;
let outputs: StackOutputs;
/** What every command printed. */
let printed = "";
/** Everything that must not be found, by name. */
const secrets = new Map<string, string>();

async function run(...args: string[]): Promise<string> {
  const result = mustSucceed(await checkout.aiwdb(args));
  printed += result.all;
  return result.stdout;
}

async function setSecret(key: string, value: string): Promise<void> {
  const command = `printf %s "$VALUE" | bin/aiwdb pulumi --stack ${NAME} -- config set --secret ai-workflow-database:${key}`;
  printed += mustSucceed(await checkout.shell(command, { VALUE: value })).all;
}

/** All that the state keeps secret, and what the server made of it. */
async function learnSecrets(): Promise<void> {
  const add = (name: string, value: string) => {
    secrets.set(name, /^[\w-]+$/.test(value) ? value : markOf(value)); // generated ones need no escaping
    secrets.set(`${name} in base64`, Buffer.from(value).toString("base64").slice(0, 40));
  };
  for (const [role, password] of Object.entries(outputs.passwords))
    add(`password of ${role}: ${password.length}`, password);
  const exported = mustSucceed(
    await checkout.aiwdb(["pulumi", "--stack", NAME, "--", "stack", "export", "--show-secrets"]),
  );
  for (const [name, line] of privateKeyLines(exported.stdout)) secrets.set(`key of ${name}`, line);
  const rows = await query<{ name: string; secret: string }>(
    "postgres",
    "direct",
    "select rolname as name, rolpassword as secret from pg_authid where rolpassword is not null",
    { outputs, database: "postgres" },
  );
  for (const { name, secret } of rows) secrets.set(`stored secret of ${name}`, secret.split("$").at(-1) ?? "");
}

/** Names of secrets that stand in a text. */
const found = (text: string): string[] => [
  ...[...secrets].filter(([, value]) => text.includes(value)).map(([name]) => name),
  ...(text.match(/BEGIN (EC |RSA )?PRIVATE KEY|SCRAM-SHA-256\$\d+:/g) ?? []),
];

beforeAll(async () => {
  const home = path.join(tmpdir(), `aiwdb-stack-${NAME}`);
  checkout = await createCheckout(home);
  mkdirSync(path.join(home, "tmp"));
  checkout.env["TMPDIR"] = path.join(home, "tmp");
  checkout.settings(NAME, { ...SETTINGS, ...LOG_EVERYTHING });
  for (const [key, value] of Object.entries(GIVEN)) await setSecret(key, value);
  await run("up", "--stack", NAME);
  outputs = await readOutputs(checkout, NAME);
  for (const [name, value] of Object.entries(ROWS)) secrets.set(name, value);
  await learnSecrets();
});
afterAll(async () => {
  mustSucceed(await checkout.aiwdb(["down", "--stack", NAME]));
  checkout.remove();
});

test("there are secrets to look for, none of them short, and each is found", () => {
  expect(secrets.size).toBeGreaterThan(30);
  for (const [name, value] of secrets) expect(value.length, name).toBeGreaterThanOrEqual(24);
  expect(found([...secrets.values()].join(" "))).toHaveLength(secrets.size);
});

describe("a password of every printable character logs in", () => {
  const cases = (["app_user", "app_readonly", "app_monitor", "ai_workflow_owner"] as const).flatMap((role) =>
    MODES.filter((mode) => role !== "ai_workflow_owner" || mode === "direct").map((mode) => [role, mode] as const),
  );
  const psql = async (args: readonly string[], env: Record<string, string> = {}): Promise<string> => {
    const { stdout } = await promisify(execFile)(
      "psql",
      ["-X", "-A", "-t", "-w", ...args, "-c", "select current_user"],
      {
        env: { PATH: process.env["PATH"] ?? "", ...env },
      },
    );
    return stdout.trim();
  };

  test.each(cases)(
    "%s, %s: by parameters, URL, environment and .pgpass, in node-postgres and libpq",
    async (role, mode) => {
      const { password } = connectionFor(outputs, role, mode);
      expect(Object.values(GIVEN)).toContain(password);
      expect(await query(role, mode, "select current_user as role", { outputs })).toEqual([{ role }]);

      const url = libpqUrl(connectionFor(outputs, role, mode));
      expect(await psql([url])).toBe(role);
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      expect((await client.query("select current_user as role")).rows).toEqual([{ role }]);
      await client.end();

      const { PGPASSWORD, DATABASE_URL, ...rest } = libpqEnvironment(connectionFor(outputs, role, mode));
      expect([PGPASSWORD, DATABASE_URL]).toEqual([password, url]);
      expect(await psql([], { ...rest, PGPASSWORD: PGPASSWORD ?? "" })).toBe(role);
      const file = path.join(checkout.root, "..", "data", `${role}.pgpass`);
      writeFileSync(file, pgpassLine(role, password), { mode: 0o600 });
      expect(await psql([], { ...rest, PGPASSFILE: file })).toBe(role);
    },
  );

  test.each(["app_user", "app_readonly", "app_monitor", "ai_workflow_owner"])(
    "%s: with what the commands print, as a shell takes it",
    async (role) => {
      const url = libpqUrl(
        connectionFor(outputs, role as ClientRole, role === "ai_workflow_owner" ? "direct" : "transaction"),
      );
      const script = `
        url=$(bin/aiwdb url --stack ${NAME} --role ${role})
        test "$url" = "$EXPECTED"
        psql -X -A -t -w "$url" -c 'select current_user'
        eval "$(bin/aiwdb env --stack ${NAME} --role ${role})"
        test "$DATABASE_URL" = "$EXPECTED"
        psql -X -A -t -w -c 'select current_user'`;
      expect(await checkout.shell(script, { EXPECTED: url })).toMatchObject({
        exitCode: 0,
        stdout: `${role}\n${role}\n`,
      });
    },
  );

  test("the maintenance container, by the file in its volume", async () => {
    await eventually(async () => {
      expect(await log(engineNames(NAME).maintenance)).toContain("maintenance: done");
    }, 120_000);
  });

  test("whoever has almost the same password does not", async () => {
    for (const [from, to] of [
      ["\\", "\\\\"],
      [" ", ""],
      ['"', '""'],
      ["'", "''"],
      ["%", "%25"],
    ] as const) {
      const password = (connectionFor(outputs, "app_user", "direct").password as string).replace(from, to);
      for (const mode of MODES)
        expect(await refusal(open("app_user", mode, { outputs, password })), `${from} ${mode}`).toMatch(
          mode === "direct" ? /^28P01: / : /^08P01: /,
        );
    }
  });
});

test("PgBouncer reads every printable character from userlist.txt", async () => {
  const { Image } = await docker().getContainer(engineNames(NAME).pgbouncer).inspect();
  const [host, port] = ["127.0.0.1", 6432];
  const passwords = [..." \"\\'%#:;"].map(printablePassword);
  const script = [
    "cd /tmp",
    `printf '%s\\n' '[databases]' '[pgbouncer]' 'listen_addr = ${host}' 'auth_type = plain' 'auth_file = /tmp/userlist.txt' 'unix_socket_dir =' 'admin_users = pgbouncer' > ini`,
    ...passwords.flatMap((password) => [
      `printf %s ${inShell(renderUserlist(password))} > userlist.txt`,
      "pgbouncer -q ini 2>/dev/null & pid=$!",
      `for each in 1 2 3 4 5 6 7 8 9 10; do`,
      `  PGPASSWORD=${inShell(password)} psql -h ${host} -p ${port} -U pgbouncer -d pgbouncer -w -A -t -c 'show version' && break`,
      "  sleep 0.2; done 2>/dev/null",
      "kill $pid; wait $pid || true",
    ]),
  ].join("\n");
  const container = await docker().createContainer({
    name: `aiwdb-${NAME}-userlist`,
    Image,
    Entrypoint: ["sh", "-euc", script],
    HostConfig: { NetworkMode: "none", Tmpfs: { "/tmp": "" } },
  });
  try {
    await container.start();
    await container.wait();
    const lines = (await log(container.id)).match(/PgBouncer [\d.]+/g);
    expect(lines, await log(container.id)).toHaveLength(passwords.length);
  } finally {
    await container.remove({ force: true });
  }
});

describe("rows that are refused", () => {
  // The values are bound; what an application writes into its SQL text is in the log of a server that logs statements.
  const insert = "insert into users (username, email, hashed_password, tfa_secret) values ($1, $2, $3, $4)";
  const challenge =
    "insert into two_factor_challenges (user_id, challenge_type, challenge_data, session_token, expires_at) values ($1, 'totp', $2, $3, $4)";

  test.each(MODES)("%s: show the client which row, and the log none of its values", async (mode) => {
    const client = await open("app_user", mode, { outputs });
    // What the role may change for itself.
    if (mode !== "transaction")
      await client.query(
        "set log_parameter_max_length_on_error = -1; set debug_print_plan = on; set debug_print_parse = on",
      );
    await expect(client.query("set log_error_verbosity = verbose")).rejects.toThrow(/permission denied/);
    await expect(client.query("set log_parameter_max_length = -1")).rejects.toThrow(/permission denied/);
    await expect(client.query("set log_statement = 'all'")).rejects.toThrow(/permission denied/);
    const details: string[] = [];
    const refused = async (sql: string, values: unknown[]) =>
      client.query(sql, values).then(
        () => expect.unreachable(`taken: ${sql}`),
        (error: pg.DatabaseError) => details.push(`${error.code} ${error.detail ?? ""}`),
      );
    await client.query("begin");
    await client.query(insert, [`kept-${mode}`, `${mode}@example.org`, ROWS.hash, ROWS.totp]);
    await client.query("savepoint one");
    const again = async (sql: string, values: unknown[]) => {
      await refused(sql, values);
      await client.query("rollback to savepoint one");
    };
    await again(insert, [null, "a@example.org", ROWS.hash, ROWS.totp]); // not null
    await again(insert, [`x-${mode}`, "no address", ROWS.hash, ROWS.totp]); // check
    await again(insert, [`kept-${mode}`, "b@example.org", ROWS.hash, ROWS.totp]); // unique
    const { rows } = await client.query("select id from users where username = $1", [`kept-${mode}`]);
    const row = [rows[0].id, JSON.stringify({ challenge: ROWS.totp }), ROWS.token, "2099-01-01"];
    await client.query(challenge, row);
    await client.query("savepoint one");
    await again(challenge, row); // unique: the key is the token itself
    await again(challenge, [...row.slice(0, 3), "1999-01-01"]); // check
    await again(challenge, [rows[0].id, `{${ROWS.totp}`, ROWS.token, "2099-01-01"]); // no JSON
    await again("update users set tfa_secret = $1, email = $2 where id = $3", [ROWS.totp, "none", rows[0].id]);
    await client.query("rollback");
    await client.end();
    // The client's own values come back to it, so there was something for the log to show.
    expect(
      details.filter((detail) => detail.includes(ROWS.hash) || detail.includes(ROWS.token)).length,
    ).toBeGreaterThan(3);
    expect(details.map((detail) => detail.slice(0, 5)).toSorted()).toEqual(
      ["22P02", "23502", "23505", "23505", "23514", "23514", "23514"].toSorted(),
    );
  });

  test("are in the log by their messages and statements, without details", async () => {
    const text = await log(engineNames(NAME).postgres);
    expect(text).toContain('null value in column "username" of relation "users" violates not-null constraint');
    expect(text).toContain(
      "STATEMENT:  insert into users (username, email, hashed_password, tfa_secret) values ($1, $2, $3, $4)",
    );
    expect(text).not.toMatch(/Failing row contains|DETAIL: |CONTEXT: |Key \(session_token\)|constvalue/);
  });
});

describe("with everything logged from the first start, no secret stands in", () => {
  const SERVICES = ["postgres", "pgbouncer", "maintenance"] as const;
  const container = (service: (typeof SERVICES)[number]) => engineNames(NAME)[service];

  test("nothing, to begin with: `up` again changes nothing, and new passwords take the place of the old ones", async () => {
    const settled = await run("up", "--stack", NAME);
    expect(settled).not.toMatch(/(created|updated|replaced|deleted) \(/);
    // Generated passwords, and a given one.
    await run("pulumi", "--stack", NAME, "--", "config", "set", "ai-workflow-database:passwordVersion", "2");
    await setSecret("appUserPassword", printablePassword("\\"));
    const before = outputs;
    const changed = await run("up", "--stack", NAME);
    expect(changed).toMatch(/Role database-database-role-app_user updated/);
    expect(changed).toMatch(/ScramSecret database-database-secret-pgbouncer updated/);
    outputs = await readOutputs(checkout, NAME);
    await learnSecrets();
    for (const mode of MODES) {
      await refusal(open("app_user", mode, { outputs: before }));
      expect(await query("app_user", mode, "select 1 as one", { outputs })).toEqual([{ one: 1 }]);
    }
    await run("pulumi", "--stack", NAME, "--", "up", "--yes", "--skip-preview", "--refresh", "--expect-no-changes");
    await run("pulumi", "--stack", NAME, "--", "preview", "--expect-no-changes", "--diff", "--json");
    await Promise.all([
      ...["status", "preview", "maintain", "logs"].map((command) => run(command, "--stack", NAME, "--json")),
      run("dump", "--stack", NAME, "--schema-only", "--format", "plain"),
      ...["stack output --json", "stack history --json", "stack export", "config --json"].map((command) =>
        run("pulumi", "--stack", NAME, "--", ...command.split(" ")),
      ),
    ]);
  });

  test("what the commands printed", () => {
    expect(printed).toContain("healthy");
    expect(printed).toContain("ciphertext");
    expect(found(printed)).toEqual([]);
  });

  test.each(SERVICES)("the log of the %s container", async (service) => {
    const text = await log(container(service));
    const telling = {
      postgres: ["create table public.users", "execute <unnamed>: insert into users", "parse <unnamed>: "],
      pgbouncer: ["login attempt: db=ai_workflow_db user=app_user", "SASL authentication failed"],
      maintenance: ["maintenance: done"],
    }[service];
    for (const line of telling) expect(text.includes(line), line).toBe(true);
    expect(found(text)).toEqual([]);
  });

  test("the statement statistics and the table of running statements, while roles get passwords", async () => {
    const seen = await query<{ query: string }>(
      "app_monitor",
      "direct",
      "select query from pg_stat_statements union all select query from pg_stat_activity",
      { outputs },
    );
    expect(seen.length).toBeGreaterThan(50);
    expect(found(seen.map(({ query: text }) => text).join("\n"))).toEqual([]);
    // The superuser's statements carry the stored secrets.
    const running = await open("postgres", "direct", { outputs });
    const rows = await query<{ query: string; state: string }>(
      "app_monitor",
      "direct",
      "select query, state from pg_stat_activity where usename = 'postgres' and backend_type = 'client backend'",
      { outputs },
    );
    await running.end();
    expect(rows.length).toBeGreaterThan(0);
    for (const row of rows) expect(row).toEqual({ query: "", state: "disabled" });
  });

  test.each(SERVICES)("what the engine and the kernel tell of the %s container", async (service) => {
    const info = await docker().getContainer(container(service)).inspect();
    const { stdout } = await exec(docker(), container(service), [
      "sh",
      "-c",
      "for each in /proc/[0-9]*; do tr '\\0' '\\n' < $each/cmdline; tr '\\0' '\\n' < $each/environ; done 2>/dev/null; true",
    ]);
    expect(stdout.length).toBeGreaterThan(50);
    expect(found(JSON.stringify(info) + stdout)).toEqual([]);
  });

  test("files in the containers outside their volumes, where the server's data and configuration are", async () => {
    for (const service of SERVICES) {
      const { stdout } = await exec(docker(), container(service), [
        "sh",
        "-c",
        "cat $(find /tmp /run /var/log /var/tmp -type f 2>/dev/null) /dev/null; echo end",
      ]);
      expect(stdout).toContain("end");
      expect(found(stdout)).toEqual([]);
    }
  });

  test("files of the checkout, of the state and among temporary ones", () => {
    const home = path.join(checkout.root, "..");
    for (const folder of ["tmp", "backend", "checkout"]) {
      const files = readdirSync(path.join(home, folder), { recursive: true, withFileTypes: true }).filter(
        (entry) => entry.isFile() && !entry.parentPath.includes("node_modules"),
      );
      expect(folder === "tmp" || files.length > 0).toBe(true);
      for (const file of files)
        expect([file.name, ...found(readFileSync(path.join(file.parentPath, file.name), "utf8"))]).toEqual([file.name]);
    }
  });
});

const inShell = (text: string) => `'${text.replaceAll("'", String.raw`'\''`)}'`;
