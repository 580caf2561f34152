import { withConnection } from "../../database/connection.ts";
import { literal } from "../../database/quote.ts";
import { createHash, randomBytes } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import type pg from "pg";
import { QUALIFIED_TABLE } from "../../migrate/run/applied.ts";
import { MIGRATIONS_FOLDER, readMigrations, type Migration } from "../../migrate/chain/files.ts";
import { type Phase, upToPhase } from "../../migrate/chain/phases.ts";
import { TEMPLATE_DATABASE_PREFIX } from "../../infra/settings/names.ts";
import { type ClientRole, POOLED_ROLES, ROLES } from "../../database/access/roles.ts";
import { baselineStatements } from "../../database/access/baseline.ts";
import { extensionStatements } from "../../database/access/extensions.ts";
import { defaultPrivileges } from "../../database/access/rights.ts";
import { messageOf, StateError, UserError } from "../../base/errors.ts";
import { databaseRights, endSessions } from "./clones.ts";
import { LOCK, type Registry, type Template } from "./registry.ts";
import { takeFingerprint } from "./reset.ts";
import { readSeedFile } from "./seed-file.ts";
import { beginBuild, endBuild, failBuild } from "./states.ts";
import { connectionTo, type TestServer } from "../description/server.ts";

/** Fills a template once, as the role that owns the tables. */
export type SeedFunction = (client: pg.Client) => Promise<void>;

/** What a template is made from. */
export interface TemplateSource {
  /** Folder of the migrations. @default the package's own */
  readonly migrationsFolder?: string | undefined;
  /** Last rollout phase that is applied. @default 4 */
  readonly phase?: Phase | undefined;
  /** Path of an SQL file, or a function. Runs once per template, after the migrations, as ai_workflow_owner. */
  readonly seed?: string | SeedFunction | undefined;
  /**
   * Text that changes when the seed does.
   *
   * @default - the file's content or the function's source; give it when a function reads something else
   */
  readonly seedKey?: string | undefined;
}

/** A source that was read: the chain of migrations, and the key that stands for all of it. */
export interface ReadSource {
  readonly key: string;
  readonly label: string;
  readonly folder: string;
  readonly migrations: readonly Migration[];
  readonly seed: SeedFunction | undefined;
}

/** Raise it when a template is made in another way from the same source. */
const BUILD_VERSION = 2;

/**
 * Reads migrations and seed, and computes the key of their template.
 *
 * @throws StateError when the files are not usable
 */
export function readSource(server: TestServer, source: TemplateSource): ReadSource {
  const folder = source.migrationsFolder ?? MIGRATIONS_FOLDER;
  const phase = source.phase ?? 4;
  const migrations = upToPhase(readMigrations(folder), phase);
  const { text, run } = readSeed(source.seed);
  const hash = createHash("sha256").update(
    JSON.stringify([
      BUILD_VERSION,
      server.images,
      migrations.map(({ name, up }) => [name, up]),
      source.seedKey ?? text,
      baselineStatements("", ROLES.lookupOwner, ROLES.pooler, POOLED_ROLES),
      extensionStatements(server.extensions ?? []),
    ]),
  );
  const parts = [`${migrations.length} migrations`, ...(phase < 4 ? [`phase ${phase}`] : []), ...(run ? ["seed"] : [])];
  return { key: hash.digest("hex").slice(0, 16), label: parts.join(", "), folder, migrations, seed: run };
}

/** What a seed does, and the text that stands for it in a template's key. */
function readSeed(seed: TemplateSource["seed"]): { readonly text: string; readonly run?: SeedFunction } {
  if (!seed) return { text: "" };
  if (typeof seed === "function") return { text: seed.toString(), run: seed };
  const text = readSeedFile(seed);
  return { text, run: async (client) => void (await client.query(text)) };
}

async function findTemplate({ query }: Registry, key: string): Promise<Template | undefined> {
  const { rows } = await query<{ database: string }>(
    `update testdb.template set used_at = now() where key = $1
      and exists (select from pg_catalog.pg_database where datname = database) returning database`,
    [key],
  );
  return rows[0] && { key, database: rows[0].database };
}

/**
 * The template of a source; built first if there is none. One process builds, the others wait for it.
 *
 * @throws StateError with the error of the migration or seed that failed; the next call tries again
 */
export function ensureTemplate(
  registry: Registry,
  source: ReadSource,
  report: (line: string) => void = () => {},
): Promise<Template> {
  // The lock below is the session's, so it does not keep two callers of one process apart.
  const waiting = underWay.get(registry) ?? new Map<string, Promise<Template>>();
  underWay.set(registry, waiting);
  const already = waiting.get(source.key);
  if (already) return already;
  const ensured = findOrBuild(registry, source, report).finally(() => waiting.delete(source.key));
  waiting.set(source.key, ensured);
  return ensured;
}
const underWay = new WeakMap<Registry, Map<string, Promise<Template>>>();

async function findOrBuild(registry: Registry, source: ReadSource, report: (line: string) => void): Promise<Template> {
  for (;;) {
    const found = await findTemplate(registry, source.key);
    if (found) return found;
    const lock = Number.parseInt(source.key.slice(0, 8), 16) | 0;
    const { rows } = await registry.query<{ locked: boolean }>(
      `select pg_try_advisory_lock(${LOCK.build}, $1) as locked`,
      [lock],
    );
    if (!rows[0]?.locked) {
      await wait(50);
      continue;
    }
    try {
      return (await findTemplate(registry, source.key)) ?? (await build(registry, source, report));
    } finally {
      await registry.query(`select pg_advisory_unlock(${LOCK.build}, $1)`, [lock]).catch(() => {}); // a lost connection has no lock
    }
  }
}

/**
 * Builds under a name of its own that nobody copies; becomes a template in one transaction, at the very end. A build
 * that fails is dropped, one that is killed is found by its dead lease.
 */
async function build(registry: Registry, source: ReadSource, report: (line: string) => void): Promise<Template> {
  const { server, workers } = registry;
  const name = `${TEMPLATE_DATABASE_PREFIX}${source.key}`;
  const draft = `${name}_${randomBytes(4).toString("hex")}`;
  report(`building a template: ${source.label}`);
  await beginBuild(registry, draft, source.key);
  try {
    await workers.query(
      `create database ${draft} owner ${ROLES.owner} template template0 encoding 'UTF8' lc_collate 'C.UTF-8' lc_ctype 'C.UTF-8' strategy file_copy`,
    );
    const inDraft = <T>(role: ClientRole, work: (client: pg.Client) => Promise<T>) =>
      withConnection(connectionTo(server, draft, role, "direct"), work, { applicationName: "aiwdb testdb template" });
    await inDraft(ROLES.superuser, (admin) =>
      admin.query(`
        create extension pg_stat_statements schema public;
        ${baselineStatements(draft, ROLES.lookupOwner, ROLES.pooler, POOLED_ROLES)}
        ${extensionStatements(server.extensions ?? [])}
        ${databaseRights(server, draft)}
        ${defaultPrivileges(ROLES.owner)}`),
    );
    await inDraft(ROLES.owner, async (client) => {
      const { applyMigrations } = await import("../../migrate/run/runner.ts");
      const { folder, migrations, seed } = source;
      await applyMigrations({ client, folder, migrations, direction: "up", report: () => {} });
      // As the stack's own: what is applied is the migrator's business.
      if (migrations.length > 0) await client.query(`revoke all on ${QUALIFIED_TABLE} from ${POOLED_ROLES.join(", ")}`);
      if (seed) await seedWith(seed, client);
    });
    // Copies start with visible rows, statistics, and the file that spares a first connection the reading of the
    // catalogue.
    await inDraft(ROLES.superuser, (admin) => admin.query("vacuum (freeze, analyze)"));
    await inDraft(ROLES.app, (app) => app.query("select 1"));
    const fingerprint = await inDraft(ROLES.superuser, takeFingerprint);
    // RENAME would look only every 100 ms whether the sessions above have left.
    await endSessions(registry, draft);
    const row = [source.key, name, source.label, JSON.stringify(fingerprint)].map(literal);
    // One transaction, as they are sent together.
    await workers.query(`
      alter database ${draft} rename to ${name};
      alter database ${name} allow_connections false is_template true;
      ${endBuild(draft)};
      insert into testdb.template (key, database, label, fingerprint) values (${row.join(", ")})
        on conflict (key) do update set built_at = now(), used_at = now(), fingerprint = excluded.fingerprint`);
    return { key: source.key, database: name };
  } catch (error) {
    await failBuild(registry, draft);
    throw error;
  }
}

async function seedWith(seed: SeedFunction, owner: pg.Client): Promise<void> {
  try {
    await seed(owner);
  } catch (error) {
    if (error instanceof UserError) throw error;
    const { position, detail } = error as { position?: string; detail?: string };
    const problems = [
      ...(position ? [{ subject: "position", problem: `character ${position}` }] : []),
      ...(detail ? [{ subject: "detail", problem: detail }] : []),
      {
        subject: "template",
        problem: "was not built, and no test gets a database.",
        remedy: "Correct the seed and run the tests again.",
      },
    ];
    throw new StateError(`The seed failed: ${messageOf(error)}`, problems, { cause: error });
  }
}
