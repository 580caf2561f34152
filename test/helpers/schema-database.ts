import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import { Client } from "pg";
import { readApplied } from "../../infra/migrations/applied.ts";
import { type Migration, readMigrations } from "../../infra/migrations/files.ts";
import { applyMigrations } from "../../infra/migrations/runner.ts";

/** The package's own migrations. */
export const MIGRATIONS_FOLDER = fileURLToPath(new URL("../../migrations", import.meta.url));

/** Roles that the stack makes before it migrates, with what the pooler's lookup needs left out. */
const ROLES = ["ai_workflow_owner", "app_user", "app_readonly", "app_monitor"] as const;
export type SchemaRole = (typeof ROLES)[number];

/** A database of its own for one test file, with the stack's roles and default privileges. */
export interface SchemaDatabase {
  readonly name: string;
  readonly migrations: readonly Migration[];
  /** Superuser's URL of this database. */
  readonly url: string;
  /** A connection that acts as a role. */
  connect(role: SchemaRole): Promise<Client>;
  /** Applies the chain up to and including the `count`th migration. */
  up(count?: number): Promise<void>;
  /** Takes back the last `steps` migrations. */
  down(steps: number): Promise<void>;
  /** Closes every connection and drops the database, unless a test failed: then it prints how to connect. */
  close(failed?: boolean): Promise<void>;
}

function adminUrl(): URL {
  const url = process.env["AIWDB_TEST_ADMIN_URL"];
  if (!url) throw new Error("AIWDB_TEST_ADMIN_URL is not set: the URL of a superuser of a PostgreSQL 16");
  return new URL(url);
}

/** Makes a {@link SchemaDatabase}; empty until `up` is called. */
export async function createSchemaDatabase(label: string): Promise<SchemaDatabase> {
  const name = `schema_${label}_${randomBytes(4).toString("hex")}`;
  const admin = new Client({ connectionString: adminUrl().href });
  await admin.connect();
  for (const role of ROLES) {
    // Test files start together, so somebody else may be making the same role.
    await admin.query(
      `do $$ begin create role ${role} login; exception when duplicate_object or unique_violation then null; end $$`,
    );
  }
  await admin.query("grant pg_monitor to app_monitor").catch(() => {});
  await admin.query(`create database ${name} owner ai_workflow_owner template template0 encoding 'UTF8'`);

  const databaseUrl = adminUrl();
  databaseUrl.pathname = `/${name}`;
  const opened: Client[] = [];
  const open = async (): Promise<Client> => {
    const client = new Client({ connectionString: databaseUrl.href });
    client.on("error", () => {});
    await client.connect();
    opened.push(client);
    return client;
  };

  const superuser = await open();
  await superuser.query(`
    revoke create on schema public from public;
    alter default privileges for role ai_workflow_owner in schema public grant select, insert, update, delete on tables to app_user;
    alter default privileges for role ai_workflow_owner in schema public grant usage, select on sequences to app_user;
    alter default privileges for role ai_workflow_owner in schema public grant select on tables to app_readonly;
  `);

  const migrations = readMigrations(MIGRATIONS_FOLDER);
  const connect = async (role: SchemaRole): Promise<Client> => {
    const client = await open();
    await client.query(`set role ${role}`);
    return client;
  };
  const migrator = await connect("ai_workflow_owner");
  const common = { client: migrator, folder: MIGRATIONS_FOLDER, report: () => {} };

  return {
    name,
    migrations,
    url: databaseUrl.href,
    connect,
    up: async (count = migrations.length) => {
      await applyMigrations({ ...common, direction: "up", migrations: migrations.slice(0, count) });
    },
    down: async (steps) => {
      const applied = await readApplied(migrator);
      const undo = applied
        .slice(-steps)
        .map(({ name: migration }) => migration)
        .toReversed();
      await applyMigrations({ ...common, direction: "down", migrations, undo });
    },
    close: async (failed = false) => {
      await Promise.all(opened.map((client) => client.end().catch(() => {})));
      if (failed) console.error(`Kept for inspection: ${databaseUrl.href.replace(/:[^:@/]+@/, ":…@")}`);
      else await admin.query(`drop database ${name} with (force)`);
      await admin.end();
    },
  };
}
