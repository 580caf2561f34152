import { readFileSync } from "node:fs";

/** The application's schema as its models and the schema report describe it, reduced to what is compared. */
export interface Dictionary {
  /** Labels by the enum's name; all enums are in the schema public. */
  readonly enums: Readonly<Record<string, readonly string[]>>;
  /** By the report's name. */
  readonly tables: Readonly<Record<string, DictionaryTable>>;
  /** Constraints that the models do not have; by the report's table name. */
  readonly suggestedChecks: readonly { readonly table: string; readonly name: string; readonly expression: string }[];
}

export interface DictionaryTable {
  readonly group: string;
  readonly schema: string;
  /** The models' name, if it is another. */
  readonly modelName?: string;
  readonly columns: readonly DictionaryColumn[];
  readonly primaryKey: readonly string[];
  readonly foreignKeys: readonly {
    readonly columns: readonly string[];
    readonly table: string;
    readonly referenced: readonly string[];
    readonly onDelete: string;
  }[];
  readonly uniques: readonly { readonly name?: string; readonly columns: readonly string[] }[];
  readonly checks: readonly { readonly name: string; readonly expression: string }[];
  readonly indexes: readonly {
    readonly name: string;
    readonly columns: readonly string[];
    readonly unique?: boolean;
    readonly method?: string;
    readonly where?: string;
  }[];
}

export interface DictionaryColumn {
  readonly name: string;
  /** As format_type writes it. */
  readonly type: string;
  readonly nullable?: boolean;
  /** The server's default. */
  readonly default?: string;
  /** A default that the models set in Python only. */
  readonly clientDefault?: string;
  readonly autoIncrement?: boolean;
  readonly onUpdate?: string;
}

/** Reads contract/dictionary.json. */
export function readDictionary(): Dictionary {
  return JSON.parse(readFileSync(new URL("./dictionary.json", import.meta.url), "utf8")) as Dictionary;
}

/** Where a table of the dictionary is: `audit.enterprise_audit_events`. */
export function realName(dictionary: Dictionary, key: string): string {
  const table = dictionary.tables[key];
  if (!table) throw new Error(`The dictionary has no table ${key}`);
  return `${table.schema}.${table.modelName ?? key}`;
}
