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

// The package's entry "ai-workflow-database/testing".
export type { ClientRole, SeedFunction, TestConnection, TestDatabase, TestMode };
export { closeRegistries as closeTestDatabases } from "./process.ts";

export interface TestDatabaseOptions extends TemplateSource {
  /** Name of the server. @default the one of AIWDB_TESTDB_SERVER, else ci-local */
  readonly server?: string | undefined;
  /** Role of `url`, `config`, `env` and `client`. @default app_user, or the database's own owner */
  readonly role?: ClientRole | undefined;
  /** Directly to PostgreSQL, or through PgBouncer in transaction mode. @default direct */
  readonly mode?: TestMode | undefined;
  /**
   * A login role of its own, named like the database, that owns it and everything in it, and may connect nowhere else.
   * For tests that make objects. Takes longer than one of the common owner's. @default false
   */
  readonly owner?: boolean | undefined;
  /** Who has it, for `aiwdb testdb list`: the test's name. */
  readonly label?: string | undefined;
  /** Hand it out with an open connection, in `client`. @default false */
  readonly connect?: boolean | undefined;
}

const sources = new Map<string, ReadSource>();
const functionNumbers = new WeakMap<SeedFunction, number>();
let functions = 0;

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

/**
 * A database of its own, with the whole schema, in milliseconds.
 *
 * ```ts
 * await using db = await testDatabase();
 * const pool = new pg.Pool(db.config);
 * ```
 *
 * @throws StateError when no server for tests runs, when it is none for tests, or with the error of a migration that
 *   fails
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
