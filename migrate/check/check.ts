import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { StateError } from "../../base/errors.ts";
import { compareWithBase } from "./base.ts";
import { countOf, readMigrations } from "../chain/files.ts";
import { findEnumHazards, findHazards, type Finding, type ParsedMigrationFile } from "./hazards.ts";
import { parseHeader } from "../chain/header.ts";
import { isSyntaxProblem, loadParser } from "../chain/parse.ts";
import { runSquawk } from "./squawk.ts";

/** What a check of migration files found. */
export interface CheckResult {
  readonly files: number;
  readonly findings: readonly Finding[];
  /** What could not be checked, and why. */
  readonly notes: readonly string[];
}

/**
 * Checks a folder of migrations without a database: the chain, the base branch, PostgreSQL's grammar, locks and losses.
 *
 * @param options.base git revision to compare with; its default is {@link compareWithBase}'s.
 * @throws {StateError} if the folder can't be read. What is wrong with the files is a finding, not an error.
 * @throws {UsageError} if `base` does not exist.
 * @throws {ToolError} if git, PostgreSQL's grammar or squawk can't be run.
 */
export async function checkMigrations(options: { folder: string; base?: string | undefined }): Promise<CheckResult> {
  const { folder, base } = options;
  const chain = chainFindings(folder);
  const comparison = compareWithBase(folder, base);
  const files = readdirSync(folder)
    .filter((file) => file.endsWith(".sql") && !file.startsWith("."))
    .sort();
  const parser = await loadParser();
  const syntax: Finding[] = [];
  const parsed = files.flatMap((file): ParsedMigrationFile[] => {
    const sql = readFileSync(join(folder, file), "utf8");
    const statements = parser(sql);
    if (isSyntaxProblem(statements)) {
      syntax.push({ file, rule: "syntax", ...statements });
      return [];
    }
    return [{ file, direction: file.endsWith(".down.sql") ? "down" : "up", header: parseHeader(sql), statements }];
  });
  const ups = parsed.filter(({ direction }) => direction === "up");
  const squawk = runSquawk(files.map((file) => join(folder, file)));
  const findings = [
    ...chain,
    ...comparison.findings,
    ...syntax,
    ...parsed.flatMap(findHazards),
    ...findEnumHazards(ups, comparison.released),
    ...squawk,
  ];
  const note =
    "not compared with a base branch: there is no origin/main here, nor a main besides the branch checked out (name one with --base).";
  const notes = comparison.base === undefined ? [note] : [];
  return { files: files.length, findings: findings.sort(byPlace), notes };
}

function byPlace(a: Finding, b: Finding): number {
  return a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line || a.column - b.column;
}

function chainFindings(folder: string): Finding[] {
  try {
    readMigrations(folder);
    return [];
  } catch (error) {
    if (!(error instanceof StateError) || error.cause !== undefined) throw error;
    return error.problems.map(({ subject, problem, remedy }) => ({
      file: subject,
      line: 1,
      column: 1,
      rule: "chain",
      message: problem,
      ...(remedy === undefined ? {} : { remedy }),
    }));
  }
}

/** The findings as one error; nothing if there are none. */
export function checkError(folder: string, findings: readonly Finding[]): StateError | undefined {
  if (findings.length === 0) return undefined;
  return new StateError(
    `The migrations in ${folder} have ${countOf(findings.length, "problem")}:`,
    findings.map(({ file, line, column, rule, message, remedy }) => ({
      subject: `${file}:${line}:${column}`,
      problem: `${message} (${rule})`,
      ...(remedy === undefined ? {} : { remedy }),
    })),
  );
}
