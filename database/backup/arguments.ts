import { parseArgs, type ParseArgsOptionsConfig } from "node:util";
import { messageOf, UsageError } from "../../base/errors.ts";
import { words } from "../../base/words.ts";

/**
 * Options of pg_dump that say what of the database is dumped and how it is written. The others would take it to another
 * server, role or file, of the container's.
 *
 * @see https://www.postgresql.org/docs/16/app-pgdump.html
 */
const WITHOUT_VALUE = words(`
  clean create if-exists no-owner no-privileges no-comments no-publications no-security-labels no-subscriptions
  no-table-access-method no-tablespaces no-toast-compression no-unlogged-table-data large-objects no-large-objects
  inserts column-inserts on-conflict-do-nothing quote-all-identifiers serializable-deferrable strict-names verbose
  disable-triggers enable-row-security schema-only data-only
`);
const WITH_VALUE = words(`
  schema exclude-schema table exclude-table table-and-children exclude-table-and-children exclude-table-data
  exclude-table-data-and-children extension section encoding compress rows-per-insert extra-float-digits
  lock-wait-timeout
`);
const SHORT: Readonly<Record<string, string>> = {
  clean: "c",
  create: "C",
  "no-owner": "O",
  "no-privileges": "x",
  schema: "n",
  "exclude-schema": "N",
  table: "t",
  "exclude-table": "T",
  extension: "e",
  encoding: "E",
  compress: "Z",
  "large-objects": "b",
  verbose: "v",
  "schema-only": "s",
  "data-only": "a",
};

const OPTIONS: ParseArgsOptionsConfig = Object.fromEntries(
  [...WITHOUT_VALUE, ...WITH_VALUE].map((name) => [
    name,
    {
      type: WITH_VALUE.includes(name) ? "string" : "boolean",
      multiple: true,
      ...(SHORT[name] === undefined ? {} : { short: SHORT[name] }),
    },
  ]),
);

/**
 * Reads arguments that a user gives pg_dump.
 *
 * @returns the same, each as one word that pg_dump cannot take for anything else
 * @throws UsageError naming the first one that is not among those that are passed on
 */
export function pgDumpArguments(args: readonly string[]): string[] {
  try {
    const { tokens } = parseArgs({ args: [...args], options: OPTIONS, strict: true, tokens: true });
    return tokens.flatMap((token) =>
      token.kind === "option" ? `--${token.name}${token.value === undefined ? "" : `=${token.value}`}` : [],
    );
  } catch (cause) {
    const remedy = `These are passed on: ${[...WITHOUT_VALUE, ...WITH_VALUE].map((name) => `--${name}`).join(", ")}.`;
    const problem = { subject: "--", problem: messageOf(cause).split("\n")[0] ?? "", remedy };
    throw new UsageError("pg_dump does not get these arguments; nothing has been dumped:", [problem], { cause });
  }
}
