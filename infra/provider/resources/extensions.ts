import type Docker from "dockerode";
import { messageOf, StateError } from "../../../base/errors.ts";
import {
  dropExtensionStatements,
  extensionStatements,
  findExtensionsSql,
  type FoundExtensions,
} from "../../../database/access/extensions.ts";
import { localSql } from "../../../database/local-sql.ts";
import { engine, inspect } from "../../../toolchain/engine/containers.ts";
import {
  byTheSame,
  changedProperties,
  type Failure,
  type None,
  type Operation,
  type Planned,
  type ResourceType,
  UNKNOWN,
} from "../resource.ts";

export interface ExtensionsInputs {
  readonly container: string;
  readonly database: string;
  /** Sorted. */
  readonly names: readonly string[];
}

type State = Partial<ExtensionsInputs>;
type Wanted = Planned<ExtensionsInputs> & Pick<ExtensionsInputs, "names">;

/** A server that runs answers within this. */
const ANSWER_MS = 30_000;
const inTime = (signal: AbortSignal) => AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);

const isKnown = (news: Planned<ExtensionsInputs>): news is Wanted => news.names !== UNKNOWN;

/** Extensions that the setting had and has no longer. */
const removed = ({ names: before = [] }: State, { names }: Pick<ExtensionsInputs, "names">) =>
  before.filter((name) => !names.includes(name));

async function look(
  docker: Docker,
  { container, database }: Pick<ExtensionsInputs, "container" | "database">,
  dropped: readonly string[],
  signal: AbortSignal,
): Promise<FoundExtensions> {
  const found = await localSql(docker, container, findExtensionsSql(dropped), { database, signal: inTime(signal) });
  return JSON.parse(found) as FoundExtensions;
}

/** What a running server says; undefined where it does not run or can't be asked. The update starts it and asks again. */
async function lookIfRunning(
  { container, database }: State,
  dropped: readonly string[],
  { report, signal }: Operation,
): Promise<FoundExtensions | undefined> {
  if (container === undefined || database === undefined) return undefined;
  const docker = engine();
  const info = await inspect(docker, container, signal);
  if (!info?.State.Running || info.State.Paused || info.State.Restarting) return undefined;
  try {
    return await look(docker, { container, database }, dropped, signal);
  } catch (error) {
    report.warn(`the extensions of database ${database} can't be seen yet: ${messageOf(error)}`);
    return undefined;
  }
}

/** As many dependents as a person reads. */
const NAMED = 10;

const stillNeeded = (names: readonly string[], dependents: readonly string[]): string =>
  `${names.join(", ")} can't be dropped, because the database still uses ${names.length === 1 ? "it" : "them"}: ${dependents.slice(0, NAMED).join("; ")}${dependents.length > NAMED ? `; and ${dependents.length - NAMED} more` : ""}. Drop that by a migration first, or leave ${names.length === 1 ? "it" : "them"} in the setting.`;

async function apply(olds: State, news: ExtensionsInputs, { report, signal }: Operation): Promise<None> {
  const docker = engine();
  const dropped = removed(olds, news);
  if (dropped.length + news.names.length === 0) return {};
  const { present, available, dependents } = await look(docker, news, dropped, signal);
  const problems = news.names
    .filter((name) => !available.includes(name))
    .map((subject) => ({
      subject,
      problem: `the image of container ${news.container} does not have it`,
      remedy: "Take it out of the setting `extensions`.",
    }));
  if (problems.length > 0) throw new StateError("An extension can't be created; nothing was changed.", problems);
  if (dependents.length > 0) throw new StateError(`Extensions: ${stillNeeded(dropped, dependents)}`);
  const statements = [
    "begin;",
    "set local lock_timeout = '5s';",
    "set local client_min_messages = warning;",
    dropExtensionStatements(dropped),
    extensionStatements(news.names),
    "commit;",
  ];
  await localSql(docker, news.container, statements.join("\n"), { database: news.database, signal: inTime(signal) });
  for (const name of dropped.filter((each) => present.includes(each))) report.info(`extension ${name}: dropped`);
  for (const name of news.names.filter((each) => !present.includes(each))) report.info(`extension ${name}: created`);
  return {};
}

/**
 * The extensions of a stack's database. The superuser creates them by the container's local socket.
 *
 * An extension that is no longer wanted is dropped if nothing depends on it. The preview stops where something does,
 * and names it. `diff` asks the server itself, if it runs: an extension that somebody dropped is created again. A stack
 * without extensions asks nobody.
 */
export const extensions: ResourceType<ExtensionsInputs> = {
  async check(news, olds, operation): Promise<Failure[]> {
    if (!isKnown(news)) return [];
    const dropped = removed(olds, news);
    if (dropped.length === 0) return [];
    const { dependents = [] } = (await lookIfRunning(olds, dropped, operation)) ?? {};
    return dependents.length === 0 ? [] : [{ property: "extensions", reason: stillNeeded(dropped, dependents) }];
  },
  async diff(olds, news, operation) {
    const changed = changedProperties(olds, news);
    const moved = news.database !== UNKNOWN && olds.database !== news.database;
    const difference = (...more: string[]) => ({
      changed: [...changed, ...more],
      ...(moved ? { replaces: ["database"] } : {}),
    });
    if (!isKnown(news)) return difference();
    if (olds.names.length + news.names.length === 0) return { ...difference(), changed: moved ? ["database"] : [] };
    const found = await lookIfRunning(olds, [], operation);
    if (found === undefined) return difference("container");
    const { report } = operation;
    for (const name of removed(olds, news))
      if (found.present.includes(name)) report.info(`extension ${name}: will be dropped`);
    const missing = news.names.filter((name) => !found.present.includes(name));
    for (const name of missing) {
      if (olds.names.includes(name)) report.warn(`extension ${name} was dropped: it is created again`);
      else report.info(`extension ${name}: will be created`);
    }
    return missing.length > 0 ? difference("names") : difference();
  },
  ...byTheSame<ExtensionsInputs, None>(
    ({ database }) => database,
    (news, operation) => apply({}, news, operation),
  ),
  update: (_id, olds, news, operation) => apply(olds, news, operation),
  // Nothing to delete: the extensions go with their database.
};
