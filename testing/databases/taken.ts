import pg from "pg";
import { StateError } from "../../base/errors.ts";
import { type ClientRole, ROLES } from "../../database/access/roles.ts";
import { describe, type TestConnection } from "../description/connection.ts";
import { loginProcessId, forgetNamedStatements } from "../../base/node-postgres.ts";
import { adminConfig, connectionTo, nameOption, type TestMode } from "../description/server.ts";
import { endSessions, recreateClone } from "../pool/clones.ts";
import { giveOwner, ownerConnection } from "../pool/owners.ts";
import { type Fingerprint, resetDatabase } from "../pool/reset.ts";
import { keepTaken } from "../pool/states.ts";
import type { ReadSource } from "../pool/template.ts";
import { labelOf } from "./labels.ts";
import { type Process, release } from "./process.ts";
import { giveBack, type TakenDatabase, templateOf, type Way } from "./take.ts";

/** How long a failed test's database is kept. */
export const KEEP_SEC = 30 * 60;

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

/** A database that this process has taken. */
export class Taken implements TestDatabase {
  readonly name: string;
  client: pg.Client | undefined;
  readonly #owner: Process;
  readonly #role: ClientRole;
  readonly #mode: TestMode;
  readonly #source: ReadSource;
  readonly #password: string | undefined;
  #clients: pg.Client[] = [];
  #admin: pg.Client | undefined;
  #connection: TestConnection | undefined;
  #gone: Promise<void> | undefined;

  constructor(owner: Process, { name, password }: TakenDatabase, source: ReadSource, { role, mode }: Way) {
    this.name = name;
    this.#password = password;
    this.#source = source;
    this.#owner = owner;
    this.#role = role ?? ROLES.app;
    this.#mode = mode ?? "direct";
  }

  /** Has a connection that is open already. */
  adopt(prepared: pg.Client): void {
    this.#clients.push(prepared);
    this.client = prepared;
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
    if (this.#password !== undefined) await this.#own(this.#password);
    if (reopen) await this.open();
  }

  async #own(password: string): Promise<void> {
    try {
      await giveOwner(this.#owner.registry, this.name, password);
    } catch (error) {
      await this.#giveBack();
      throw error;
    }
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
      await keepTaken(this.#owner.registry, this.name, seconds, labelOf(reason));
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
  forgetNamedStatements(client); // node-postgres would go on using them
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
