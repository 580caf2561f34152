import type { Node, ParseResult } from "libpg-query";
import { messageOf, ToolError } from "../../base/errors.ts";
import { columnAt, lineAt, offsetOfPosition, splitStatements } from "./statements.ts";

// Never import this module where previews go: the grammar is megabytes of WebAssembly.

/** A place in a file, from 1. */
interface Place {
  readonly line: number;
  readonly column: number;
}

/** A statement with PostgreSQL's own view of it. */
export interface ParsedStatement extends Place {
  readonly node: Node;
  readonly text: string;
}

/** Why a file is no SQL, as PostgreSQL 16 says it. */
export interface SyntaxProblem extends Place {
  readonly message: string;
}

/** Reads SQL text by PostgreSQL 16's own grammar. */
export type SqlParser = (sql: string) => ParsedStatement[] | SyntaxProblem;

/** Whether a parser's answer is a syntax error. */
export function isSyntaxProblem(result: ParsedStatement[] | SyntaxProblem): result is SyntaxProblem {
  return !Array.isArray(result);
}

/**
 * Loads PostgreSQL 16's grammar.
 *
 * @throws {ToolError} if libpg-query is not installed: it is a development dependency.
 */
export async function loadParser(): Promise<SqlParser> {
  const library = await import("libpg-query").catch((cause: unknown) => {
    throw new ToolError(
      "PostgreSQL's grammar can't be loaded:",
      [{ subject: "libpg-query", problem: messageOf(cause), remedy: "Run `npm ci` without `--omit=dev`." }],
      { cause },
    );
  });
  await library.loadModule();
  return (sql) => {
    const statements = splitStatements(sql);
    // The library refuses a text without any statement.
    if (statements.length === 0) return [];
    try {
      const { stmts = [] } = library.parseSync(sql) as ParseResult;
      // Its places count bytes and begin behind the last semicolon, comments included; ours are exact. Both split alike.
      return stmts.flatMap(({ stmt }, index) => {
        const { text, start } = statements[index] ?? { text: "", start: 0 };
        return stmt ? [{ node: stmt, text, line: lineAt(sql, start), column: columnAt(sql, start) }] : [];
      });
    } catch (error) {
      if (!library.hasSqlDetails(error)) throw error;
      const offset = offsetOfPosition(sql, error.sqlDetails.cursorPosition + 1);
      return { message: error.message, line: lineAt(sql, offset), column: columnAt(sql, offset) };
    }
  };
}

/** Calls `visit` for every node of a kind, at any depth. */
export function visitNodes(tree: unknown, kind: string, visit: (node: Record<string, unknown>) => void): void {
  if (Array.isArray(tree)) {
    for (const item of tree) visitNodes(item, kind, visit);
  } else if (typeof tree === "object" && tree !== null) {
    for (const [key, value] of Object.entries(tree)) {
      if (key === kind) visit(value as Record<string, unknown>);
      visitNodes(value, kind, visit);
    }
  }
}

/** A qualified name as it is in the tree, `["public", "users"]`, joined; without `public`, which is what no schema means here. */
export function joinName(parts: readonly Node[] | undefined): string {
  const names = (parts ?? []).flatMap((part) => ("String" in part ? [part.String.sval ?? ""] : []));
  return qualify(names.length > 1 ? names.at(-2) : undefined, names.at(-1) ?? "");
}

/** A relation's name, without the schema `public`. */
export function qualify(schema: string | undefined, name: string): string {
  return schema === undefined || schema === "public" ? name : `${schema}.${name}`;
}
