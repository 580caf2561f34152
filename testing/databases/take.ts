import { hasCode, UsageError } from "../../base/errors.ts";
import { type ClientRole, ROLES } from "../../database/access/roles.ts";
import { describe, type TestConnection } from "../description/connection.ts";
import { connectionTo, type TestMode, type TestServer } from "../description/server.ts";
import { createClone, dropClone, recycleClone } from "../pool/clones.ts";
import { giveOwner, ownerConnection } from "../pool/owners.ts";
import type { Registry, Template } from "../pool/registry.ts";
import { claimReturned, type Holder, returnTaken, takeReady } from "../pool/states.ts";
import { ensureTemplate, type ReadSource } from "../pool/template.ts";

/** Which way into a database is asked for. */
export interface Way {
  readonly role?: ClientRole | undefined;
  readonly mode?: TestMode | undefined;
  /** As a role of its own that owns it. */
  readonly owner?: boolean | undefined;
}

/** @throws UsageError for what there is no way to; to be called before anything is taken */
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

/** The template of a source, as this process knows it; it may have been removed since. */
export async function templateOf(registry: Registry, source: ReadSource): Promise<Template> {
  const known = templates.get(registry) ?? new Map<string, Template>();
  templates.set(registry, known);
  const template = known.get(source.key) ?? (await ensureTemplate(registry, source));
  known.set(source.key, template);
  return template;
}

/** A database that was taken, and the password of its owner where that is a role of its own. */
export interface TakenDatabase {
  readonly name: string;
  readonly password?: string;
}

/** The way into a taken database that was asked for: as its own owner where it has one. */
export function describeWay(
  server: TestServer,
  { name, password }: TakenDatabase,
  { role = ROLES.app, mode = "direct" }: Way,
): TestConnection {
  return describe(
    password === undefined ? connectionTo(server, name, role, mode) : ownerConnection(server, name, password),
  );
}

const TEMPLATE_GONE = "3D000";

/**
 * Takes a database under this process' lease. Tests in this process, the HTTP API and the command line all come this
 * way.
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
    await giveBack(registry, name).catch(() => {}); // the error of the take is told
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
      // Nobody used the template for so long that it was removed since this process looked.
      if (!hasCode(error, TEMPLATE_GONE) || attempt > 1) throw error;
      templates.get(registry)?.delete(source.key);
    }
  }
}

/**
 * Does the keeper's work where that is behind: emptying a returned database is quicker than a copy. One that can not be
 * brought back is dropped.
 */
async function emptyReturned(registry: Registry, template: Template, holder: Holder): Promise<string | undefined> {
  const [claimed] = await claimReturned(registry, 1, template.key);
  // One that fails is the next sweep's, which tells what is wrong with it.
  return claimed && recycleClone(registry, claimed.name, template, holder).catch(() => undefined);
}

/** A database this process has goes back into the pool, or is dropped where nobody keeps one. */
export async function giveBack(registry: Registry, name: string): Promise<void> {
  if (!(await returnTaken(registry, name))) await dropClone(registry, name);
}
