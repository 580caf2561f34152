import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { afterEach, beforeEach, expect } from "vitest";
import { StateError } from "../../base/errors.ts";
import { type Migration, readMigrations } from "../../migrate/chain/files.ts";
import { readApplied } from "../../migrate/run/applied.ts";
import { planRollback, rollBack } from "../../migrate/run/rollback.ts";
import { applyMigrations } from "../../migrate/run/runner.ts";

type Applied = Promise<{ applied: string[] }>;

/** Each test's own empty database, and its own folder of migrations to write. */
export class MigrationDatabase {
  folder = "";
  /** The database's name. */
  name = "";
  /** A superuser's connection to another database of the server. */
  admin!: Client;
  /** Runs the migrations; the same superuser. */
  client!: Client;
  /** What the runner has reported. */
  readonly lines: string[] = [];
  readonly #opened: Client[] = [];

  /** Call it once in a test file. */
  constructor() {
    beforeEach(async () => {
      this.lines.length = 0;
      this.folder = mkdtempSync(join(tmpdir(), "migrations-"));
      this.name = `runner_${randomBytes(6).toString("hex")}`;
      this.admin = new Client({ connectionString: adminUrl().href });
      await this.admin.connect();
      await this.admin.query(`create database ${this.name}`);
      this.client = await this.open();
    });
    afterEach(async () => {
      await Promise.all(this.#opened.splice(0).map((each) => each.end().catch(() => {})));
      await this.admin.query(`drop database ${this.name} with (force)`);
      await this.admin.end();
      rmSync(this.folder, { recursive: true });
    });
  }

  /**
   * One more connection to the database; it is closed after the test.
   *
   * @param stream makes its socket
   */
  async open(stream?: () => Socket): Promise<Client> {
    const url = adminUrl();
    url.pathname = `/${this.name}`;
    const opening = new Client({
      connectionString: url.href,
      application_name: "runner test",
      ...(stream ? { stream } : {}),
    });
    opening.on("error", () => {});
    await opening.connect();
    this.#opened.push(opening);
    return opening;
  }

  /** Writes a migration of phase 1. An empty down part makes it irreversible. */
  write(name: string, upSql: string, downSql = "select 1;"): void {
    const header = `-- Phase: 1\n${downSql === "" ? "-- Irreversible: test.\n" : ""}`;
    writeFileSync(join(this.folder, `${name}.up.sql`), `${header}${upSql}\n`);
    if (downSql !== "") writeFileSync(join(this.folder, `${name}.down.sql`), `${downSql}\n`);
  }

  writeThree(): void {
    this.write("0001_create_users", "create table public.users (id bigint primary key);", "drop table public.users;");
    this.write("0002_create_mails", "create table public.mails (id bigint primary key);", "drop table public.mails;");
    this.write("0003_add_name", "alter table public.users add name text;", "alter table public.users drop name;");
  }

  /** Applies what is pending of the first `count` files, or of the migrations given. */
  up(count?: number, client = this.client, migrations = this.files().slice(0, count)): Applied {
    return applyMigrations({ ...this.#common(), client, migrations, direction: "up" });
  }

  /** Takes the last migrations back. */
  async down(steps: number): Applied {
    const migrations = this.files();
    const plan = await planRollback(this.client, migrations, { steps });
    return rollBack({ ...this.#common(), migrations, plan, acceptDataLoss: false });
  }

  /** The migrations in the folder. */
  files(): Migration[] {
    return readMigrations(this.folder);
  }

  /** Names of the applied migrations. */
  async applied(): Promise<string[]> {
    return (await readApplied(this.client)).map(({ name }) => name);
  }

  /** Names of the tables in schema public. */
  async tables(): Promise<string[]> {
    const { rows } = await this.client.query<{ name: string }>(
      "select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by 1",
    );
    return rows.map(({ name }) => name);
  }

  async heldAdvisoryLocks(): Promise<number> {
    const { rows } = await this.client.query(
      `select from pg_locks join pg_database on pg_database.oid = pg_locks.database
        where locktype = 'advisory' and datname = current_database()`,
    );
    return rows.length;
  }

  #common() {
    return { client: this.client, folder: this.folder, report: (line: string) => void this.lines.push(line) };
  }
}

/** The error with which something fails. */
export async function failureOf(promise: Promise<unknown>): Promise<StateError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(StateError);
  return error as StateError;
}

function adminUrl(): URL {
  const url = process.env["AIWDB_TEST_ADMIN_URL"];
  if (!url) throw new Error("AIWDB_TEST_ADMIN_URL is not set: the URL of a superuser of a PostgreSQL 16");
  return new URL(url);
}
