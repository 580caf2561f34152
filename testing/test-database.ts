import { randomBytes } from "node:crypto";
import pg from "pg";
import { libpqEnvironment, libpqUrl } from "../cli/stack/libpq.ts";
import { type ClientRole, ROLES } from "../infra/names.ts";
import type { Connection } from "../infra/provider/connection.ts";
import { StateError } from "../toolchain/errors.ts";
import { createClone, dropClone, endSessions, recreateClone } from "./clones.ts";
import { openRegistry, type Registry } from "./registry.ts";
import { type Fingerprint, resetDatabase } from "./reset.ts";
import { adminConfig, connectionTo, pgConfig, readServer, type TestMode } from "./server.ts";
import {
  ensureTemplate,
  readSource,
  type ReadSource,
  type SeedFunction,
  type Template,
  type TemplateSource,
} from "./template.ts";

export type { ClientRole, SeedFunction, TestMode };

/** Groups what one run of a suite takes, for its leak report. Set by `aiwdb testdb run` and the global set-up. */
export const RUN_VARIABLE = "AIWDB_TESTDB_RUN";

/** How long a failed test's database is kept. */
export const KEEP_SEC = 30 * 60;

export interface TestDatabaseOptions extends TemplateSource {
  /** Name of the server. @default the one of AIWDB_TESTDB_SERVER, else ci-local */
  readonly server?: string | undefined;
  /** Role of `url`, `config`, `env` and `client`. @default app_user */
  readonly role?: ClientRole | undefined;
  /** Directly to PostgreSQL, or through PgBouncer in transaction mode. @default direct */
  readonly mode?: TestMode | undefined;
  /** Who has it, for `aiwdb testdb list`: the test's name. */
  readonly label?: string | undefined;
  /** Hand it out with an open connection, in `client`. @default false */
  readonly connect?: boolean | undefined;
}

/** How to reach a test database as one role. */
export interface TestConnection {
  /** For libpq, node-postgres, psycopg. Password included. */
  readonly url: string;
  /** For `new pg.Client`, `new pg.Pool`, and what is built on them: Kysely, Drizzle, Knex. */
  readonly config: pg.ClientConfig;
  /** DATABASE_URL and the PG* variables. */
  readonly env: Readonly<Record<string, string>>;
}

/** A database of its own. Give it back with `await using`, or `drop()`. */
export interface TestDatabase extends TestConnection, AsyncDisposable {
  readonly name: string;
  /** The open connection, where `connect` was asked for; closed when the database goes. */
  readonly client: pg.Client | undefined;
  /** The same database as another role or on another way. */
  as(role: ClientRole, mode?: TestMode): TestConnection;
  /** A new connection, closed when the database goes. */
  connect(role?: ClientRole, mode?: TestMode): Promise<pg.Client>;
  /**
   * Back to what it was when it was handed out. Connections opened here stay, without anything they had set, locked or
   * prepared, unless objects or seeded rows were changed: then it is made anew, and they are closed. Others are closed.
   */
  reset(): Promise<void>;
  /** Do not drop it, but keep it for a while, and print how to connect. */
  keep(reason?: string, seconds?: number): Promise<void>;
  /** Gives it back. Sessions that are still open are ended. Does nothing the second time, and after `keep`. */
  drop(): Promise<void>;
}

interface Process {
  readonly registry: Registry;
  /** Databases this process has; while there are some, the connection keeps the process alive. */
  held: number;
}

const processes = new Map<string, Promise<Process>>();
const sources = new Map<string, ReadSource>();
const functionNumbers = new WeakMap<SeedFunction, number>();
let functions = 0;

async function processOf(name: string | undefined): Promise<Process> {
  const server = readServer(name);
  const known = processes.get(server.name);
  if (known) {
    const opened = await known;
    if (opened.registry.isOpen()) return opened;
    // The server went away, or ended our session: what this process had is no longer its own.
    if (processes.get(server.name) === known) processes.delete(server.name);
    return processOf(name);
  }
  const opening = openRegistry(server).then((registry) => ({ registry, held: 0 }));
  processes.set(server.name, opening);
  opening.catch(() => processes.delete(server.name));
  return opening;
}

function hold(owner: Process): void {
  owner.held += 1;
  if (owner.held === 1) (owner.registry.client as unknown as { ref(): void }).ref();
}

function release(owner: Process): void {
  owner.held -= 1;
  // A script that has given everything back may end without closing anything.
  if (owner.held === 0) (owner.registry.client as unknown as { unref(): void }).unref();
}

/** Migrations are read once per process: a suite's files do not change while it runs. */
function sourceOf(registry: Registry, { migrationsFolder, phase, seed, seedKey }: TemplateSource): ReadSource {
  let seedName = seed;
  if (typeof seed === "function") {
    if (!functionNumbers.has(seed)) functionNumbers.set(seed, (functions += 1));
    seedName = `function ${functionNumbers.get(seed)}`;
  }
  const name = JSON.stringify([registry.server.name, migrationsFolder, phase, seedName, seedKey]);
  const source = sources.get(name) ?? readSource(registry.server, { migrationsFolder, phase, seed, seedKey });
  sources.set(name, source);
  return source;
}

const templates = new WeakMap<Registry, Map<string, Template>>();

async function templateOf(registry: Registry, source: ReadSource): Promise<Template> {
  const known = templates.get(registry) ?? new Map<string, Template>();
  templates.set(registry, known);
  const template = known.get(source.key) ?? (await ensureTemplate(registry, source));
  known.set(source.key, template);
  return template;
}

const TEMPLATE_GONE = "3D000";

async function take(registry: Registry, source: ReadSource, label: string): Promise<string> {
  const run = process.env[RUN_VARIABLE] ?? "";
  for (let attempt = 1; ; attempt++) {
    const template = await templateOf(registry, source);
    const { rows } = await registry.query<{ name: string | null }>({
      name: "testdb-take",
      text: "select testdb.take($1, $2, $3, $4) as name",
      values: [template.key, registry.lease, label, run],
    });
    if (rows[0]?.name) return rows[0].name;
    try {
      return await createClone(registry, template, "taken", { label, run });
    } catch (error) {
      // Nobody used the template for so long that it was removed since this process looked.
      if ((error as { code?: string }).code !== TEMPLATE_GONE || attempt > 1) throw error;
      templates.get(registry)?.delete(source.key);
    }
  }
}

/**
 * A database of its own, with the whole schema, in milliseconds.
 *
 * ```ts
 * await using db = await testDatabase();
 * const pool = new pg.Pool(db.config);
 * ```
 *
 * @throws StateError when no server for tests runs, when it is none for tests, or with the error of a migration that fails
 */
export async function testDatabase(options: TestDatabaseOptions = {}): Promise<TestDatabase> {
  const owner = await processOf(options.server);
  hold(owner);
  try {
    const { registry } = owner;
    connectionTo(registry.server, "", options.role ?? ROLES.app, options.mode ?? "direct"); // refuses what there is no way to, before anything is taken
    const source = sourceOf(registry, options);
    const name = await take(registry, source, options.label ?? "");
    const database = new Taken(owner, name, source, options);
    if (options.connect) await database.open();
    return database;
  } catch (error) {
    release(owner);
    throw error;
  }
}

class Taken implements TestDatabase {
  readonly name: string;
  client: pg.Client | undefined;
  readonly #owner: Process;
  readonly #role: ClientRole;
  readonly #mode: TestMode;
  readonly #source: ReadSource;
  #clients: pg.Client[] = [];
  #admin: pg.Client | undefined;
  #connection: TestConnection | undefined;
  #gone: Promise<void> | undefined;

  constructor(owner: Process, name: string, source: ReadSource, options: TestDatabaseOptions) {
    this.name = name;
    this.#source = source;
    this.#owner = owner;
    this.#role = options.role ?? ROLES.app;
    this.#mode = options.mode ?? "direct";
  }

  async open(): Promise<void> {
    try {
      this.client = await this.connect();
    } catch (error) {
      await this.#giveBack();
      throw error;
    }
  }

  #default(): TestConnection {
    this.#connection ??= this.as(this.#role, this.#mode);
    return this.#connection;
  }
  get url(): string {
    return this.#default().url;
  }
  get config(): pg.ClientConfig {
    return this.#default().config;
  }
  get env(): Readonly<Record<string, string>> {
    return this.#default().env;
  }

  as(role: ClientRole, mode: TestMode = role === this.#role ? this.#mode : "direct"): TestConnection {
    return describe(connectionTo(this.#owner.registry.server, this.name, role, mode));
  }

  async connect(role: ClientRole = this.#role, mode?: TestMode): Promise<pg.Client> {
    const client = new pg.Client(this.as(role, mode).config);
    client.on("error", () => {}); // ended with its database, or seen at its next statement
    await client.connect();
    this.#clients.push(client);
    return client;
  }

  async reset(): Promise<void> {
    if (this.#gone) throw new StateError(`Test database ${this.name} was given back and cannot be reset.`);
    const { registry } = this.#owner;
    const template = await templateOf(registry, this.#source);
    const { rows } = await registry.query<{ fingerprint: Fingerprint }>(
      "select fingerprint from testdb.template where key = $1",
      [template.key],
    );
    await Promise.all(this.#clients.map((client) => forgetSession(client)));
    this.#admin ??= await this.#connectAdmin();
    // Others may hold locks, or write while this looks.
    const own = [...this.#clients, this.#admin].map((client) => (client as unknown as { processID: number }).processID);
    await endSessions(registry, this.name, own);
    if (rows[0] && (await resetDatabase(this.#admin, rows[0].fingerprint))) return;
    const reopen = this.client !== undefined;
    await this.#closeClients();
    await endSessions(registry, this.name);
    await recreateClone(registry, this.name, template);
    if (reopen) await this.open();
  }

  async #connectAdmin(): Promise<pg.Client> {
    const admin = new pg.Client(adminConfig(this.#owner.registry.server, this.name));
    admin.on("error", () => {}); // ended with its database
    await admin.connect();
    return admin;
  }

  async keep(reason = "kept", seconds = KEEP_SEC): Promise<void> {
    if (this.#gone) return this.#gone;
    this.#gone = (async () => {
      await this.#closeClients();
      await this.#owner.registry.query(
        `update testdb.clone set state = 'kept', lease = null, expires_at = now() + make_interval(secs => $2), label = $3
          where name = $1 and state = 'taken'`,
        [this.name, seconds, reason],
      );
      release(this.#owner);
    })();
    await this.#gone;
    process.stderr.write(
      `\nTest database ${this.name} is kept for ${Math.round(seconds / 60)} minutes (${reason}). Connect:\n  npx aiwdb testdb psql ${this.name}\nDrop it:\n  npx aiwdb testdb drop ${this.name}\n`,
    );
  }

  async drop(): Promise<void> {
    this.#gone ??= this.#giveBack().finally(() => release(this.#owner));
    return this.#gone;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.drop();
  }

  async #closeClients(): Promise<void> {
    const open = [...this.#clients, ...(this.#admin ? [this.#admin] : [])];
    this.#clients = [];
    this.#admin = undefined;
    await Promise.all(open.map((client) => client.end().catch(() => {})));
  }

  async #giveBack(): Promise<void> {
    await this.#closeClients();
    const { registry } = this.#owner;
    if (!registry.isOpen()) throw lost(this.name);
    const { rows } = await registry.query<{ cared: boolean }>({
      name: "testdb-give-back",
      text: "select testdb.give_back($1, $2) as cared",
      values: [this.name, registry.lease],
    });
    if (!rows[0]?.cared) await dropClone(registry, this.name);
  }
}

/** Ends what a session has open, locked, set or prepared; a connection that is gone has nothing. */
async function forgetSession(client: pg.Client): Promise<void> {
  await client.query("rollback").catch(() => {});
  await client.query("discard all").catch(() => {});
  // node-postgres would go on using its named statements.
  Object.assign((client as unknown as { connection: object }).connection, {
    parsedStatements: {},
    submittedNamedStatements: {},
  });
}

function lost(name: string): StateError {
  return new StateError(`Test database ${name} was lost.`, [
    {
      subject: "server",
      problem: "ended this process' session or was stopped",
      remedy: "See `npx aiwdb testdb list` and the server's log.",
    },
  ]);
}

/** A connection in the forms that programs take. */
export function describe(connection: Connection): TestConnection {
  let config: pg.ClientConfig | undefined;
  return {
    url: libpqUrl(connection),
    get config() {
      config ??= pgConfig(connection, "test");
      return config;
    },
    env: libpqEnvironment(connection),
  };
}

/** A name for one run of a suite. */
export function newRun(): string {
  return randomBytes(6).toString("hex");
}

/** Closes what this process has open towards servers for tests. What it holds is dropped. */
export async function closeTestDatabases(): Promise<void> {
  const open = [...processes.values()];
  processes.clear();
  for (const opened of await Promise.allSettled(open)) {
    if (opened.status === "fulfilled") await opened.value.registry.close();
  }
}
