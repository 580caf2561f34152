import { execFile } from "node:child_process";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { messageOf, ToolError } from "../../base/errors.ts";
import { PACKAGE_ROOT } from "../../base/versions.ts";
import type { Finding } from "./hazards.ts";

const CONFIG = join(PACKAGE_ROOT, ".squawk.toml");
const MAX_FILES = 1000;

/** Taking back is what a down file is for; that data is lost must stand in its header (rule data-loss). */
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
export async function runSquawk(paths: readonly string[]): Promise<Finding[]> {
  const findings: Finding[] = [];
  // A command line has a limit.
  for (let first = 0; first < paths.length; first += MAX_FILES) {
    findings.push(...(await runOnce(paths.slice(first, first + MAX_FILES))));
  }
  // Sorted out here: --exclude on the command line would take the place of the rules that the configuration excludes.
  return findings.filter(({ file, rule }) => !(file.endsWith(".down.sql") && NOT_FOR_DOWNS.has(rule)));
}

function squawkProgram(): string {
  try {
    return join(dirname(fileURLToPath(import.meta.resolve("squawk-cli/package.json"))), "js", "bin", "squawk");
  } catch (cause) {
    throw notUsable(messageOf(cause), cause);
  }
}

function notUsable(problem: string, cause?: unknown): ToolError {
  return new ToolError(
    "squawk can't be run:",
    [{ subject: "squawk-cli", problem, remedy: "Run `npm ci` without `--omit=dev`." }],
    { cause },
  );
}

async function runOnce(files: readonly string[]): Promise<Finding[]> {
  const options = ["--config", CONFIG, "--reporter", "json"];
  const { stdout, stderr } = await new Promise<{ stdout: string; stderr: string }>((resolve, reject) => {
    execFile(
      process.execPath,
      [squawkProgram(), ...options, ...files],
      { maxBuffer: 64 * 2 ** 20 },
      // It exits with 1 for findings as for failures; the output tells them apart.
      (error, out, err) =>
        typeof error?.code === "string"
          ? reject(notUsable(error.message, error))
          : resolve({ stdout: out, stderr: err }),
    );
  });
  let violations: Violation[];
  try {
    violations = JSON.parse(stdout) as Violation[];
  } catch (cause) {
    throw notUsable(stderr.trim() || stdout.trim() || "it printed nothing.", cause);
  }
  return (
    violations
      // The parser of PostgreSQL itself says that better.
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
