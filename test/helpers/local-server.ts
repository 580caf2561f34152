import type pg from "pg";
import { afterAll, beforeAll, beforeEach, onTestFinished } from "vitest";
import { dropByName, listDatabases, type ListedDatabase } from "../../testing/databases/by-name.ts";
import {
  closeTestDatabases,
  testDatabase,
  type TestDatabase,
  type TestDatabaseOptions,
} from "../../testing/databases/test-database.ts";
import { readServer, SERVER_VARIABLE, type TestServer } from "../../testing/description/server.ts";
import { openRegistry, type Registry } from "../../testing/pool/registry.ts";
import { aiwdb, mustSucceed, ownHome, until } from "./testdb.ts";

/** A local server for the tests of one file. Its tests must give back every database that they took. */
export interface LocalServer {
  /** Set once the file's tests begin, like `registry`. */
  readonly server: TestServer;
  readonly registry: Registry;
  /** Databases that somebody holds. Those that the keeper makes in the background are not among them. */
  held(): Promise<ListedDatabase[]>;
  /** Waits until no database is held. Every test must leave the server so. */
  nothingHeld(): Promise<ListedDatabase[]>;
  /** Takes a database for one test. It is given back when the test ends, also when the test fails. */
  take(options?: TestDatabaseOptions): Promise<TestDatabase>;
  /** Names of all test databases there are. */
  existing(): Promise<string[]>;
}

/** Starts a server before the tests of the file that calls it, and stops it after them. */
export function localServer(name: string): LocalServer {
  let home: { remove(): void };
  let server: TestServer;
  let registry: Registry;
  const held = async () => (await listDatabases(name)).filter(({ state }) => state !== "ready" && state !== "creating");
  const nothingHeld = () => until(held, (databases) => databases.length === 0);

  beforeAll(async () => {
    home = ownHome();
    process.env[SERVER_VARIABLE] = name;
    mustSucceed(await aiwdb(["testdb", "start", "--engine", "local"]));
    server = readServer();
    registry = await openRegistry(server);
  });
  afterAll(async () => {
    await registry?.close();
    await closeTestDatabases();
    mustSucceed(await aiwdb(["testdb", "stop"]));
    home.remove();
  });
  beforeEach(async () => void (await nothingHeld()));

  return {
    get server() {
      return server;
    },
    get registry() {
      return registry;
    },
    held,
    nothingHeld,
    async take(options = {}) {
      const db = await testDatabase(options);
      onTestFinished(async () => {
        await db.drop();
        await dropByName(name, db.name); // if it was kept
      });
      return db;
    },
    async existing() {
      const { rows } = await registry.client.query<{ datname: string }>(
        "select datname from pg_database where starts_with(datname, 'aiwdb_test_')",
      );
      return rows.map(({ datname }) => datname);
    },
  };
}

export const addUser = (client: pg.Client, name = "ada") =>
  client.query(
    "insert into users (username, email, hashed_password) values ($1::text, $1::text || '@example.com', 'x')",
    [name],
  );

export const users = async (client: pg.Client): Promise<string[]> =>
  (await client.query<{ username: string }>("select username from users order by username")).rows.map(
    ({ username }) => username,
  );
