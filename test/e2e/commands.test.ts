import { readdirSync, readFileSync, realpathSync, renameSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { StackStatus } from "../../stack/status/status.ts";
import { readMigrations } from "../../migrate/chain/files.ts";
import { engineNames } from "../../infra/settings/names.ts";
import { exec } from "../../toolchain/engine/containers.ts";
import { imageTag } from "../../toolchain/images/tag.ts";
import { pgbouncerConsole } from "../../infra/servers/pgbouncer/console.ts";
import { createCheckout, type Checkout } from "../helpers/checkout.ts";
import { docker } from "../helpers/connect.ts";
import { known } from "../helpers/known.ts";
import { nextMigration } from "../helpers/next-migration.ts";
import { mustSucceed, readOutputs } from "../helpers/real-stack.ts";

const STACK = `pr-commands-${process.pid}`;
let checkout: Checkout;

async function aiwdb(...args: string[]) {
  return mustSucceed(await checkout.aiwdb([...args, "--stack", STACK]));
}

async function rows(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

const urls = new Map<string, Promise<string>>();
/** What `url` prints. Asked once for each role and mode: nothing here changes a password. */
function urlOf(role: string, mode: string): Promise<string> {
  const key = `${role} ${mode}`;
  const url = urls.get(key) ?? aiwdb("url", "--role", role, "--mode", mode).then(({ stdout }) => stdout.trim());
  urls.set(key, url);
  return url;
}
const readStatus = async () => JSON.parse((await aiwdb("status", "--json")).stdout) as StackStatus;

beforeAll(async () => {
  checkout = await createCheckout();
  mustSucceed(await checkout.aiwdb(["up", "--stack", STACK]));
});

afterAll(async () => {
  mustSucceed(await checkout.aiwdb(["down", "--stack", STACK]));
  checkout.remove();
});

test("status says healthy, TLS everywhere and nothing pending", async () => {
  const status = await readStatus();
  expect(status).toMatchObject({
    stack: STACK,
    healthy: true,
    tls: true,
    database: "ai_workflow_db",
    migrations: { pending: [] },
  });
  expect(status.connections.map(({ mode, tls }) => [mode, tls])).toEqual([
    ["transaction", "TLSv1.3"],
    ["session", "TLSv1.3"],
    ["direct", "TLSv1.3"],
  ]);
  expect(known(status.migrations).phases.map(({ applied, total }) => applied === total && total > 0)).toEqual([
    true,
    true,
    true,
    true,
  ]);
  expect(status.containers.map(({ name }) => name).sort()).toEqual(
    ["maintenance", "pgbouncer", "postgres"].map((part) => `aiwdb-${STACK}-${part}`),
  );
});

describe("status tells", () => {
  const look = async () => {
    const { exitCode, stdout, all } = await checkout.aiwdb(["status", "--stack", STACK, "--json"]);
    return { exitCode, all, status: JSON.parse(stdout) as StackStatus };
  };
  const admin = async (sql: string) => rows(await urlOf("postgres", "direct"), sql);

  test("unknown, with the reason, where its role may not look, and exits 3", async () => {
    await admin("alter role app_monitor nologin");
    try {
      const { exitCode, status, all } = await look();
      const reason = { problem: 'role "app_monitor" is not permitted to log in' };
      expect(status).toMatchObject({
        state: "unknown",
        healthy: false,
        obstacles: [{ subject: "role app_monitor", problem: "may not log in (NOLOGIN)" }],
        unknown: expect.arrayContaining([{ subject: "settings of PostgreSQL", ...reason }]),
      });
      expect(exitCode).toBe(3);
      expect(all).toContain("healthy as far as it could be looked at");
    } finally {
      await admin("alter role app_monitor login");
    }
    expect((await look()).exitCode).toBe(0);
  });

  test.each([
    [
      "a role that may not log in",
      "alter role app_readonly connection limit 0",
      "alter role app_readonly connection limit -1",
      "role app_readonly may not log in (CONNECTION LIMIT 0)",
    ],
    [
      "a password that is no longer valid",
      "alter role app_readonly valid until '2020-01-01Z'",
      "alter role app_readonly valid until 'infinity'",
      "role app_readonly may not log in: its password was valid until 2020-01-01",
    ],
    [
      "a freeze of the database",
      "alter database ai_workflow_db set default_transaction_read_only = on",
      "begin read write; alter database ai_workflow_db reset default_transaction_read_only; commit",
      "database ai_workflow_db takes no changes",
    ],
    [
      "a freeze of the role by which it looks",
      "alter role ai_workflow_owner set default_transaction_read_only = on",
      "alter role ai_workflow_owner reset default_transaction_read_only",
      "role ai_workflow_owner takes no changes",
    ],
    [
      "a freeze of a role",
      "alter role app_user set default_transaction_read_only = on",
      "alter role app_user reset default_transaction_read_only",
      "role app_user takes no changes",
    ],
  ])("%s, and exits 1", async (_what, take, giveBack, told) => {
    await admin(take);
    try {
      const { exitCode, stdout } = await checkout.aiwdb(["status", "--stack", STACK]);
      expect(stdout).toContain(`obstacle     ${told}`);
      expect(exitCode).toBe(1);
    } finally {
      await admin(giveBack);
    }
    expect((await look()).status.obstacles).toEqual([]);
  });

  test("a paused pooler, and waits no longer than it must", async () => {
    const { pgbouncer } = engineNames(STACK);
    const console_ = async (command: string) =>
      expect((await exec(docker(), pgbouncer, pgbouncerConsole(6432, command))).exitCode).toBe(0);
    await console_("pause ai_workflow_db");
    try {
      const { exitCode, status } = await look();
      expect(status.obstacles).toEqual([
        { subject: "PgBouncer's database ai_workflow_db", problem: "is paused: clients wait (`PAUSE`)" },
      ]);
      expect(exitCode).toBe(1);
    } finally {
      await console_("resume ai_workflow_db");
    }
    expect((await look()).exitCode).toBe(0);
  });

  test("a client's certificate that it can't read", async () => {
    const { certificates } = (await readOutputs(checkout, STACK)).connections;
    const file = certificates["app_readonly"]?.sslCert ?? "";
    const real = realpathSync(file);
    renameSync(real, `${real}.hidden`);
    try {
      const { exitCode, status } = await look();
      expect(status.unknown).toMatchObject([{ subject: "certificate of client app_readonly" }]);
      expect(exitCode).toBe(3);
    } finally {
      renameSync(`${real}.hidden`, real);
    }
  });
});

describe("url", () => {
  test.each(["transaction", "session", "direct"])("gives an address that works as it is, in %s mode", async (mode) => {
    const [row] = await rows(
      await urlOf("app_user", mode),
      "select current_database() as db, current_user as role, version from pg_stat_ssl where pid = pg_backend_pid()",
    );
    expect(row).toEqual({ db: "ai_workflow_db", role: "app_user", version: "TLSv1.3" });
  });

  test.each([
    [["url", "--role", "nobody"], "There is no role"],
    [["url", "--mode", "statement"], "There is no mode"],
    [["url", "--role", "ai_workflow_owner", "--mode", "transaction"], "does not come through the pooler"],
    [["url", "--format", "odbc"], "There is no format"],
    [["url", "--rolle", "app_user"], "no option --rolle"],
    [["urll"], "There is no command"],
  ])("ends with 2 for wrong usage: %j", async (args, message) => {
    const result = await checkout.aiwdb(args);
    expect(result.exitCode).toBe(2);
    expect(result.stderr).toContain(message);
  });
});

test("url says how many clients work at the same time, which page is about startup parameters, and leads to the console", async () => {
  const numbers = { transaction: 40, session: 20 };
  for (const [mode, size] of Object.entries(numbers)) {
    const { stderr } = await aiwdb("url", "--mode", mode);
    expect(stderr).toContain(`${size} server connections for all ${mode}s of app_user`);
    expect(stderr).toContain("docs/pooler.md#startup-parameters");
  }
  expect((await aiwdb("url", "--mode", "direct")).stderr).not.toContain("server connections");
  expect((await aiwdb("status")).stdout).toMatch(/session .* 20 server connections/);
  expect((await aiwdb("url", "--mode", "console")).stdout).toMatch(/^postgresql:\/\/app_monitor:.*\/pgbouncer\?/);
  const show = ["psql", "--stack", STACK, "--mode", "console", "--", "-XAtc", "show version"];
  expect(mustSucceed(await checkout.aiwdb(show)).stdout).toMatch(/^PgBouncer \d/);
  const refused = await checkout.aiwdb(["url", "--stack", STACK, "--mode", "console", "--role", "app_user"]);
  expect([refused.exitCode, refused.stderr]).toEqual([2, expect.stringContaining("lets in app_monitor only")]);
});

test("env exports what libpq reads, unsets what would win over it, and does nothing but that", async () => {
  const [unset, ...lines] = (await aiwdb("env")).stdout.trim().split("\n");
  expect(unset).toMatch(/^unset PG[A-Z_]+( PG[A-Z_]+)*$/);
  expect(lines.every((line) => /^export [A-Z_]+='[^']*'$/.test(line))).toBe(true);
  expect(lines.map((line) => line.split(/[ =]/)[1])).toEqual(
    expect.arrayContaining(["PGHOST", "PGPASSWORD", "PGSSLMODE", "DATABASE_URL"]),
  );
});

/** Each of them alone leads libpq elsewhere, or keeps it from connecting. */
const MISLEADING = {
  PGSERVICE: "no-such-service",
  PGHOSTADDR: "203.0.113.1",
  PGREQUIREAUTH: "md5",
  PGOPTIONS: "-c no_such_setting=1",
  PGTARGETSESSIONATTRS: "read-only",
  PGSSLMAXPROTOCOLVERSION: "TLSv1",
  PGSSLCRL: "/no/such/file",
};

test("psql and env are about the stack, whatever the caller's libpq variables say", async () => {
  const where = "select current_database() || ' ' || current_user";
  // What the session shall begin with is the caller's to say, and is in force or refused.
  const psql = (mode: string) =>
    checkout.aiwdb(
      ["psql", "--stack", STACK, "--mode", mode, "--", "-XAtc", `${where} || ' ' || current_setting('lock_timeout')`],
      {
        ...MISLEADING,
        PGOPTIONS: "-c lock_timeout=7s",
      },
    );
  expect(mustSucceed(await psql("direct")).stdout.trim()).toBe("ai_workflow_db app_user 7s");
  const refused = await psql("transaction");
  expect(refused.exitCode).toBe(1);
  expect(refused.stderr).toMatch(
    /docs\/pooler\.md#startup-parameters[^]*unsupported startup parameter in options: lock_timeout/,
  );
  const shell = await checkout.shell(
    `eval "$(bin/aiwdb env --stack ${STACK} --mode direct)"; psql -XAtc "${where}"`,
    MISLEADING,
  );
  expect(mustSucceed(shell).stdout.trim()).toBe("ai_workflow_db app_user");
});

test("what plain Pulumi needs in a shell keeps no client from the pooler, the caller's PGOPTIONS go", async () => {
  const line = `eval "$(bin/aiwdb env --pulumi --stack ${STACK})"; bin/aiwdb psql --stack ${STACK} -- -XAtc 'select 1'`;
  expect(mustSucceed(await checkout.shell(line, { PGOPTIONS: "-c lock_timeout=7s" })).stdout.trim()).toBe("1");
});

test("a second up changes nothing", async () => {
  expect((await aiwdb("up")).stdout).toMatch(/\d+ unchanged/);
  await aiwdb("preview", "--expect-no-changes");
});

test("Pulumi's processes talk to each other past a proxy that does not serve this machine", async () => {
  const nobody = "http://127.0.0.1:9";
  const variables = ["http_proxy", "https_proxy", "ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "grpc_proxy"];
  const env = { ...Object.fromEntries(variables.map((name) => [name, nobody])), no_proxy: "example.org, localhost" };
  const preview = await checkout.aiwdb(["preview", "--expect-no-changes", "--stack", STACK], env);
  expect(mustSucceed(preview).stdout).toMatch(/\d+ unchanged/);
});

test("preview names a migration that was added, plan shows its SQL, up applies it and rollback takes it back", async () => {
  const last = readMigrations(path.join(checkout.root, "migrations")).at(-1)?.name ?? "";
  const name = nextMigration(last, "create_probe");
  const file = (direction: string) => path.join(checkout.root, "migrations", `${name}.${direction}.sql`);
  const header = "-- Phase: 4\n-- Why: a test.\n-- Lock: none.\n";
  const wider = "alter table public.system_prompts add column probe text;\n";
  const narrower = "alter table public.system_prompts drop column probe;\n";
  const created = `create table public.probe (id integer not null);\n${wider}`;
  writeFileSync(file("up"), `${header}${created}`);
  writeFileSync(file("down"), `-- Data loss: public.probe.\n${header}drop table public.probe;\n${narrower}`);

  /** A client that is new each time, and prepares what the ones before it prepared. */
  const columns = async () => {
    const client = new pg.Client({ connectionString: await urlOf("app_user", "transaction") });
    await client.connect();
    try {
      const { fields } = await client.query({ name: "all", text: "select * from public.system_prompts" });
      return fields.map(({ name: column }) => column);
    } finally {
      await client.end();
    }
  };
  const before = await columns();

  expect((await aiwdb("preview")).stdout).toContain(name);
  expect((await aiwdb("migrate", "plan")).stdout).toContain("create table public.probe");
  expect(known((await readStatus()).migrations).pending, "neither preview nor plan applies anything").toEqual([name]);

  await aiwdb("up");
  expect(await columns(), "a new client gets the table as it is now").toEqual([...before, "probe"]);
  await rows(await urlOf("app_user", "direct"), "insert into public.probe values (1)");

  writeFileSync(file("up"), `${header}-- A comment may change.\n${created.replace("create table", "create   table")}`);
  await aiwdb("preview", "--expect-no-changes");
  writeFileSync(file("up"), `${header}${created.replace("integer", "bigint")}`);
  const edited = await checkout.aiwdb(["preview", "--stack", STACK]);
  expect(edited.exitCode).toBe(1);
  expect(edited.all).toContain(name);
  expect(edited.all).toContain("changed after it had been applied");
  writeFileSync(file("up"), `${header}${created}`);

  const refused = await checkout.aiwdb(["rollback", "--steps", "1", "--stack", STACK]);
  expect(refused.exitCode).toBe(1);
  expect(refused.stderr).toContain("--accept-data-loss");
  expect(await rows(await urlOf("app_user", "direct"), "select id from public.probe")).toEqual([{ id: 1 }]);

  await aiwdb("rollback", "--steps", "1", "--accept-data-loss");
  expect(await columns()).toEqual(before);
  const backups = path.join(checkout.env["XDG_DATA_HOME"] as string, "ai-workflow-database/stacks", STACK, "backups");
  const [backup] = readdirSync(backups);
  expect(readFileSync(path.join(backups, backup as string)).toString("latin1", 0, 5), "a backup was made first").toBe(
    "PGDMP",
  );
  expect(statSync(path.join(backups, backup as string)).mode & 0o777).toBe(0o600);
  expect(known((await readStatus()).migrations).pending).toEqual([name]);
  expect((await aiwdb("preview")).all, "Pulumi knows that it is pending again").toContain(`1 pending: ${name}`);
});

test("the application cannot write the record of applied migrations", async () => {
  await expect(rows(await urlOf("app_user", "direct"), "delete from public.pgmigrations")).rejects.toThrow(
    /permission denied/,
  );
});

test("maintain makes partitions, applies retention and refreshes every view", async () => {
  const report = JSON.parse((await aiwdb("maintain", "--json")).stdout) as {
    views: unknown[];
    durationMs: Record<string, number>;
  };
  expect(report.views.length).toBeGreaterThan(0);
  expect(Object.keys(report.durationMs)).toEqual(["partitions", "retention", "views"]);
  const [partitions] = await rows(
    await urlOf("app_readonly", "direct"),
    "select count(*)::int as made from maintenance.partitions where starts_at > now()",
  );
  expect(partitions?.["made"]).toBeGreaterThan(0);
});

test("privacy exports a user, and erases only when told twice", async () => {
  const url = await urlOf("app_user", "transaction");
  const [user] = await rows(
    url,
    "insert into users (username, email, hashed_password) values ('mia', 'mia@example.org', 'x') returning id",
  );
  const id = String(user?.["id"]);
  expect((await aiwdb("privacy", "export", "--user", id)).stdout).toContain("mia@example.org");

  const unconfirmed = await checkout.aiwdb(["privacy", "erase", "--user", id, "--stack", STACK]);
  expect(unconfirmed.exitCode).toBe(2);
  expect(await rows(url, `select email from users where id = ${id}`)).toEqual([{ email: "mia@example.org" }]);

  await aiwdb("privacy", "erase", "--user", id, "--yes");
  expect((await aiwdb("privacy", "export", "--user", id)).stdout).not.toContain("mia@example.org");
});

test("lowering rolloutPhase is refused with the way to do it", async () => {
  checkout.settings(STACK, { rolloutPhase: 2 });
  const lowered = await checkout.aiwdb(["preview", "--stack", STACK]);
  expect(lowered.exitCode).toBe(1);
  expect(lowered.all).toContain("aiwdb rollback");
  checkout.settings(STACK, {});
});

test("down names a container of somebody else on the stack's network, and removes nothing", async () => {
  const { network } = engineNames(STACK);
  const other = await docker().createContainer({
    Image: imageTag("postgres"),
    Entrypoint: ["sleep", "600"],
    HostConfig: { NetworkMode: network },
  });
  try {
    await other.start();
    const { Name } = await other.inspect();
    const refused = await checkout.aiwdb(["down", "--stack", STACK]);
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toContain(`- ${Name.slice(1)}: is attached to network ${network}`);
    expect((await readStatus()).healthy).toBe(true);
  } finally {
    await other.remove({ force: true, v: true });
  }
});
