import type { AlterTableCmd, Node, ParseResult, RangeVar, RawStmt, TypeName } from "libpg-query";
import { messageOf, ToolError } from "../../base/errors.ts";
import { tokenBounds } from "./lexer.ts";
import { columnAt, lineAt, offsetOfPosition } from "./places.ts";

/** A place in a file, from 1. */
interface Place {
  readonly line: number;
  readonly column: number;
}

/** A statement with PostgreSQL's own view of it. */
export interface ParsedStatement extends Place {
  readonly node: Node;
  /** Its text, without the comments before and after it and without its semicolon. */
  readonly text: string;
  /** Where the text begins and ends in the file, in UTF-16 units as JavaScript counts. */
  readonly start: number;
  readonly end: number;
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
 * Loads PostgreSQL 16's grammar, a megabyte of WebAssembly. A preview has no use for it and must not call this.
 *
 * @throws {ToolError} if libpg-query can't be loaded.
 */
export async function loadParser(): Promise<SqlParser> {
  const library = await import("libpg-query").catch((cause: unknown) => {
    throw new ToolError(
      "PostgreSQL's grammar can't be loaded:",
      [{ subject: "libpg-query", problem: messageOf(cause), remedy: "Run `npm ci` or `npm install` again." }],
      { cause },
    );
  });
  await library.loadModule();
  return (sql) => {
    // The library refuses a blank text, which has no statements.
    if (sql.trim() === "") return [];
    try {
      return placeStatements(sql, (library.parseSync(sql) as ParseResult).stmts ?? []);
    } catch (error) {
      if (!library.hasSqlDetails(error)) throw error;
      const offset = offsetOfPosition(sql, error.sqlDetails.cursorPosition + 1);
      return { message: error.message, line: lineAt(sql, offset), column: columnAt(sql, offset) };
    }
  };
}

/** Corrects the library's places: they count bytes of UTF-8, and include blanks and comments around a statement. */
function placeStatements(sql: string, statements: readonly RawStmt[]): ParsedStatement[] {
  const bytes = Buffer.from(sql);
  let behind = 0; // the last statement read, in bytes
  let offset = 0; // the same in UTF-16 units
  return statements.flatMap(({ stmt, stmt_location: location = 0, stmt_len: length }) => {
    offset += bytes.toString("utf8", behind, location).length;
    behind = length ? location + length : bytes.length;
    const whole = bytes.toString("utf8", location, behind);
    const bounds = tokenBounds(whole);
    const start = offset + (bounds[0] ?? 0);
    const end = offset + (bounds.at(-1) ?? 0);
    offset += whole.length;
    if (!stmt) return [];
    return [
      { node: stmt, text: sql.slice(start, end), start, end, line: lineAt(sql, start), column: columnAt(sql, start) },
    ];
  });
}

/** The text between the semicolons around a place. For a text that is no SQL, no better excerpt can be made. */
export function textBetweenSemicolons(sql: string, offset: number): string {
  const bounds = tokenBounds(sql);
  let start: number | undefined;
  let end = 0;
  for (let index = 0; index < bounds.length; index += 2) {
    const [from = 0, to = 0] = bounds.slice(index, index + 2);
    if (sql.slice(from, to) !== ";") {
      start ??= from;
      end = to;
    } else if (from >= offset) break;
    else start = undefined;
  }
  return start === undefined ? "" : sql.slice(start, end);
}

const SAVEPOINTS = new Set(["TRANS_STMT_SAVEPOINT", "TRANS_STMT_RELEASE", "TRANS_STMT_ROLLBACK_TO"]);

/** Whether a statement begins or ends a transaction. Savepoints stay inside one. */
export function controlsTransaction(node: Node): boolean {
  return "TransactionStmt" in node && !SAVEPOINTS.has(node.TransactionStmt.kind ?? "");
}

/** Fields of a tree whose values are nodes without their type's name around them. */
interface Fields {
  readonly relation: RangeVar;
  readonly typeName: TypeName;
}
type KeysOf<Each> = Each extends unknown ? keyof Each : never;
type Kind = KeysOf<Node>;
type NodeOf<K> = K extends keyof Fields ? Fields[K] : Extract<Node, Record<K & Kind, unknown>>[K & Kind];

/** A function for each kind of node that matters. */
export type ByKind<Result> = { readonly [K in Kind]?: (node: NodeOf<K>) => Result };

/** Calls the function for a node's kind; undefined if there is none. */
export function callByKind<Result>(functions: ByKind<Result>, node: Node): Result | undefined {
  const [kind, content] = Object.entries(node)[0] ?? [];
  return (functions as Readonly<Record<string, (node: unknown) => Result>>)[kind ?? ""]?.(content);
}

/** Every node of a kind in a tree, at any depth. */
export function findNodes<K extends Kind | keyof Fields>(tree: unknown, kind: K): NodeOf<K>[] {
  if (typeof tree !== "object" || tree === null) return [];
  return Object.entries(tree).flatMap(([key, value]) => [
    ...(key === kind ? [value as NodeOf<K>] : []),
    ...findNodes(value, kind),
  ]);
}

/** The commands of an ALTER TABLE. */
export function commandsOf({ cmds = [] }: { readonly cmds?: readonly Node[] }): AlterTableCmd[] {
  return cmds.flatMap((command) => ("AlterTableCmd" in command ? [command.AlterTableCmd] : []));
}

/** Names in a list of objects, each in its parts; {@link joinName} makes one name of them. */
export function namesIn(objects: readonly Node[] | undefined): Node[][] {
  return (objects ?? []).flatMap((object) => ("List" in object ? [object.List.items ?? []] : []));
}

/** Joins a qualified name of the tree, such as `["audit", "users"]`. The schema `public` is left out. */
export function joinName(parts: readonly Node[] | undefined): string {
  const names = (parts ?? []).flatMap((part) => ("String" in part ? [part.String.sval ?? ""] : []));
  return qualify(names.length > 1 ? names.at(-2) : undefined, names.at(-1) ?? "");
}

/** A relation's name, without the schema `public`; empty if there is no relation. */
export function relationName(relation: RangeVar | undefined): string {
  return qualify(relation?.schemaname, relation?.relname ?? "");
}

function qualify(schema: string | undefined, name: string): string {
  return schema === undefined || schema === "public" ? name : `${schema}.${name}`;
}
