import type Docker from "dockerode";
import { engineNames } from "../infra/settings/names.ts";
import { askServer } from "../database/ask-server.ts";
import { type KnownState, resourcesOf } from "./backend.ts";
import { TYPES } from "./engine-damage.ts";

/** Names of the migrations that a stack's database has, or why it has none to tell. */
export type History = readonly string[] | "no database" | "not running";

/**
 * Names of the migrations that are applied in a stack's database, in their order. The state may say otherwise: people
 * restore a database, roll it back and change it by hand, and the state is not told.
 *
 * @param postgres container of the server. @default the stack's own
 * @throws ToolError when the server runs and does not answer
 */
export async function readHistory(
  docker: Docker,
  stack: string,
  database: string,
  postgres: string = engineNames(stack).postgres,
): Promise<History> {
  const present = await askServer(docker, postgres, `select count(*) from pg_database where datname = '${database}'`);
  if (present === "0") return "no database";
  if (present === undefined) return "not running";
  const names = await askServer(
    docker,
    postgres,
    `select to_regclass('public.pgmigrations') is not null as present \\gset
     \\if :present
       select name from public.pgmigrations order by id;
     \\endif`,
    database,
  );
  return names === undefined ? "not running" : names.split("\n").filter((name) => name !== "");
}

/** Names of migrations in the state, with the URN of the resource that has them. */
export interface RecordedMigrations {
  readonly urn: string;
  readonly names: readonly string[];
}

/** The migrations that are recorded as applied and that the database does not have; undefined where there are none. */
export function findForgotten(state: KnownState, history: History): RecordedMigrations | undefined {
  const recorded = recordedMigrations(state);
  if (recorded === undefined || typeof history === "string") return undefined;
  const names = recorded.names.filter((name) => !history.includes(name));
  return names.length === 0 ? undefined : { urn: recorded.urn, names };
}

/** The migrations that the state has as applied; undefined where none ever were. */
export function recordedMigrations(state: KnownState): RecordedMigrations | undefined {
  const recorded = resourcesOf(state).find(({ type }) => type === TYPES.migrations);
  return recorded && { urn: recorded.urn, names: (recorded.outputs?.["migrations"] ?? []) as readonly string[] };
}

/** A database that the state has and the server does not. */
export interface LostDatabase {
  readonly urn: string;
  readonly name: string;
}

/** The lost database: somebody dropped it, or the server runs on a new cluster. Undefined where it is there. */
export function findLostDatabase(state: KnownState, history: History): LostDatabase | undefined {
  if (history !== "no database") return undefined;
  const recorded = resourcesOf(state).find(({ type }) => type === TYPES.database);
  return recorded === undefined ? undefined : { urn: recorded.urn, name: recorded.id ?? "" };
}

/** A line on a lost database. */
export function describeLostDatabase({ name }: LostDatabase): string {
  return `database ${name} is gone from the server, and with it the data`;
}

/** A line on forgotten migrations, with what `up` does about them. */
export function describeForgotten({ names }: RecordedMigrations): string {
  return `the database no longer says that ${names.join(", ")} ${names.length === 1 ? "is" : "are"} applied: pending again`;
}
