import { spawnSync } from "node:child_process";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { messageOf, ToolError } from "../../base/errors.ts";
import { PACKAGE_ROOT } from "../../base/versions.ts";
import type { Finding } from "./hazards.ts";

const CONFIG = join(PACKAGE_ROOT, ".squawk.toml");
/** Files of one run: the system limits the length of a command line. */
const MAX_FILES = 1000;
// squawk has 25 MB of programs. It is a development dependency, so an installed package does not bring it along.
const REMEDY = "Run `npm ci` without `--omit=dev`; for an installed package `npm install --save-dev squawk-cli`.";

/** Rules against what every down file does. The rule data-loss wants its header to say which data it loses. */
const NOT_FOR_DOWNS = new Set([
  "ban-drop-table",
  "ban-drop-column",
  "ban-drop-not-null",
  "renaming-table",
  "renaming-column",
  "require-concurrent-index-deletion",
]);

interface Violation {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly message: string;
  readonly help: string | null;
  readonly rule_name: string;
}

/**
 * Runs squawk over migration files with the package's rules.
 *
 * @throws {ToolError} if squawk can't be run.
 */
export function runSquawk(paths: readonly string[]): Finding[] {
  const findings: Finding[] = [];
  for (let first = 0; first < paths.length; first += MAX_FILES) {
    findings.push(...runOnce(paths.slice(first, first + MAX_FILES)));
  }
  // --exclude on the command line would replace the configuration's list of excluded rules.
  return findings.filter(({ file, rule }) => !(file.endsWith(".down.sql") && NOT_FOR_DOWNS.has(rule)));
}

function squawkProgram(): string {
  try {
    return join(dirname(fileURLToPath(import.meta.resolve("squawk-cli/package.json"))), "js", "bin", "squawk");
  } catch (cause) {
    throw notUsable(messageOf(cause), cause);
  }
}

function notUsable(problem: string, cause: unknown): ToolError {
  return new ToolError("squawk can't be run:", [{ subject: "squawk-cli", problem, remedy: REMEDY }], { cause });
}

function runOnce(files: readonly string[]): Finding[] {
  const options = ["--config", CONFIG, "--reporter", "json"];
  // It exits with 1 for findings and for failures alike, so that its output has to tell them apart.
  const { error, stdout, stderr } = spawnSync(process.execPath, [squawkProgram(), ...options, ...files], {
    encoding: "utf8",
    maxBuffer: 64 * 2 ** 20,
  });
  if (error) throw notUsable(error.message, error);
  let violations: Violation[];
  try {
    violations = JSON.parse(stdout) as Violation[];
  } catch (cause) {
    throw notUsable(stderr.trim() || stdout.trim() || "it printed nothing.", cause);
  }
  return (
    violations
      // PostgreSQL's own grammar has reported them already.
      .filter(({ rule_name }) => rule_name !== "syntax-error")
      .map(({ file, line, column, message, help, rule_name }) => ({
        file: basename(file),
        line: line + 1,
        column: column + 1,
        rule: rule_name,
        message,
        remedy: `${help ? `${help.replace(/\.?$/, ".")} ` : ""}See https://squawkhq.com/docs/${rule_name}.`,
      }))
  );
}
