import { hasCode, UsageError } from "../../base/errors.ts";
import { type ClientRole, ROLES } from "../../database/access/roles.ts";
import { describe, type TestConnection } from "../description/connection.ts";
import { connectionTo, type TestMode, type TestServer } from "../description/server.ts";
import { createClone, dropClone, recycleClone } from "../pool/clones.ts";
import { giveOwner, ownerConnection } from "../pool/owners.ts";
import type { Registry, Template } from "../pool/registry.ts";
import { claimReturned, type Holder, returnTaken, takeReady } from "../pool/states.ts";
import { ensureTemplate, type ReadSource } from "../pool/template.ts";

/** How the taker wants to connect to a database. */
export interface Way {
  /** @default app_user */
  readonly role?: ClientRole | undefined;
  /** @default direct */
  readonly mode?: TestMode | undefined;
  /** Connect as a role that owns the database and exists for it alone. @default false */
  readonly owner?: boolean | undefined;
}

/**
 * Refuses a way that does not exist. Call it before you take a database.
 *
 * @throws UsageError when `owner` comes with a role or mode, or when the server has no such role or mode
 */
export function refuseUnreachable({ server }: Registry, { owner, role = ROLES.app, mode = "direct" }: Way): void {
  if (owner && (role !== ROLES.app || mode !== "direct")) {
    throw new UsageError("A database with an owner of its own is handed out as that owner's, directly.", {
      subject: "owner",
      problem: "leaves no other role or mode",
      remedy: "Leave them out, and use `as()` for other roles.",
    });
  }
  connectionTo(server, "", role, mode);
}

const templates = new WeakMap<Registry, Map<string, Template>>();

/** The template of a source, as this process knows it. The server may have removed it since. */
export async function templateOf(registry: Registry, source: ReadSource): Promise<Template> {
  const known = templates.get(registry) ?? new Map<string, Template>();
  templates.set(registry, known);
  const template = known.get(source.key) ?? (await ensureTemplate(registry, source));
  known.set(source.key, template);
  return template;
}

/** A database that was taken. It has a password if its owner is a role that exists for it alone. */
export interface TakenDatabase {
  readonly name: string;
  readonly password?: string;
}

/** How to connect to a taken database: as its own owner if it has one, otherwise as the role that was asked for. */
export function describeWay(
  server: TestServer,
  { name, password }: TakenDatabase,
  { role = ROLES.app, mode = "direct" }: Way,
): TestConnection {
  return describe(
    password === undefined ? connectionTo(server, name, role, mode) : ownerConnection(server, name, password),
  );
}

/** SQLSTATE of CREATE DATABASE when its template does not exist. */
const TEMPLATE_GONE = "3D000";

/**
 * Takes a database for this process. Tests, the HTTP API and the command line all call this function.
 *
 * @throws StateError when the server is marked production, or with the error of a migration or seed that fails
 */
export async function takeDatabase(
  registry: Registry,
  source: ReadSource,
  holder: Holder,
  { owner }: Way,
): Promise<TakenDatabase> {
  const name = await takeOf(registry, source, holder);
  if (!owner) return { name };
  try {
    return { name, password: await giveOwner(registry, name) };
  } catch (error) {
    await giveBack(registry, name).catch(() => {}); // the caller gets the error above
    throw error;
  }
}

async function takeOf(registry: Registry, source: ReadSource, holder: Holder): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    const template = await templateOf(registry, source);
    try {
      const ready = await takeReady(registry, template, holder);
      return (
        ready ?? (await emptyReturned(registry, template, holder)) ?? (await createClone(registry, template, holder))
      );
    } catch (error) {
      // The server has removed the template since this process looked, because nobody used it for long.
      if (!hasCode(error, TEMPLATE_GONE) || attempt > 1) throw error;
      templates.get(registry)?.delete(source.key);
    }
  }
}

/**
 * Empties a returned database, which is the keeper's work. When no database is ready, this is quicker than a new copy.
 * A database that cannot be emptied is dropped.
 *
 * @returns its name; undefined if no database was returned, or if it was dropped
 */
async function emptyReturned(registry: Registry, template: Template, holder: Holder): Promise<string | undefined> {
  const [claimed] = await claimReturned(registry, 1, template.key);
  // If it fails, the next sweep takes care of the database and reports the error.
  return claimed && recycleClone(registry, claimed.name, template, holder).catch(() => undefined);
}

/** Gives a database of this process back to the pool. If no keeper looks after the pool, the database is dropped. */
export async function giveBack(registry: Registry, name: string): Promise<void> {
  if (!(await returnTaken(registry, name))) await dropClone(registry, name);
}
