import { readdirSync, readFileSync } from "node:fs";
import { existsSync } from "node:fs";
import path from "node:path";
import { spawn } from "node:child_process";
import { defineCommand } from "citty";
import { ephemeralKind } from "../../infra/config.ts";
import { EXPIRY_LABEL, STACK_LABEL } from "../../infra/names.ts";
import { forgetServer } from "../../testing/server.ts";
import { findEngine } from "../../toolchain/docker-engine.ts";
import { engineClient } from "../../toolchain/engine-client.ts";
import { ToolError, type Problem } from "../../toolchain/errors.ts";
import { PACKAGE_ROOT } from "../../toolchain/versions.ts";
import { createOutput } from "../output.ts";
import { stateFile } from "../stack/backend.ts";
import { readStackConfig } from "../stack/settings-file.ts";

export const examples = ["aiwdb reap --dry-run", "aiwdb reap   # from cron or at the start of a CI job"];

/** A stack that may expire, and when. */
export interface Expiry {
  readonly stack: string;
  readonly createdAt: Date;
  readonly expiresAt: Date;
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
  meta: {
    name: "reap",
    description: "Remove the stacks named ci-… and pr-… that are past their expiry, and only those",
  },
  args: {
    "dry-run": { type: "boolean", default: false, description: "Only say which" },
    json: { type: "boolean", default: false, description: "Print the result as JSON on stdout" },
  },
  async run({ args }) {
    const output = createOutput({ json: args.json });
    const all = await ephemeralStacks();
    const due = expired(all, new Date());
    const problems: Problem[] = [];
    for (const { stack, expiresAt } of due) {
      output.text(`${stack}: expired ${expiresAt.toISOString()}${args["dry-run"] ? "" : ", removing"}`);
      if (args["dry-run"]) continue;
      const failure = await remove(stack);
      if (failure === undefined) forgetServer(stack);
      else problems.push({ subject: stack, problem: failure });
    }
    if (due.length === 0)
      output.text(`nothing to remove; ${all.length} stack${all.length === 1 ? "" : "s"} may expire later`);
    output.json({
      removed: args["dry-run"]
        ? []
        : due.map(({ stack }) => stack).filter((stack) => !problems.some(({ subject }) => subject === stack)),
      due,
      all,
    });
    if (problems.length > 0) throw new ToolError("Some stacks could not be removed:", problems);
  },
});

/** Stacks with objects on the engine, and stacks that only have a state. */
async function ephemeralStacks(): Promise<Expiry[]> {
  const found = new Map<string, Expiry>();
  const engine = await findEngine();
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
      const createdAt = lastUpdate(path.join(folder, file));
      if (createdAt) found.set(stack, expiry(stack, createdAt, readStackConfig(stack).expiresAfterHours));
    }
  }
  return [...found.values()];
}

function expiry(stack: string, createdAt: Date, hours: number): Expiry {
  return { stack, createdAt, expiresAt: new Date(createdAt.getTime() + hours * 3_600_000) };
}

/** When the state was written last, for a stack that has nothing on the engine; undefined for one that is empty. */
function lastUpdate(file: string): Date | undefined {
  try {
    const { checkpoint } = JSON.parse(readFileSync(file, "utf8")) as {
      checkpoint?: { latest?: { manifest?: { time?: string }; resources?: unknown[] } | null };
    };
    const { manifest, resources = [] } = checkpoint?.latest ?? {};
    return manifest?.time && resources.length > 1 ? new Date(manifest.time) : undefined;
  } catch {
    return undefined; // cut off: `aiwdb status` says so, and it is not this command's to delete
  }
}

/** Removes a stack as `aiwdb down` does; undefined when it is gone, else why not. */
function remove(stack: string): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      [path.join(PACKAGE_ROOT, `cli/main${path.extname(import.meta.filename)}`), "down", "--stack", stack, "--json"],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    let text = "";
    child.stderr.on("data", (chunk: Buffer) => (text += chunk.toString("utf8")));
    child.on("error", reject);
    child.on("close", (code) => resolve(code === 0 ? undefined : text.trim().split("\n").slice(-5).join("\n")));
  });
}
