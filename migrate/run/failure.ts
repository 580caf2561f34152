import type { Client, DatabaseError } from "pg";
import { messageOf, type Problem, StateError } from "../../base/errors.ts";
import { isSyntaxProblem, loadParser, textBetweenSemicolons } from "../chain/parse.ts";
import { lineAt, offsetOfPosition } from "../chain/places.ts";
import { FILE_PREFIX, LOCK_TIMEOUT_MS } from "./session.ts";
import type { SqlFile } from "./transactions.ts";

/** How far a run has come. */
export interface Progress {
  /** The file that runs; undefined before the first and after the last. */
  current: SqlFile | undefined;
  /** Number of its statements that are done. */
  completed: number;
}

/** Whether an error came from the server. */
export function isDatabaseError(error: unknown): error is DatabaseError {
  return error instanceof Error && "severity" in error && "code" in error;
}

/**
 * The error as the user needs it: what the server said, in which file and line, and that nothing has changed.
 *
 * @param lockTries how often the run was tried, if it failed for want of a lock; undefined if it failed otherwise.
 */
export async function describeFailure(
  client: Client,
  error: unknown,
  progress: Progress,
  lockTries: number | undefined,
): Promise<StateError> {
  const details: Problem[] = [];
  let place = "The migrations failed";
  if (progress.current) {
    const { file, sql } = progress.current;
    const statement = await failedStatement(sql, progress.completed, error);
    place = statement ? `${file}:${lineAt(sql, statement.offset)}` : file;
    if (statement) details.push({ subject: "statement", problem: excerpt(statement.text) });
  }
  if (isDatabaseError(error)) {
    for (const key of ["detail", "hint", "where"] as const) {
      const text = key === "detail" ? withoutRow(error) : error[key];
      if (text) details.push({ subject: key, problem: text });
    }
  }
  if (lockTries !== undefined) details.push(...(await lockHolders(client)));
  const code = isDatabaseError(error) && error.code ? ` [SQLSTATE ${error.code}]` : "";
  details.push({
    subject: "database",
    problem: "nothing was changed, as all migrations of a run are one transaction.",
    remedy:
      lockTries === undefined
        ? "Correct the cause and run the command again."
        : `A lock was not granted within ${LOCK_TIMEOUT_MS} ms, ${lockTries} times. End the sessions named, or run the command again when they are done.`,
  });
  return new StateError(`${place}: ${messageOf(error)}${code}`, details, { cause: error });
}

/**
 * The statement that failed, and the offset in the file where.
 *
 * The server gives a position only for some errors; for the others it is the statement after the last one that it
 * confirmed.
 */
async function failedStatement(
  sql: string,
  completed: number,
  error: unknown,
): Promise<{ text: string; offset: number } | undefined> {
  const position = isDatabaseError(error) ? Number(error.position ?? 0) - FILE_PREFIX.length : 0;
  const offset = position > 0 ? offsetOfPosition(sql, position) : undefined;
  const statements = (await loadParser())(sql);
  if (isSyntaxProblem(statements)) {
    return offset === undefined ? undefined : { text: textBetweenSemicolons(sql, offset), offset };
  }
  const statement =
    offset === undefined
      ? statements[completed]
      : statements.find(({ start, end }) => start <= offset && offset <= end);
  return statement && { text: statement.text, offset: offset ?? statement.start };
}

/**
 * not_null_violation, check_violation, with_check_option_violation: their detail is the whole row, password hashes
 * included.
 */
const TELL_THE_ROW = new Set(["23502", "23514", "44000"]);

/** The server's detail, unless it shows a row: a CI job, or the stack's history, may keep what is printed. */
function withoutRow({ code, detail }: DatabaseError): string | undefined {
  return TELL_THE_ROW.has(code ?? "") ? undefined : detail;
}

function excerpt(statement: string): string {
  const LIMIT = 600;
  return statement.length > LIMIT ? `${statement.slice(0, LIMIT)} …` : statement;
}

/** Who holds locks on tables; if that can't be read, a line that says why. */
async function lockHolders(client: Client): Promise<Problem[]> {
  try {
    const { rows } = await client.query<{ pid: number; application: string; role: string; relations: string }>(
      `select pid, application_name as application, usename as role,
        string_agg(distinct relation::regclass::text, ', ') as relations
      from pg_catalog.pg_locks join pg_catalog.pg_stat_activity using (pid)
        join pg_catalog.pg_class on pg_class.oid = relation
      where locktype = 'relation' and granted and pid <> pg_backend_pid() and relation >= 16384 and relkind in ('r', 'p', 'm')
        and database = (select oid from pg_catalog.pg_database where datname = current_database())
      group by pid, application_name, usename order by pid limit 5`,
    );
    return rows.map(({ pid, application, role, relations }) => ({
      subject: `process ${pid}`,
      problem: `holds locks on ${relations} (application ${JSON.stringify(application)}, role ${role}).`,
    }));
  } catch (error) {
    return [{ subject: "sessions", problem: `who holds locks could not be read: ${messageOf(error)}.` }];
  }
}
