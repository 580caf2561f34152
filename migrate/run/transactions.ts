import { type Problem, StateError } from "../../base/errors.ts";
import { controlsTransaction, isSyntaxProblem, loadParser } from "../chain/parse.ts";

/** A file's name and its SQL. */
export interface SqlFile {
  readonly file: string;
  readonly sql: string;
}

/**
 * Refuses files that begin or end a transaction.
 *
 * A `commit` in a file would end the transaction of the whole run and release the lock of migrations. If the run failed
 * later, a part of the chain would stay. A file that is no SQL passes, because the server refuses the whole file.
 *
 * @throws {StateError} naming each such statement with its file and line.
 * @throws {ToolError} if PostgreSQL's grammar can't be loaded.
 */
export async function refuseTransactionControl(files: readonly SqlFile[]): Promise<void> {
  const parse = await loadParser();
  const problems = files.flatMap(({ file, sql }): Problem[] => {
    const statements = parse(sql);
    if (isSyntaxProblem(statements)) return [];
    return statements
      .filter(({ node }) => controlsTransaction(node))
      .map(({ text, line }) => ({
        subject: `${file}:${line}`,
        problem: `\`${text}\` would end the transaction in which all migrations run.`,
        remedy: "Delete it.",
      }));
  });
  if (problems.length > 0)
    throw new StateError("Migration files control the transaction; nothing was changed:", problems);
}
