import type { ArgsDef } from "citty";
import type { ClientRole } from "../../../database/access/roles.ts";
import { parsePhase, type Phase } from "../../../migrate/chain/phases.ts";
import {
  DEFAULT_SERVER,
  ENGINE_VARIABLE,
  SERVER_VARIABLE,
  type TestMode,
} from "../../../testing/description/server.ts";
import { closeRegistries } from "../../../testing/databases/process.ts";
import { flag, jsonArgument, oneOf, option, optionError } from "../../arguments.ts";
import { parseRole } from "../../connection-arguments.ts";

/** Arguments of every command on a server for tests. */
export const serverArguments = {
  name: {
    ...option("NAME", "Server: a stack's name, ci-…"),
    alias: "n",
    default: process.env[SERVER_VARIABLE] || DEFAULT_SERVER,
  },
  ...jsonArgument,
} as const satisfies ArgsDef;

/** How the command runs a server that it starts. */
export const engineArgument = {
  ...option(
    "ENGINE",
    "container: a stack like any other; local: PostgreSQL as a process of this machine, no pooler. Default: AIWDB_TESTDB_ENGINE, else what runs, else container",
  ),
  default: process.env[ENGINE_VARIABLE] ?? "",
} as const satisfies ArgsDef[string];

/** What a database is made from, and how it is reached. */
export const databaseArguments = {
  role: { ...option("ROLE", "Role of the address"), alias: "r", default: "app_user" },
  mode: { ...option("MODE", "direct, or transaction for PgBouncer"), alias: "m", default: "direct" },
  phase: { ...option("1-4", "Migrations up to this rollout phase"), default: "4" },
  seed: { ...option("FILE", "SQL file that fills the template"), default: "" },
} as const satisfies ArgsDef;

/** A role for the database alone. */
export const ownerArgument = flag(
  "As a role of its own that owns the database, may make objects there and connects nowhere else",
);

/** @throws UsageError when there is no such role or mode */
export function roleAndMode(args: { role: string; mode: string }): { role: ClientRole; mode: TestMode } {
  const modes: readonly TestMode[] = ["direct", "transaction"];
  return { role: parseRole(args.role), mode: oneOf("mode", args.mode, modes, "must be direct or transaction") };
}

/**
 * The database that the arguments ask for.
 *
 * @throws UsageError when there is no such role, mode or phase
 */
export function databaseOptions(args: { role: string; mode: string; phase: string; seed: string; owner: boolean }) {
  const { owner, seed } = args;
  return { ...roleAndMode(args), phase: phaseOf(args.phase), seed: seed || undefined, owner };
}

function phaseOf(text: string): Phase {
  const phase = parsePhase(text);
  if (phase === undefined) throw optionError(`There is no phase "${text}".`, "--phase", "must be 1, 2, 3 or 4");
  return phase;
}

/** Runs work that asks the registries of test databases, and closes them after it. */
export async function withRegistries<T>(work: () => Promise<T>): Promise<T> {
  return work().finally(closeRegistries);
}
