import { explainTake, type Registry, type Template } from "./registry.ts";

/**
 * The transitions of a test database, each one a function of states.sql, which says between which states. Nothing else
 * in this room writes testdb.clone: test/unit/testdb-states.test.ts holds that.
 */

/** Who has a database, for `aiwdb testdb list` and the leak report. */
export interface Holder {
  readonly label: string;
  readonly run: string;
}

type Lane = Pick<Registry, "query" | "lease">;

/** Calls a transition. Each connection prepares its statement once. */
async function call<T>({ query }: Pick<Lane, "query">, transition: string, values: unknown[]): Promise<T | undefined> {
  const { rows } = await query<{ value: T | null }>({
    name: transition,
    text: `select ${transition} as value`,
    values,
  });
  return rows[0]?.value ?? undefined;
}

/** The same for one that gives a test its database. @throws StateError when the server is marked production */
async function take<T>(lane: Lane, transition: string, values: unknown[]): Promise<T | undefined> {
  try {
    return await call<T>(lane, transition, values);
  } catch (error) {
    throw explainTake(error);
  }
}

/** Writes down a template that is being built. */
export async function beginBuild(lane: Lane, draft: string, key: string): Promise<void> {
  await call(lane, "testdb.begin_build($1, $2, $3)", [draft, key, lane.lease]);
}

/** Statement for the transaction that makes it a template. */
export const endBuild = (draft: string): string => `select testdb.end_build('${draft}')`;

/** A build that failed is the next sweep's; if this cannot be said either, its dead lease says it later. */
export async function failBuild(lane: Lane, draft: string): Promise<void> {
  await call(lane, "testdb.fail_build($1)", [draft]).catch(() => {});
}

/** Writes down a copy that is being made. */
export async function beginCopy(lane: Lane, name: string, { key }: Template, { label, run }: Holder): Promise<void> {
  await call(lane, "testdb.begin_copy($1, $2, $3, $4, $5)", [name, key, lane.lease, label, run]);
}

/**
 * Statement for a copy that is whole: taken under a lease, or ready without one. Runs with those that give it its
 * rights.
 */
export const endCopy = (name: string, lease: number | null): string =>
  `select testdb.end_copy('${name}', ${lease ?? "null"})`;

/** Takes a ready database; undefined where there is none. @throws StateError when the server is marked production */
export function takeReady(lane: Lane, { key }: Template, { label, run }: Holder): Promise<string | undefined> {
  return take<string>(lane, "testdb.take($1, $2, $3, $4)", [key, lane.lease, label, run]);
}

/** Sets a ready database aside for this process; undefined where there is none. */
export function setAside(lane: Lane, { key }: Template): Promise<string | undefined> {
  return call<string>(lane, "testdb.set_aside($1, $2)", [key, lane.lease]);
}

/** Takes the one that was set aside; false if it is not there any more. @throws StateError as `takeReady` */
export async function takeAside(lane: Lane, name: string, { label, run }: Holder): Promise<boolean> {
  return (await take<boolean>(lane, "testdb.take_aside($1, $2, $3, $4)", [name, lane.lease, label, run])) ?? false;
}

/** A process of a machine, when it began, and how long it may have a database: all or a part of it. */
export interface AbsentHolder {
  readonly pid: number | undefined;
  readonly start: string | undefined;
  readonly host: string | undefined;
  readonly seconds: number | undefined;
}

/** From here on a taken database is theirs, not this process'. */
export async function handOver(lane: Lane, name: string, { pid, start, host, seconds }: AbsentHolder): Promise<void> {
  await call(lane, "testdb.hand_over($1, $2, $3, $4, $5)", [name, pid, start, host, seconds]);
}

/** Gives a database more time, if it has an end. @returns false if nobody has one of that name */
export async function renew(lane: Lane, name: string, seconds: number): Promise<boolean> {
  return (await call<boolean>(lane, "testdb.renew($1, $2)", [name, seconds])) ?? false;
}

/** Keeps a taken database. @returns false if nobody has taken one of that name */
export async function keepTaken(lane: Lane, name: string, seconds: number, why: string): Promise<boolean> {
  return (await call<boolean>(lane, "testdb.keep($1, $2, $3)", [name, seconds, why])) ?? false;
}

/** Claims a taken or kept database, to drop it. @returns false if nobody has one of that name */
export async function claimHeld(lane: Lane, name: string): Promise<boolean> {
  return (await call<boolean>(lane, "testdb.claim_held($1, $2)", [name, lane.lease])) ?? false;
}

/** Returns a database. @returns whether a keeper will take care of it; else it is this process' to drop */
export async function returnTaken(lane: Lane, name: string): Promise<boolean> {
  return (await call<boolean>(lane, "testdb.give_back($1, $2)", [name, lane.lease])) ?? false;
}

/** A database that was claimed to be emptied or dropped. */
export interface Claimed {
  readonly name: string;
  readonly template: string;
}

/** Claims returned databases, at most `most`. @param key of their template; by default any */
export async function claimReturned({ query, lease }: Lane, most: number, key?: string): Promise<Claimed[]> {
  const { rows } = await query<{ name: string; template: string }>({
    name: "testdb-claim-returned",
    text: "select database as name, key as template from testdb.claim_returned($1, $2, $3)",
    values: [key, lease, most],
  });
  return rows;
}

/** Statement for a claimed database that gets another name. */
export const renamed = (name: string, fresh: string): string => `select testdb.renamed('${name}', '${fresh}')`;

/** A claimed database is as its template: taken by the holder, or ready where there is none. */
export async function emptied({ workers, lease }: Registry, name: string, holder?: Holder): Promise<void> {
  const values = [name, holder ? lease : null, holder?.label ?? "", holder?.run ?? ""];
  await workers.query("select testdb.emptied($1, $2, $3, $4)", values);
}

/**
 * What this process could not bring to its end is the next sweep's; if this cannot be said either, its dead lease says
 * it.
 */
export async function disclaim(lane: Lane, name: string): Promise<void> {
  await call(lane, "testdb.disclaim($1)", [name]).catch(() => {});
}

/** The database is gone, and so is its line. */
export async function removed({ workers }: Pick<Registry, "workers">, name: string): Promise<void> {
  await workers.query("select testdb.removed($1)", [name]);
}

/** The time of taken databases is over, as their processes have ended. */
export async function expire(lane: Lane, names: readonly string[]): Promise<void> {
  await call(lane, "testdb.expire($1)", [names]);
}

/**
 * Claims what nobody answers for any more, with the reason.
 *
 * @param readyUnused how long ready copies outlive their template's use
 */
export async function claimGone(
  { query, lease }: Lane,
  readyUnused: string,
): Promise<{ readonly name: string; readonly why: string }[]> {
  const statement = "select database as name, reason as why from testdb.claim_gone($1, $2)";
  return (await query<{ name: string; why: string }>(statement, [lease, readyUnused])).rows;
}
