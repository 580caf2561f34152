import { readdirSync, readFileSync } from "node:fs";
import { existsSync } from "node:fs";
import path from "node:path";
import { spawn } from "node:child_process";
import { defineCommand } from "citty";
import { ephemeralKind } from "../../infra/settings/profile.ts";
import { EXPIRY_LABEL, STACK_LABEL } from "../../infra/settings/names.ts";
import { localServers, readLocalRecord } from "../../testing/server/local.ts";
import { serverFiles } from "../../testing/server/server.ts";
import { findEngine } from "../../toolchain/engine/find.ts";
import { engineClient } from "../../toolchain/engine/client.ts";
import { messageOf, type Problem, ToolError, UnknownError } from "../../base/errors.ts";
import { PACKAGE_ROOT } from "../../base/versions.ts";
import { createOutput } from "../../base/output.ts";
import { stateFile } from "../../stack/backend.ts";

export const examples = [
  "aiwdb reap --dry-run",
  "aiwdb reap   # from cron or at the start of a CI job",
  "aiwdb reap --take-over # on an engine whose runners come and go with their state",
];

/** A stack that may expire, and when. */
export interface Expiry {
  readonly stack: string;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  /** Run as a process of this machine, without a stack's containers. */
  readonly isLocalServer?: boolean;
}

/**
 * Stacks past their expiry, the longest one first. Only names ci-… and pr-… count, whatever a label says; 0 hours is never.
 */
export function expired(stacks: readonly Expiry[], now: Date): Expiry[] {
  return stacks
    .filter(
      ({ stack, createdAt, expiresAt }) =>
        ephemeralKind(stack) !== undefined && expiresAt > createdAt && expiresAt <= now,
    )
    .toSorted((a, b) => a.expiresAt.getTime() - b.expiresAt.getTime());
}

export default defineCommand({
  args: {
    stack: { type: "string", default: "", description: "Only this one, if it is past its expiry", valueHint: "STACK" },
    "take-over": {
      type: "boolean",
      default: false,
      description: "Also those that another state made, as of machines that are gone",
    },
    "dry-run": { type: "boolean", default: false, description: "Only say which" },
    json: { type: "boolean", default: false, description: "Print the result as JSON on stdout" },
  },
  async run({ args }) {
    const output = createOutput({ json: args.json });
    const unknown: Problem[] = [];
    const all = await ephemeralStacks((problem) => unknown.push(problem));
    const due = expired(all, new Date()).filter(({ stack }) => args.stack === "" || stack === args.stack);
    const problems: Problem[] = [];
    const removed: string[] = [];
    for (const { stack, expiresAt } of due) {
      if (args["dry-run"]) {
        output.text(`${stack}: expired ${expiresAt.toISOString()}`);
        continue;
      }
      // Others may have been removed for minutes meanwhile, and this one made anew.
      const still = expired(await ephemeralStacks(() => {}), new Date()).filter((each) => each.stack === stack);
      if (still.length === 0) continue;
      output.text(`${stack}: expired ${expiresAt.toISOString()}, removing`);
      const failure = await remove(stack, still, args["take-over"]);
      if (failure === undefined) removed.push(stack);
      else problems.push({ subject: stack, problem: failure });
    }
    if (due.length === 0)
      output.text(`nothing to remove; ${all.length} stack${all.length === 1 ? "" : "s"} may expire later`);
    const result = { removed, due, all, unknown };
    if (problems.length > 0)
      throw new ToolError("Some stacks could not be removed:", [...problems, ...unknown], { result });
    if (unknown.length > 0)
      throw new UnknownError("Not every stack could be looked at; the rest was done:", unknown, { result });
    output.json(result);
  },
});

/**
 * Stacks with objects on the engine, stacks that only have a state, and servers for tests that are processes.
 *
 * @param note takes what could not be looked at
 */
async function ephemeralStacks(note: (problem: Problem) => void): Promise<Expiry[]> {
  const found = new Map<string, Expiry>();
  const engine = await findEngine().catch((error: unknown) => {
    note({ subject: "Docker Engine", problem: `its stacks are left out: ${messageOf(error)}` });
    return undefined;
  });
  if (engine) {
    const networks = await engineClient(engine).listNetworks({ filters: { label: [STACK_LABEL] } });
    for (const { Labels = {}, Created = "" } of networks) {
      const stack = Labels[STACK_LABEL] ?? "";
      const hours = Number(Labels[EXPIRY_LABEL] ?? 0);
      if (ephemeralKind(stack)) found.set(stack, expiry(stack, new Date(Created), hours));
    }
  }
  const folder = path.dirname(stateFile("dev") ?? "");
  if (folder !== "." && existsSync(folder)) {
    for (const file of readdirSync(folder)) {
      const stack = /^(.+)\.json$/.exec(file)?.[1];
      if (!stack || !ephemeralKind(stack) || found.has(stack)) continue;
      const recorded = recordedExpiry(stack, path.join(folder, file));
      if (recorded === "unknown")
        note({ subject: stack, problem: "left alone, its state does not say when it expires" });
      else if (recorded) found.set(stack, recorded);
    }
  }
  const servers = localServers()
    .filter((stack) => ephemeralKind(stack) !== undefined)
    .flatMap((stack) => {
      const record = readLocalRecord(stack);
      if (!record) note({ subject: stack, problem: "left alone, its record can't be read" });
      return record
        ? [{ ...expiry(stack, new Date(record.createdAt), record.expiresAfterHours), isLocalServer: true }]
        : [];
    });
  return [...found.values(), ...servers];
}

function expiry(stack: string, createdAt: Date, hours: number): Expiry {
  return { stack, createdAt, expiresAt: new Date(createdAt.getTime() + hours * 3_600_000) };
}

const NETWORK_TYPE = "aiwdb:index:Network";

interface RecordedResource {
  readonly type?: string;
  readonly created?: string;
  readonly inputs?: { readonly labels?: Readonly<Record<string, string>> };
}

/**
 * What the state says of a stack that has no network on the engine, or whose engine does not answer: the network it made, as
 * it made it. The settings of this checkout may be another's. Undefined for a stack that is empty.
 */
function recordedExpiry(stack: string, file: string): Expiry | "unknown" | undefined {
  let resources: readonly RecordedResource[];
  let lastUpdate: string | undefined;
  try {
    const { checkpoint } = JSON.parse(readFileSync(file, "utf8")) as {
      checkpoint?: { latest?: { manifest?: { time?: string }; resources?: RecordedResource[] } | null };
    };
    resources = checkpoint?.latest?.resources ?? [];
    lastUpdate = checkpoint?.latest?.manifest?.time;
  } catch {
    return "unknown"; // cut off: `aiwdb status` says so, and it is not this command's to delete
  }
  if (resources.length <= 1) return undefined;
  const network = resources.find(({ type }) => type === NETWORK_TYPE);
  const createdAt = new Date(network?.created ?? lastUpdate ?? "");
  if (!network || Number.isNaN(createdAt.getTime())) return "unknown";
  const hours = network.inputs?.labels?.[EXPIRY_LABEL] ?? "0";
  return expiry(stack, createdAt, Number(hours));
}

/** Removes what of a stack is past its expiry; undefined when it is gone, else why not. */
async function remove(stack: string, parts: readonly Expiry[], takeOver: boolean): Promise<string | undefined> {
  // `testdb stop` ends the pool's keeper as well; `down` is enough for a stack nobody took test databases from.
  const isServer = parts.some(({ isLocalServer }) => isLocalServer) || existsSync(serverFiles(stack).description);
  if (isServer) {
    const failure = await runOwn(["testdb", "stop", "--name", stack, "--json"]);
    if (failure !== undefined) return failure;
  }
  return parts.some(({ isLocalServer }) => !isLocalServer)
    ? runOwn(["down", "--stack", stack, "--json", ...(takeOver ? ["--take-over"] : [])])
    : undefined;
}

function runOwn(args: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      [path.join(PACKAGE_ROOT, `cli/main${path.extname(import.meta.filename)}`), ...args],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    let text = "";
    child.stderr.on("data", (chunk: Buffer) => (text += chunk.toString("utf8")));
    child.on("error", reject);
    child.on("close", (code) => resolve(code === 0 ? undefined : text.trim().split("\n").slice(-5).join("\n")));
  });
}
