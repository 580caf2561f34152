import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { Client } from "pg";
import { pendingMigrations, readApplied } from "../../migrate/run/applied.ts";
import { readMigrations } from "../../migrate/chain/files.ts";
import { ROLES } from "../../database/access/roles.ts";
import { withConnection } from "../../database/connection.ts";
import { engineClient } from "../../toolchain/engine/client.ts";
import { StateError } from "../../base/errors.ts";
import type { Toolchain } from "../../toolchain/set-up.ts";
import { PACKAGE_ROOT } from "../../base/versions.ts";
import { MIGRATIONS_FOLDER } from "../../stack/migrations-folder.ts";
import { openSession, readOutputs, type StackOutputs } from "../../stack/session.ts";
import { connectionFor } from "../../stack/connections.ts";
import { dumpSchema } from "./schema-dump.ts";
import { readSchema } from "./schema-model.ts";
import { renderSchemaFiles } from "./schema.ts";

/** The dump after all migrations, reviewed like code. */
export const DUMP_FILE = "test/schema.sql";

/**
 * Writes docs/schema.md and its diagrams from a stack's catalogue.
 *
 * @throws StateError if the stack is not up, or its migrations are not this checkout's
 */
export async function writeSchemaDocs(stack: string, toolchain: Toolchain): Promise<void> {
  const files = await withMigrated(stack, await readOutputs(openSession(stack, toolchain)), async (client) =>
    renderSchemaFiles(await readSchema(client)),
  );
  const diagrams = path.join(PACKAGE_ROOT, "docs/schema");
  rmSync(diagrams, { recursive: true, force: true }); // a group that is gone leaves no diagram
  mkdirSync(diagrams);
  for (const [file, content] of Object.entries(files)) writeFileSync(path.join(PACKAGE_ROOT, file), content);
}

/**
 * Writes test/schema.sql from a stack's database.
 *
 * @throws StateError if the stack is not up, or its migrations are not this checkout's
 */
export async function writeSchemaDump(stack: string, toolchain: Toolchain): Promise<void> {
  const outputs = await readOutputs(openSession(stack, toolchain));
  const dump = await withMigrated(stack, outputs, () =>
    dumpSchema(engineClient(toolchain.engine), stack, outputs.connections.database),
  );
  writeFileSync(path.join(PACKAGE_ROOT, DUMP_FILE), dump);
}

async function withMigrated<T>(stack: string, outputs: StackOutputs, work: (client: Client) => Promise<T>): Promise<T> {
  return withConnection(connectionFor(outputs, ROLES.owner, "direct"), async (client) => {
    const pending = pendingMigrations(readMigrations(MIGRATIONS_FOLDER), await readApplied(client));
    if (pending.length > 0) {
      throw new StateError(`Stack "${stack}" has not the schema of this checkout; nothing has been written.`, [
        {
          subject: `${pending.length} migrations`,
          problem: "are pending",
          remedy: `Run \`npm run up -- --stack ${stack}\`.`,
        },
      ]);
    }
    return work(client);
  });
}
