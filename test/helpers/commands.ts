import { type ArgsDef, type CommandDef, runCommand } from "citty";
import type { Client } from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, expect, vi } from "vitest";
import { StateError } from "../../base/errors.ts";
import { fillTables } from "./fill-tables.ts";
import { createSchemaDatabase, type SchemaDatabase } from "./schema-database.ts";

/** What the test wrote to standard output so far. */
export let printed = "";

export function forgetPrinted(): void {
  printed = "";
}

/** Keeps what each test of a file prints; what goes to standard error is thrown away. */
export function takeOutput(): void {
  beforeEach(() => {
    printed = "";
    vi.spyOn(process.stdout, "write").mockImplementation((text) => {
      printed += String(text);
      return true;
    });
    vi.spyOn(process.stderr, "write").mockReturnValue(true);
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });
}

/** A database with two rows in every table, and the owner's connection to it, from `commandsDatabase()` on. */
export let database: SchemaDatabase;
export let owner: Client;

/** A database for the file, for commands that get their connection from stack/connect.ts, which the file replaces. */
export function commandsDatabase(): void {
  beforeAll(async () => {
    database = await createSchemaDatabase("commands");
    owner = await database.connect("ai_workflow_owner");
    await fillTables(owner, 2);
  });
  afterAll(() => database?.close());
}

export function run<T extends ArgsDef>(command: CommandDef<T>, ...rawArgs: string[]): Promise<unknown> {
  return runCommand(command, { rawArgs });
}

export async function failureOf(work: Promise<unknown>): Promise<StateError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(StateError);
  return error as StateError;
}
