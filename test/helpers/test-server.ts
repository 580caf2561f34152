import { existsSync, readdirSync, rmSync } from "node:fs";
import path from "node:path";
import type { TestProject } from "vitest/node";
import { SERVER_VARIABLE } from "../../testing/description/server.ts";
import { startServer, stopServer } from "../../testing/server/life-cycle.ts";
import { createOutput } from "../../base/output.ts";
import { stackFolder } from "../../infra/settings/places.ts";
import { processStart } from "../../base/process-identity.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** Name of the server for tests. */
    testServer: string;
  }
}

/**
 * One server for all tests of a project, as a process of this machine. Removed when they have ended. The examples' own
 * set-up takes it: a stack, which it would make where no server runs, takes half a minute more.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const output = createOutput({ json: false });
  const name = `ci-${project.name.charAt(0)}${process.pid}`;
  const remove = async (server: string) => {
    await stopServer(server, output);
    rmSync(stackFolder(server), { recursive: true, force: true });
  };
  for (const left of leftBehind()) await remove(left);
  await startServer(name, output, { engine: "local" });
  process.env[SERVER_VARIABLE] = name;
  project.provide("testServer", name);
  return () => remove(name);
}

/** Servers of runs that were killed. */
function leftBehind(): string[] {
  const stacks = path.dirname(stackFolder("ci-s0"));
  if (!existsSync(stacks)) return [];
  return readdirSync(stacks).filter((name) => {
    const pid = /^ci-[se](\d+)$/.exec(name)?.[1];
    return (
      pid !== undefined && processStart(Number(pid)) === undefined && existsSync(path.join(stacks, name, "testdb.json"))
    );
  });
}
