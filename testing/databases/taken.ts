import pg from "pg";
import { StateError } from "../../base/errors.ts";
import { forgetNamedStatements, loginProcessId } from "../../base/node-postgres.ts";
import { type ClientRole, ROLES } from "../../database/access/roles.ts";
import { connect } from "../../database/connection.ts";
import type { TestConnection } from "../description/connection.ts";
import { connectionTo, nameOption, type TestMode } from "../description/server.ts";
import { endSessions, recreateClone } from "../pool/clones.ts";
import { giveOwner } from "../pool/owners.ts";
import { fingerprintOf, resetDatabase } from "../pool/reset.ts";
import { keepTaken } from "../pool/states.ts";
import type { ReadSource } from "../pool/template.ts";
import { labelOf } from "./labels.ts";
import { type Process, release } from "./process.ts";
import { describeWay, giveBack, type TakenDatabase, templateOf, type Way } from "./take.ts";

/** Seconds for which a failed test's database is kept. */
export const KEEP_SEC = 30 * 60;

/** A database that one test has for itself. Give it back with `await using`, or with `drop()`. */
export interface TestDatabase extends TestConnection, AsyncDisposable {
  /** Name of the database on the server. */
  readonly name: string;
  /** The open connection, if the option `connect` was given. It is closed when the database goes. */
  readonly client: pg.Client | undefined;
  /**
   * How to connect to the same database as another role, or by another mode.
   *
   * @param mode by default `direct`; for the role that the database was taken as, the mode that it was taken with
   * @throws UsageError when the server has no such role or mode
   */
  as(role: ClientRole, mode?: TestMode): TestConnection;
  /** Opens a new connection. It is closed when the database goes. Without arguments it is one as in `config`. */
  connect(role?: ClientRole, mode?: TestMode): Promise<pg.Client>;
  /**
   * Brings the database back to what it was when it was handed out. Connections that `connect` opened stay open, but
   * lose what they had set, locked or prepared. All other connections are ended. If objects or seeded rows were
   * changed, or if the database has an owner of its own, it is made anew: then all connections are closed, and `client`
   * is a new one.
   *
   * @throws StateError after `drop` or `keep`
   */
  reset(): Promise<void>;
  /**
   * Keeps the database instead of dropping it, and prints how to connect.
   *
   * @param reason text for `aiwdb testdb list`; "kept" by default
   * @param seconds by default 1800
   */
  keep(reason?: string, seconds?: number): Promise<void>;
  /**
   * Gives the database back, and ends the connections that are still open. Does nothing the second time, and after
   * `keep`.
   *
   * @throws StateError when the server stopped or ended this process' session
   */
  drop(): Promise<void>;
}

/** A database that this process has taken. */
export class Taken implements TestDatabase {
  readonly name: string;
  client: pg.Client | undefined;
  readonly #owner: Process;
  readonly #taken: TakenDatabase;
  readonly #source: ReadSource;
  readonly #way: Way;
  #clients: pg.Client[] = [];
  #admin: pg.Client | undefined;
  #connection: TestConnection | undefined;
  #gone: Promise<void> | undefined;

  constructor(owner: Process, taken: TakenDatabase, source: ReadSource, way: Way) {
    this.name = taken.name;
    this.#owner = owner;
    this.#taken = taken;
    this.#source = source;
    this.#way = way;
  }

  /** Takes over a connection that is open in the database, as `client`. */
  adopt(prepared: pg.Client): void {
    this.#clients.push(prepared);
    this.client = prepared;
  }

  /** Opens `client`. Gives the database back if that fails. */
  async open(): Promise<void> {
    this.client = await this.#orGiveBack(this.connect());
  }

  get #default(): TestConnection {
    this.#connection ??= describeWay(this.#owner.registry.server, this.#taken, this.#way);
    return this.#connection;
  }
  get url(): string {
    return this.#default.url;
  }
  get config(): pg.ClientConfig {
    return this.#default.config;
  }
  get env(): Readonly<Record<string, string | undefined>> {
    return this.#default.env;
  }

  as(role: ClientRole, mode?: TestMode): TestConnection {
    const ownMode = role === (this.#way.role ?? ROLES.app) ? this.#way.mode : "direct";
    return describeWay(this.#owner.registry.server, { name: this.name }, { role, mode: mode ?? ownMode });
  }

  async connect(role?: ClientRole, mode?: TestMode): Promise<pg.Client> {
    const isDefault = role === undefined && mode === undefined;
    const way = isDefault ? this.#default : this.as(role ?? this.#way.role ?? ROLES.app, mode);
    const client = new pg.Client(way.config);
    client.on("error", () => {}); // it ends with its database; otherwise its next statement fails
    await client.connect();
    this.#clients.push(client);
    return client;
  }

  async reset(): Promise<void> {
    if (this.#gone) throw new StateError(`Test database ${this.name} was given back and cannot be reset.`);
    const { registry } = this.#owner;
    const template = await templateOf(registry, this.#source);
    const fingerprint = await fingerprintOf(registry, template);
    await Promise.all(this.#clients.map((client) => forgetSession(client)));
    const { password } = this.#taken;
    const superuser = connectionTo(registry.server, this.name, ROLES.superuser, "direct");
    this.#admin ??= await connect(superuser, { applicationName: "aiwdb testdb" });
    // Sessions of others may hold locks, or write while the database is compared.
    const own = [...this.#clients, this.#admin].flatMap((client) => loginProcessId(client) ?? []);
    await endSessions(registry, this.name, own);
    // A database with an owner of its own differs from the template from the beginning.
    if (fingerprint && password === undefined && (await resetDatabase(this.#admin, fingerprint))) return;
    const reopen = this.client !== undefined;
    await this.#closeClients();
    await endSessions(registry, this.name);
    await recreateClone(registry, this.name, template);
    if (password !== undefined) await this.#orGiveBack(giveOwner(registry, this.name, password));
    if (reopen) await this.open();
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

  /** Does work on the database. Gives the database back if the work fails, because nobody else will. */
  async #orGiveBack<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      await this.#giveBack();
      throw error;
    }
  }

  async #closeClients(): Promise<void> {
    const open = [...this.#clients, this.#admin];
    this.#clients = [];
    this.#admin = undefined;
    await Promise.all(open.map((client) => client?.end().catch(() => {})));
  }

  async #giveBack(): Promise<void> {
    await this.#closeClients();
    const { registry } = this.#owner;
    if (!registry.isOpen()) {
      throw new StateError(`Test database ${this.name} was lost.`, {
        subject: "server",
        problem: "ended this process' session or was stopped",
        remedy: "See `npx aiwdb testdb list` and the server's log.",
      });
    }
    await giveBack(registry, this.name);
  }
}

/**
 * Ends a session's transaction and removes what it has locked, set or prepared. A lost connection has none of these.
 */
async function forgetSession(client: pg.Client): Promise<void> {
  await client.query("rollback").catch(() => {});
  await client.query("discard all").catch(() => {});
  forgetNamedStatements(client); // otherwise node-postgres would use them again
}
