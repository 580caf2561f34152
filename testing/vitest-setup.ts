import { listDatabases, closeHolders } from "./holders.ts";
import { leakReport } from "./leaks.ts";
import { openRegistry } from "./registry.ts";
import { DEFAULT_SERVER, readServer, SERVER_VARIABLE } from "./server.ts";
import { ensureTemplate, readSource } from "./template.ts";
import { newRun, RUN_VARIABLE } from "./test-database.ts";
import { createOutput } from "../cli/output.ts";
import { startServer, stopServer } from "../cli/commands/testdb/server-process.ts";

/** `container` or `local`: how a server is started where none runs. Default: container. */
export const ENGINE_VARIABLE = "AIWDB_TESTDB_ENGINE";

/**
 * vitest's `globalSetup`: a server where none runs, the template of the migrations as they are, so that the error of a
 * broken one comes once and first, and a report of what was not given back at the end. A server that was started here is
 * stopped here.
 */
export default async function setup(): Promise<() => Promise<void>> {
  const name = process.env[SERVER_VARIABLE] || DEFAULT_SERVER;
  const run = process.env[RUN_VARIABLE] || newRun();
  // Workers are started later and inherit both.
  process.env[SERVER_VARIABLE] = name;
  process.env[RUN_VARIABLE] = run;
  const output = createOutput({ json: false });
  const engine = process.env[ENGINE_VARIABLE] === "local" ? "local" : undefined;
  const { created } = await startServer(name, output, { engine });
  const registry = await openRegistry(readServer(name));
  try {
    await ensureTemplate(registry, readSource(registry.server, {}), output.progress);
  } finally {
    await registry.close();
  }
  return async () => {
    try {
      for (const line of leakReport(await listDatabases(name), run)) output.warn(line);
    } finally {
      await closeHolders();
      if (created) await stopServer(name, output);
    }
  };
}
