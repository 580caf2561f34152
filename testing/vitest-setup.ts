import { listDatabases } from "./databases/by-name.ts";
import { closeRegistries } from "./databases/process.ts";
import { DEFAULT_SERVER, ENGINE_VARIABLE, nameOption, SERVER_VARIABLE } from "./description/server.ts";
import type { TemplateSource } from "./pool/template.ts";
import { leakReport, newRun, RUN_VARIABLE } from "./databases/runs.ts";
import { createOutput, type Output } from "../base/output.ts";
import { parseEngine, startServer, stopServer } from "./server/life-cycle.ts";

/**
 * vitest's `globalSetup` for a suite with migrations or a seed of its own, from a file of the suite's:
 *
 * ```ts
 * export default setupWith({ migrationsFolder: "db/migrations", seed: "test/seed.sql" });
 * ```
 */
export function setupWith(source: TemplateSource): () => Promise<() => Promise<void>> {
  return async () => {
    const name = process.env[SERVER_VARIABLE] || DEFAULT_SERVER;
    const run = process.env[RUN_VARIABLE] || newRun();
    // Workers are started later and inherit both.
    process.env[SERVER_VARIABLE] = name;
    process.env[RUN_VARIABLE] = run;
    const output = createOutput({ json: false });
    const engine = parseEngine(process.env[ENGINE_VARIABLE] ?? "", ENGINE_VARIABLE);
    const { created } = await startServer(name, output, { engine, source, stopOnFailure: true });
    return () => tearDown(name, run, created, output);
  };
}

/**
 * vitest's `globalSetup`: a server where none runs, the template of the migrations as they are, so that the error of a
 * broken one comes once and first, and a report of what was not given back at the end. A server that was started here
 * is stopped here, unless a failed test's database is kept in it.
 */
export default setupWith({});

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
