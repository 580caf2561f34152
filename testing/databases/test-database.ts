import { type ClientRole, ROLES } from "../../database/access/roles.ts";
import type { TestConnection } from "../description/connection.ts";
import type { TestMode } from "../description/server.ts";
import type { Registry } from "../pool/registry.ts";
import { readSource, type ReadSource, type SeedFunction, type TemplateSource } from "../pool/template.ts";
import { lookAhead, takeAhead } from "./ahead.ts";
import { labelOf } from "./labels.ts";
import { hold, processOf, release } from "./process.ts";
import { RUN_VARIABLE } from "./runs.ts";
import { refuseUnreachable, takeDatabase } from "./take.ts";
import { Taken, type TestDatabase } from "./taken.ts";

// This file is the package's entry "ai-workflow-database/testing".
export type { ClientRole, SeedFunction, TestConnection, TestDatabase, TestMode };
export { closeRegistries as closeTestDatabases } from "./process.ts";

/** What a test database is like. Every option may be left out. */
export interface TestDatabaseOptions extends TemplateSource {
  /** Name of the server for tests. @default - the value of AIWDB_TESTDB_SERVER, otherwise `ci-local` */
  readonly server?: string | undefined;
  /** Role of `url`, `config`, `env` and `client`. @default - app_user; with `owner`, the database's own owner */
  readonly role?: ClientRole | undefined;
  /** Directly to PostgreSQL, or through PgBouncer in transaction mode. @default direct */
  readonly mode?: TestMode | undefined;
  /**
   * Give the database a login role of its own, for tests that make objects. The role has the database's name. It owns
   * the database and everything in it, and can connect to no other one. Taking such a database takes longer.
   *
   * @default false
   * @throws UsageError together with another `role` than app_user, or with another `mode` than direct
   */
  readonly owner?: boolean | undefined;
  /** Name of the test, which `aiwdb testdb list` shows. It is cut after 200 characters. @default - empty */
  readonly label?: string | undefined;
  /** Open a connection, in `client`. @default false */
  readonly connect?: boolean | undefined;
}

const sources = new Map<string, ReadSource>();
const functionNumbers = new WeakMap<SeedFunction, number>();
let functions = 0;

/** Reads migrations and seed once for each process, because a suite's files do not change while it runs. */
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

/**
 * Takes a database with the whole schema, which the caller has for itself. This takes milliseconds.
 *
 * ```ts
 * await using db = await testDatabase();
 * const pool = new pg.Pool(db.config);
 * ```
 *
 * @throws StateError when the server does not run, when it is not one for tests, or with the error of a migration or
 *   seed that fails
 * @throws UsageError when the options exclude each other, or when the server has no such role or mode
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
    const taken = ahead ?? (await takeDatabase(registry, source, holder, options));
    const database = new Taken(owner, taken, source, options);
    if (ahead) database.adopt(ahead.client);
    else if (connect) await database.open();
    if (prepares) lookAhead(owner, kind, source, role, mode);
    return database;
  } catch (error) {
    release(owner);
    throw error;
  }
}
