import { randomBytes } from "node:crypto";
import pg from "pg";
import { libpqEnvironment, libpqUrl } from "../../database/libpq.ts";
import { type ClientRole, ROLES } from "../../database/access/roles.ts";
import { forgetNamedStatements, isUsable, keepProcessAlive, loginProcessId } from "../../base/node-postgres.ts";
import { clientConfig, type Connection } from "../../database/connection.ts";
import { StateError, UsageError } from "../../base/errors.ts";
import { disclaim, dropClone, endSessions, recreateClone } from "../pool/clones.ts";
import { labelOf } from "./labels.ts";
import { giveOwner, ownerConnection } from "../pool/owners.ts";
import { explainTake, openRegistry, type Registry } from "../pool/registry.ts";
import { type Fingerprint, resetDatabase } from "./reset.ts";
import { adminConfig, connectionTo, nameOption, readServer, type TestMode } from "../server/server.ts";
import { sweepUnkept } from "../pool/sweep.ts";
import { takeDatabase, type Holder } from "../pool/takes.ts";
import {
  ensureTemplate,
  readSource,
  type ReadSource,
  type SeedFunction,
  type TemplateSource,
} from "../pool/template.ts";
import { type Template } from "../pool/registry.ts";

export type { ClientRole, SeedFunction, TestMode };

/** Groups what one run of a suite takes, for its leak report. Set by `aiwdb testdb run` and the global set-up. */
export const RUN_VARIABLE = "AIWDB_TESTDB_RUN";

/** How long a failed test's database is kept. */
export const KEEP_SEC = 30 * 60;

export interface TestDatabaseOptions extends TemplateSource {
  /** Name of the server. @default the one of AIWDB_TESTDB_SERVER, else ci-local */
  readonly server?: string | undefined;
  /** Role of `url`, `config`, `env` and `client`. @default app_user, or the database's own owner */
  readonly role?: ClientRole | undefined;
  /** Directly to PostgreSQL, or through PgBouncer in transaction mode. @default direct */
  readonly mode?: TestMode | undefined;
  /**
   * A login role of its own, named like the database, that owns it and everything in it, and may connect nowhere else. For
   * tests that make objects. Takes longer than one of the common owner's. @default false
   */
  readonly owner?: boolean | undefined;
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
  readonly env: Readonly<Record<string, string | undefined>>;
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
  /** Prepared for the next one who asks, by template, role and mode. */
  readonly ahead: Map<string, Promise<Ahead | undefined>>;
  /** Of which kinds this process has taken one with a connection. */
  readonly connects: Set<string>;
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
  const opening = openRegistry(server).then((registry) => {
    sweepUnkept(registry);
    return { registry, held: 0, ahead: new Map(), connects: new Set<string>() };
  });
  processes.set(server.name, opening);
  opening.catch(() => processes.delete(server.name)); // whoever waits for it hears of the error
  return opening;
}

function hold(owner: Process): void {
  owner.held += 1;
  if (owner.held === 1) keepProcessAlive(owner.registry.client, true);
}

function release(owner: Process): void {
  owner.held -= 1;
  // A script that has given everything back may end without closing anything.
  if (owner.held === 0) keepProcessAlive(owner.registry.client, false);
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

async function take(registry: Registry, source: ReadSource, holder: Holder): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    const template = await templateOf(registry, source);
    try {
      return await takeDatabase(registry, template, holder);
    } catch (error) {
      // Nobody used the template for so long that it was removed since this process looked.
      if ((error as { code?: string }).code !== TEMPLATE_GONE || attempt > 1) throw error;
      templates.get(registry)?.delete(source.key);
    }
  }
}

interface Ahead {
  readonly name: string;
  readonly client: pg.Client;
}

/** A database with a connection open in it, that was prepared since the last one was taken; undefined where there is none. */
async function takeAhead(
  { registry, ahead }: Process,
  kind: string,
  { label, run }: Holder,
): Promise<Ahead | undefined> {
  const pending = ahead.get(kind);
  ahead.delete(kind); // before anything is waited for: it is one taker's
  const prepared = await pending;
  if (!prepared) return undefined;
  try {
    const { rows } = await registry.query<{ taken: boolean }>({
      name: "testdb-take-aside",
      text: "select testdb.take_aside($1, $2, $3, $4) as taken",
      values: [prepared.name, registry.lease, label, run],
    });
    if (rows[0]?.taken && isUsable(prepared.client)) {
      keepProcessAlive(prepared.client, true);
      return prepared;
    }
  } catch (error) {
    prepared.client.end().catch(() => {});
    await giveBack(registry, prepared.name).catch(() => {}); // the error of the take is told
    throw explainTake(error);
  }
  prepared.client.end().catch(() => {});
  await giveBack(registry, prepared.name);
  return undefined;
}

/**
 * Sets the next database aside and opens its connection, while the test is at work. Not for the first one of a process: many
 * take no second. It is ready in the registry's eyes, and goes with this process.
 */
function lookAhead(owner: Process, kind: string, source: ReadSource, role: ClientRole, mode: TestMode): void {
  const { registry, ahead } = owner;
  if (ahead.has(kind)) return;
  const first = !owner.connects.has(kind);
  owner.connects.add(kind);
  if (first) return;
  const prepare = async (): Promise<Ahead | undefined> => {
    const template = await templateOf(registry, source);
    const { rows } = await registry.query<{ name: string | null }>({
      name: "testdb-set-aside",
      text: "select testdb.set_aside($1, $2) as name",
      values: [template.key, registry.lease],
    });
    const name = rows[0]?.name;
    if (!name) return undefined;
    const client = new pg.Client(clientConfig(connectionTo(registry.server, name, role, mode), "test"));
    client.on("error", () => {}); // seen when it is asked for
    try {
      await client.connect();
      keepProcessAlive(client, false); // keeps no process alive that asks for no other
      return { name, client };
    } catch {
      // The next take connects itself and hears why.
      client.end().catch(() => {});
      await giveBack(registry, name);
      return undefined;
    }
  };
  ahead.set(
    kind,
    prepare().catch(() => undefined), // the next take prepares one itself and hears why
  );
}

/** A database this process has goes back into the pool, or is dropped where nobody keeps one. */
export async function giveBack(registry: Registry, name: string): Promise<void> {
  const { rows } = await registry.query<{ cared: boolean }>({
    name: "testdb-give-back",
    text: "select testdb.give_back($1, $2) as cared",
    values: [name, registry.lease],
  });
  if (rows[0]?.cared) return;
  try {
    await dropClone(registry, name);
  } catch (error) {
    await disclaim(registry, name); // else nobody would try again while this process lives
    throw error;
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
    refuseUnreachable(registry, options);
    const { role = ROLES.app, mode = "direct", connect = false } = options;
    const source = sourceOf(registry, options);
    const holder = { label: labelOf(options.label ?? ""), run: process.env[RUN_VARIABLE] ?? "" };
    const kind = [source.key, role, mode].join(" ");
    const prepares = connect && !options.owner;
    const ahead = prepares ? await takeAhead(owner, kind, holder) : undefined;
    const database = new Taken(owner, ahead?.name ?? (await take(registry, source, holder)), source, options);
    if (options.owner) await database.own();
    if (connect) await database.open(ahead?.client);
    if (prepares) lookAhead(owner, kind, source, role, mode);
    return database;
  } catch (error) {
    release(owner);
    throw error;
  }
}

/** @throws UsageError for what there is no way to, before anything is taken */
function refuseUnreachable({ server }: Registry, options: TestDatabaseOptions): void {
  refuseOwnersRole(options);
  connectionTo(server, "", options.role ?? ROLES.app, options.mode ?? "direct");
}

/** @throws UsageError when an owner of its own is asked for, and another way in at the same time */
export function refuseOwnersRole({ owner, role, mode }: Pick<TestDatabaseOptions, "owner" | "role" | "mode">): void {
  if (!owner || ((role === undefined || role === ROLES.app) && (mode === undefined || mode === "direct"))) return;
  throw new UsageError("A database with an owner of its own is handed out as that owner's, directly.", [
    {
      subject: "owner",
      problem: "leaves no other role or mode",
      remedy: "Leave them out, and use `as()` for other roles.",
    },
  ]);
}

class Taken implements TestDatabase {
  readonly name: string;
  client: pg.Client | undefined;
  readonly #owner: Process;
  readonly #role: ClientRole;
  readonly #mode: TestMode;
  readonly #source: ReadSource;
  #password: string | undefined;
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

  /** Hands it over to a role of its own. */
  async own(): Promise<void> {
    try {
      this.#password = await giveOwner(this.#owner.registry, this.name, this.#password);
    } catch (error) {
      await this.#giveBack();
      throw error;
    }
  }

  async open(prepared?: pg.Client): Promise<void> {
    if (prepared) {
      this.#clients.push(prepared);
      this.client = prepared;
      return;
    }
    try {
      this.client = await this.connect();
    } catch (error) {
      await this.#giveBack();
      throw error;
    }
  }

  #default(): TestConnection {
    this.#connection ??=
      this.#password === undefined
        ? this.as(this.#role, this.#mode)
        : describe(ownerConnection(this.#owner.registry.server, this.name, this.#password));
    return this.#connection;
  }
  get url(): string {
    return this.#default().url;
  }
  get config(): pg.ClientConfig {
    return this.#default().config;
  }
  get env(): Readonly<Record<string, string | undefined>> {
    return this.#default().env;
  }

  as(role: ClientRole, mode: TestMode = role === this.#role ? this.#mode : "direct"): TestConnection {
    return describe(connectionTo(this.#owner.registry.server, this.name, role, mode));
  }

  async connect(role?: ClientRole, mode?: TestMode): Promise<pg.Client> {
    const way = role === undefined && mode === undefined ? this.#default() : this.as(role ?? this.#role, mode);
    const client = new pg.Client(way.config);
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
    const own = [...this.#clients, this.#admin].flatMap((client) => loginProcessId(client) ?? []);
    await endSessions(registry, this.name, own);
    // One with an owner of its own is not as the template was even before.
    if (rows[0] && this.#password === undefined && (await resetDatabase(this.#admin, rows[0].fingerprint))) return;
    const reopen = this.client !== undefined;
    await this.#closeClients();
    await endSessions(registry, this.name);
    await recreateClone(registry, this.name, template);
    if (this.#password !== undefined) await this.own();
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
        [this.name, seconds, labelOf(reason)],
      );
      release(this.#owner);
    })();
    await this.#gone;
    const which = `${this.name}${nameOption(this.#owner.registry.server.name)}`;
    process.stderr.write(
      `\nTest database ${this.name} is kept for ${Math.round(seconds / 60)} minutes (${labelOf(reason)}). Connect:\n  npx aiwdb testdb psql ${which}\nDrop it:\n  npx aiwdb testdb drop ${which}\n`,
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
    await giveBack(registry, this.name);
  }
}

/** Ends what a session has open, locked, set or prepared; a connection that is gone has nothing. */
async function forgetSession(client: pg.Client): Promise<void> {
  await client.query("rollback").catch(() => {});
  await client.query("discard all").catch(() => {});
  forgetNamedStatements(client);
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
      config ??= clientConfig(connection, "test");
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
    if (opened.status === "rejected") continue;
    const { registry, ahead } = opened.value;
    for (const prepared of await Promise.all(ahead.values())) {
      if (!prepared) continue;
      keepProcessAlive(prepared.client, true); // else the process may end before the connection has, in the middle of this
      await prepared.client.end().catch(() => {});
    }
    await registry.close();
  }
}
