import type Docker from "dockerode";
import { engineNames } from "../infra/settings/names.ts";
import { askServer } from "../database/ask-server.ts";
import type { KnownState } from "./backend.ts";
import { resourcesOf, TYPES } from "./engine-damage.ts";

/** What a stack's database says of its own migrations. */
export type History = readonly string[] | "no database" | "not running";

/**
 * Names of the migrations that are applied in a stack's database, in their order. The state may say otherwise: a database is restored,
 * rolled back and changed by hand behind its back.
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
  if (present === undefined) return "not running";
  if (present === "0") return "no database";
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

/** Migrations that the state has and the database does not, with the resource that has them. */
export interface ForgottenMigrations {
  readonly urn: string;
  readonly names: readonly string[];
}

export function findForgotten(state: KnownState, history: History): ForgottenMigrations | undefined {
  const recorded = resourcesOf(state).find(({ type }) => type === TYPES.migrations);
  if (recorded === undefined || typeof history === "string") return undefined;
  const applied = new Set(history);
  const names = recordedMigrations(state).filter((name) => !applied.has(name));
  return names.length === 0 ? undefined : { urn: recorded.urn, names };
}

/** Names of the migrations that the state has as applied. */
export function recordedMigrations(state: KnownState): readonly string[] {
  const recorded = resourcesOf(state).find(({ type }) => type === TYPES.migrations);
  return (recorded?.outputs?.["migrations"] ?? []) as readonly string[];
}

/** The database, where the state has it and the server does not. */
export interface LostDatabase {
  readonly urn: string;
  readonly name: string;
}

/** Somebody dropped it, or the server runs on a cluster that was made anew. */
export function findLostDatabase(state: KnownState, history: History): LostDatabase | undefined {
  if (history !== "no database") return undefined;
  const recorded = resourcesOf(state).find(({ type }) => type === TYPES.database);
  return recorded === undefined ? undefined : { urn: recorded.urn, name: recorded.id ?? "" };
}

/** What `up` does about it. */
export function describeLostDatabase({ name }: LostDatabase): string {
  return `database ${name} is gone from the server, and with it the data`;
}

/** What `up` does about them. */
export function describeForgotten({ names }: ForgottenMigrations): string {
  return `the database no longer says that ${names.join(", ")} ${names.length === 1 ? "is" : "are"} applied: pending again`;
}
