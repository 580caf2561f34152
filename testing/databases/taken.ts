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

  /** Has a connection that is open already. */
  adopt(prepared: pg.Client): void {
    this.#clients.push(prepared);
    this.client = prepared;
  }

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
    client.on("error", () => {}); // ended with its database, or seen at its next statement
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
    // Others may hold locks, or write while this looks.
    const own = [...this.#clients, this.#admin].flatMap((client) => loginProcessId(client) ?? []);
    await endSessions(registry, this.name, own);
    // One with an owner of its own is not as the template was even before.
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

  /** Nobody will ask for it where the work fails. */
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

/** Ends what a session has open, locked, set or prepared; a connection that is gone has nothing. */
async function forgetSession(client: pg.Client): Promise<void> {
  await client.query("rollback").catch(() => {});
  await client.query("discard all").catch(() => {});
  forgetNamedStatements(client); // node-postgres would go on using them
}
