import type { ArgsDef } from "citty";
import { parsePhase, type Phase } from "../../../migrate/chain/phases.ts";
import {
  DEFAULT_SERVER,
  ENGINE_VARIABLE,
  SERVER_VARIABLE,
  type TestMode,
} from "../../../testing/description/server.ts";
import { UsageError } from "../../../base/errors.ts";

/** Arguments every command on a server for tests has. */
export const serverArguments = {
  name: {
    type: "string",
    alias: "n",
    default: process.env[SERVER_VARIABLE] || DEFAULT_SERVER,
    description: "Server: a stack's name, ci-…",
    valueHint: "NAME",
  },
  json: { type: "boolean", default: false, description: "Print the result as JSON on stdout" },
} as const satisfies ArgsDef;

/** How a server is run that is started by the command. */
export const engineArgument = {
  type: "string",
  default: process.env[ENGINE_VARIABLE] ?? "",
  description:
    "container: a stack like any other; local: PostgreSQL as a process of this machine, no pooler. Default: AIWDB_TESTDB_ENGINE, else what runs, else container",
  valueHint: "ENGINE",
} as const satisfies ArgsDef[string];

/** What a database is made from and how it is reached. */
export const databaseArguments = {
  role: { type: "string", alias: "r", default: "app_user", description: "Role of the address", valueHint: "ROLE" },
  mode: {
    type: "string",
    alias: "m",
    default: "direct",
    description: "direct, or transaction for PgBouncer",
    valueHint: "MODE",
  },
  phase: { type: "string", default: "4", description: "Migrations up to this rollout phase", valueHint: "1-4" },
  seed: { type: "string", default: "", description: "SQL file that fills the template", valueHint: "FILE" },
} as const satisfies ArgsDef;

/** A role for the database alone. */
export const ownerArgument = {
  type: "boolean",
  default: false,
  description: "As a role of its own that owns the database, may make objects there and connects nowhere else",
} as const satisfies ArgsDef[string];

export function parseTestMode(text: string): TestMode {
  if (text === "direct" || text === "transaction") return text;
  throw new UsageError(`There is no mode "${text}".`, [
    { subject: "--mode", problem: "must be direct or transaction" },
  ]);
}

export function phaseOf(text: string): Phase {
  const phase = parsePhase(text);
  if (phase === undefined)
    throw new UsageError(`There is no phase "${text}".`, [{ subject: "--phase", problem: "must be 1, 2, 3 or 4" }]);
  return phase;
}

/** @throws UsageError when it is no number a process can have */
export function pidOf(text: string): number {
  if (!/^[1-9]\d{0,9}$/.test(text))
    throw new UsageError(`--pid ${text} is no process.`, [{ subject: "--pid", problem: "must be a process' number" }]);
  return Number(text);
}

/** @throws UsageError when it is no whole number of seconds above 0 */
export function secondsOf(option: string, text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text))
    throw new UsageError(`${option} ${text} is no time.`, [
      { subject: option, problem: "must be a whole number of seconds above 0" },
    ]);
  return Number(text);
}
