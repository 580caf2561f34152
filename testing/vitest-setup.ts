import { listDatabases } from "./databases/by-name.ts";
import { closeRegistries } from "./databases/process.ts";
import { DEFAULT_SERVER, ENGINE_VARIABLE, nameOption, SERVER_VARIABLE } from "./description/server.ts";
import type { TemplateSource } from "./pool/template.ts";
import { leakReport, newRun, RUN_VARIABLE } from "./databases/runs.ts";
import { createOutput, type Output } from "../base/output.ts";
import { parseEngine, startServer, stopServer } from "./server/life-cycle.ts";

/**
 * Makes vitest's `globalSetup` for a suite that has migrations or a seed of its own. A file of the suite exports it:
 *
 * ```ts
 * export default setupWith({ migrationsFolder: "db/migrations", seed: "test/seed.sql" });
 * ```
 *
 * https://vitest.dev/config/globalsetup
 *
 * @param source migrations and seed of the suite's template; what is left out is the package's own
 */
export function setupWith(source: TemplateSource): () => Promise<() => Promise<void>> {
  return async () => {
    const name = process.env[SERVER_VARIABLE] || DEFAULT_SERVER;
    const run = process.env[RUN_VARIABLE] || newRun();
    // vitest starts its workers later, and they inherit both variables.
    process.env[SERVER_VARIABLE] = name;
    process.env[RUN_VARIABLE] = run;
    const output = createOutput({ json: false });
    const engine = parseEngine(process.env[ENGINE_VARIABLE] ?? "", ENGINE_VARIABLE);
    const { created } = await startServer(name, output, { engine, source, stopOnFailure: true });
    return () => tearDown(name, run, created, output);
  };
}

/**
 * vitest's `globalSetup` for the package's own migrations. Before the tests it starts a server for tests if none runs,
 * and builds the template. So a broken migration fails once, before any test. After the tests it reports the databases
 * that were not given back. It stops a server that it started, unless a failed test's database is kept there.
 */
export default setupWith({});

/** Reports databases that were not given back, and stops the server if `created` says that this run started it. */
async function tearDown(name: string, run: string, created: boolean, output: Output): Promise<void> {
  let kept: string[] = [];
  try {
    const databases = await listDatabases(name);
    kept = databases.filter(({ state }) => state === "kept").map((database) => database.name);
    for (const line of leakReport(databases, run)) output.warn(line);
  } finally {
    await closeRegistries();
    if (created && kept.length === 0) await stopServer(name, output);
  }
  if (created && kept.length > 0) {
    output.warn(
      `the server for tests goes on, as ${kept.join(", ")} ${kept.length === 1 ? "is" : "are"} kept; stop it: npx aiwdb testdb stop${nameOption(name)}`,
    );
  }
}
