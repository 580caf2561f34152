import { readFileSync } from "node:fs";

/** One kind of difference between the live schema and the dictionary that is meant. */
export interface Decision {
  readonly kind: string;
  /** `table.column`, an index, a constraint; the real name, with schema where it is not public. `*` stands for all. */
  readonly objects: readonly string[];
  readonly reason: string;
}

/** Reads contract/decisions.json. */
export function readDecisions(): Decision[] {
  return JSON.parse(readFileSync(new URL("./decisions.json", import.meta.url), "utf8")) as Decision[];
}

/** What becomes of a row when the row that its foreign key refers to is deleted, and why. */
export interface ForeignKeyDecision {
  /** With its schema unless that is public. */
  readonly table: string;
  readonly column: string;
  readonly refersTo: string;
  readonly onDelete: "cascade" | "set null" | "no action";
  readonly because: string;
}

/** Reads contract/foreign-keys.json. */
export function readForeignKeyDecisions(): ForeignKeyDecision[] {
  return JSON.parse(readFileSync(new URL("./foreign-keys.json", import.meta.url), "utf8")) as ForeignKeyDecision[];
}
