import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { EXPIRY_LABEL, STACK_LABEL } from "../../infra/settings/names.ts";
import { ephemeralKind } from "../../infra/settings/profile.ts";
import { engineClient } from "../../toolchain/engine/client.ts";
import { findEngine } from "../../toolchain/engine/find.ts";
import { messageOf, type Problem } from "../../base/errors.ts";
import type { Output } from "../../base/output.ts";
import { stateFile } from "../../stack/backend.ts";
import { serverFiles } from "../description/files.ts";
import { stopServer } from "./life-cycle.ts";
import { localServers, readLocalRecord } from "./local.ts";
import { stopStackServer } from "./stack-server.ts";

/** A stack that may expire, and when. */
export interface Expiry {
  readonly stack: string;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  /** Run as a process of this machine, without a stack's containers. */
  readonly isLocalServer?: boolean;
}

/**
 * Stacks past their expiry, the longest one first. Only names ci-… and pr-… count, whatever a label says; 0 hours is
 * never.
 */
export function expired(stacks: readonly Expiry[], now: Date): Expiry[] {
  return stacks
    .filter(({ stack, createdAt, expiresAt }) => ephemeralKind(stack) && expiresAt > createdAt && expiresAt <= now)
    .toSorted((a, b) => a.expiresAt.getTime() - b.expiresAt.getTime());
}

/**
 * Stacks with objects on the engine, stacks that only have a state, and servers for tests that are processes.
 *
 * @param note takes what could not be looked at
 */
export async function ephemeralStacks(note: (problem: Problem) => void): Promise<Expiry[]> {
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
  const servers: Expiry[] = [];
  for (const stack of localServers().filter(ephemeralKind)) {
    const record = readLocalRecord(stack);
    if (record)
      servers.push({ ...expiry(stack, new Date(record.createdAt), record.expiresAfterHours), isLocalServer: true });
    else note({ subject: stack, problem: "left alone, its record can't be read" });
  }
  return [...found.values(), ...servers];
}

function expiry(stack: string, createdAt: Date, hours: number): Expiry {
  return { stack, createdAt, expiresAt: new Date(createdAt.getTime() + hours * 3_600_000) };
}

const NETWORK_TYPE = "aiwdb:index:Network";

/** What a state says of a stack's resources, as Pulumi writes it. */
interface Latest {
  readonly manifest?: { readonly time?: string };
  readonly resources?: readonly {
    readonly type?: string;
    readonly created?: string;
    readonly inputs?: { readonly labels?: Readonly<Record<string, string>> };
  }[];
}

interface Checkpoint {
  readonly checkpoint?: { readonly latest?: Latest | null };
}

/**
 * What the state says of a stack that has no network on the engine, or whose engine does not answer: the network it
 * made, as it made it. The settings of this checkout may be another's. Undefined for a stack that is empty.
 */
function recordedExpiry(stack: string, file: string): Expiry | "unknown" | undefined {
  let latest: Latest | null | undefined;
  try {
    latest = (JSON.parse(readFileSync(file, "utf8")) as Checkpoint).checkpoint?.latest;
  } catch {
    return "unknown"; // cut off or not readable: `aiwdb status` says so, and it is not this command's to delete
  }
  const { resources = [], manifest } = latest ?? {};
  if (resources.length <= 1) return undefined;
  const network = resources.find(({ type }) => type === NETWORK_TYPE);
  const createdAt = new Date(network?.created ?? manifest?.time ?? "");
  if (!network || Number.isNaN(createdAt.getTime())) return "unknown";
  return expiry(stack, createdAt, Number(network.inputs?.labels?.[EXPIRY_LABEL] ?? "0"));
}

/** Removes what of a stack is past its expiry: the server for tests, its containers, or both. */
export async function removeExpired(
  stack: string,
  parts: readonly Expiry[],
  takeOver: boolean,
  output: Output,
): Promise<void> {
  // `stopServer` ends the pool's keeper as well; the stack alone is enough where nobody took test databases from it.
  const isServer = parts.some(({ isLocalServer }) => isLocalServer) || existsSync(serverFiles(stack).description);
  if (isServer) await stopServer(stack, output);
  if (parts.some(({ isLocalServer }) => !isLocalServer)) await stopStackServer(stack, output, takeOver);
}
