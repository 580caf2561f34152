import type { AlterTableStmt, Node } from "libpg-query";
import { HEADER_KEYS } from "../chain/header.ts";
import { controlsTransaction, joinName, qualify, visitNodes, type ParsedStatement } from "../chain/parse.ts";

/** Something in a file that is refused. */
export interface Finding {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** Name of the rule, for people to look up and for tests. */
  readonly rule: string;
  readonly message: string;
  readonly remedy?: string;
}

/** A migration file, parsed. */
export interface ParsedMigrationFile {
  readonly file: string;
  readonly direction: "up" | "down";
  readonly header: Readonly<Record<string, string>>;
  readonly statements: readonly ParsedStatement[];
}

type Hazard = Pick<Finding, "rule" | "message" | "remedy">;

/** The hazards of one file that squawk does not know. */
export function findHazards(parsed: ParsedMigrationFile): Finding[] {
  const { file, direction, header } = parsed;
  const created = new Set<string>();
  const findings: Finding[] = [];
  if (direction === "up") findings.push(...headerProblems(parsed));
  for (const statement of parsed.statements) {
    const { node, line, column } = statement;
    if ("CreateStmt" in node) created.add(relationName(node.CreateStmt.relation));
    if ("AlterTableStmt" in node) for (const column of addedColumns(node.AlterTableStmt)) created.add(column);
    const losses = header[HEADER_KEYS.dataLoss] === undefined ? lostData(node, created) : [];
    const hazards = [
      ...transactionHazards(node),
      ...sessionHazards(node),
      ...losses.map((what) => ({
        rule: "data-loss",
        message: `${what} loses data, and no header says so.`,
        remedy: `Add "-- Data loss: what is lost" at the top${direction === "up" ? ", or keep the data" : ", so that a rollback asks first"}.`,
      })),
    ];
    findings.push(...hazards.map((hazard) => ({ file, line, column, ...hazard })));
  }
  return findings;
}

function headerProblems({ file, header }: ParsedMigrationFile): Finding[] {
  return [HEADER_KEYS.why, HEADER_KEYS.lock]
    .filter((key) => !header[key])
    .map((key) => ({
      file,
      line: 1,
      column: 1,
      rule: "header",
      message: `no header line "-- ${key}: …".`,
      remedy: `Say ${key === HEADER_KEYS.why ? "why the change is made" : "which locks it takes and who waits for them"}.`,
    }));
}

const OWN_PROGRAM = "It needs a connection outside any transaction; run it by hand or by a maintenance command.";

/**
 * The command, if PostgreSQL refuses it inside a transaction block:
 * https://www.postgresql.org/docs/16/sql-commands.html, each command's notes.
 */
function outsideTransaction(node: Node): string | undefined {
  if ("IndexStmt" in node) return node.IndexStmt.concurrent ? "CREATE INDEX CONCURRENTLY" : undefined;
  if ("DropStmt" in node) return node.DropStmt.concurrent ? "DROP INDEX CONCURRENTLY" : undefined;
  if ("ReindexStmt" in node) {
    const { kind, params = [] } = node.ReindexStmt;
    if (params.some((param) => "DefElem" in param && param.DefElem.defname === "concurrently"))
      return "REINDEX CONCURRENTLY";
    return kind === "REINDEX_OBJECT_INDEX" || kind === "REINDEX_OBJECT_TABLE"
      ? undefined
      : "REINDEX of more than one table";
  }
  if ("AlterTableStmt" in node) {
    const concurrent = commandsOf(node.AlterTableStmt).some(
      ({ def }) => def && "PartitionCmd" in def && def.PartitionCmd.concurrent,
    );
    return concurrent ? "DETACH PARTITION CONCURRENTLY" : undefined;
  }
  if ("VacuumStmt" in node) return node.VacuumStmt.is_vacuumcmd ? "VACUUM" : undefined;
  if ("ClusterStmt" in node) return node.ClusterStmt.relation ? undefined : "CLUSTER of all tables";
  if ("DiscardStmt" in node) return node.DiscardStmt.target === "DISCARD_ALL" ? "DISCARD ALL" : undefined;
  if ("AlterSystemStmt" in node) return "ALTER SYSTEM";
  if ("CreatedbStmt" in node) return "CREATE DATABASE";
  if ("DropdbStmt" in node) return "DROP DATABASE";
  if ("CreateTableSpaceStmt" in node) return "CREATE TABLESPACE";
  if ("DropTableSpaceStmt" in node) return "DROP TABLESPACE";
  if ("CreateSubscriptionStmt" in node) return "CREATE SUBSCRIPTION";
  if ("DropSubscriptionStmt" in node) return "DROP SUBSCRIPTION";
  return undefined;
}

function transactionHazards(node: Node): Hazard[] {
  const command = outsideTransaction(node);
  if (command !== undefined) {
    return [
      {
        rule: "outside-transaction",
        message: `${command} can't run in a transaction, and migrations do.`,
        remedy: OWN_PROGRAM,
      },
    ];
  }
  if (controlsTransaction(node)) {
    return [
      {
        rule: "transaction-control",
        message: "controls the transaction in which all migrations of a run are.",
        remedy: "Delete it.",
      },
    ];
  }
  if ("CopyStmt" in node && node.CopyStmt.is_from && !node.CopyStmt.filename && !node.CopyStmt.is_program) {
    return [{ rule: "copy-from-stdin", message: "nobody sends the rows.", remedy: "Use INSERT." }];
  }
  return [];
}

function sessionHazards(node: Node): Hazard[] {
  if ("VariableSetStmt" in node && !node.VariableSetStmt.is_local) {
    return [sessionSetting(node.VariableSetStmt.name ?? "it")];
  }
  if ("SelectStmt" in node) {
    const hazards: Hazard[] = [];
    visitNodes(node, "FuncCall", (call) => {
      const [name, , isLocal] = (call["args"] ?? []) as Node[];
      if (joinName(call["funcname"] as Node[]).replace("pg_catalog.", "") !== "set_config") return;
      // In the tree a false constant has no value.
      if (isLocal && "A_Const" in isLocal && isLocal.A_Const.boolval?.boolval !== true) {
        hazards.push(sessionSetting(name && "A_Const" in name ? (name.A_Const.sval?.sval ?? "it") : "it"));
      }
    });
    return hazards;
  }
  if ("CreateRoleStmt" in node || "AlterRoleStmt" in node || "DropRoleStmt" in node) {
    return [
      {
        rule: "cluster-object",
        message: "roles belong to the whole cluster, not to this database.",
        remedy: "Create it where the stack's roles are.",
      },
    ];
  }
  return [];
}

function sessionSetting(name: string): Hazard {
  return {
    rule: "session-setting",
    message: `sets ${name} for the session, beyond the migration.`,
    remedy: "Use SET LOCAL, which ends with the file, or qualify the names.",
  };
}

/** The data that a statement throws away, unless the same file has made it. */
function lostData(node: Node, created: ReadonlySet<string>): string[] {
  if ("DropStmt" in node && node.DropStmt.removeType === "OBJECT_TABLE") {
    return namesOf(node.DropStmt.objects)
      .filter((name) => !created.has(name))
      .map((name) => `dropping table ${name}`);
  }
  if ("DropStmt" in node && node.DropStmt.behavior === "DROP_CASCADE") {
    const what = { OBJECT_SCHEMA: "schema", OBJECT_TYPE: "type", OBJECT_DOMAIN: "domain" }[
      node.DropStmt.removeType as string
    ];
    return what ? [`dropping a ${what} with cascade`] : [];
  }
  if ("AlterTableStmt" in node) {
    const table = relationName(node.AlterTableStmt.relation);
    return commandsOf(node.AlterTableStmt)
      .filter(({ subtype }) => subtype === "AT_DropColumn" && !created.has(table))
      .map(({ name }) => `dropping column ${table}.${name}`);
  }
  return lostRows(node, created);
}

/**
 * Rows that a statement, or a part of it, removes, or overwrites without a condition. Bodies of functions and rules are
 * left out, as they don't run with the migration.
 */
function lostRows(node: Node, created: ReadonlySet<string>): string[] {
  if ("CreateFunctionStmt" in node || "RuleStmt" in node) return [];
  const losses: string[] = [];
  visitNodes(node, "TruncateStmt", ({ relations }) => {
    for (const relation of (relations ?? []) as Node[]) {
      const table = "RangeVar" in relation ? relationName(relation.RangeVar) : "";
      if (!created.has(table)) losses.push(`truncating ${table}`);
    }
  });
  visitNodes(node, "DeleteStmt", ({ relation, whereClause }) => {
    const table = relationName(relation as RelationName);
    if (!created.has(table)) losses.push(`deleting ${whereClause ? "" : "all "}rows of ${table}`);
  });
  visitNodes(node, "UpdateStmt", ({ relation, whereClause, targetList }) => {
    const table = relationName(relation as RelationName);
    if (whereClause || created.has(table)) return;
    // A column that the same file adds holds nothing yet.
    const columns = ((targetList ?? []) as Node[]).flatMap((each) =>
      "ResTarget" in each ? [each.ResTarget.name] : [],
    );
    const lost = columns.filter((column) => !created.has(`${table}.${column}`));
    if (lost.length > 0) losses.push(`overwriting ${lost.join(", ")} in every row of ${table}`);
  });
  return losses;
}

/** Names with their table of the columns that a statement adds. */
function addedColumns(statement: AlterTableStmt): string[] {
  const table = relationName(statement.relation);
  return commandsOf(statement).flatMap(({ def }) =>
    def && "ColumnDef" in def ? [`${table}.${def.ColumnDef.colname}`] : [],
  );
}

function commandsOf(statement: AlterTableStmt) {
  return (statement.cmds ?? []).flatMap((command) => ("AlterTableCmd" in command ? [command.AlterTableCmd] : []));
}

function namesOf(objects: readonly Node[] | undefined): string[] {
  return (objects ?? []).map((object) => ("List" in object ? joinName(object.List.items) : ""));
}

interface RelationName {
  readonly schemaname?: string;
  readonly relname?: string;
}

function relationName(relation: RelationName | undefined): string {
  return qualify(relation?.schemaname, relation?.relname ?? "");
}

/**
 * Labels that are added to an enum type and used before the transaction that adds them has ended.
 *
 * PostgreSQL refuses that ("unsafe use of new value") unless the type is as new as the label. All pending migrations
 * run in one transaction, so a later file counts too, unless the label is already in the base branch and so applied
 * before.
 */
export function findEnumHazards(files: readonly ParsedMigrationFile[], released: ReadonlySet<string>): Finding[] {
  const enums = new EnumUse();
  const findings: Finding[] = [];
  for (const parsed of files) {
    enums.beginFile();
    for (const { node, line, column } of parsed.statements) {
      for (const { type, label, addedIn } of enums.read(node, parsed.file)) {
        if (addedIn !== parsed.file && released.has(addedIn)) continue;
        findings.push({
          file: parsed.file,
          line,
          column,
          rule: "new-enum-label",
          message: `uses label '${label}' of ${type}, which ${addedIn === parsed.file ? "this file" : addedIn} adds in the same transaction.`,
          remedy:
            "Use it in a migration that is released later, or make a new type with the label and change the columns to it.",
        });
      }
    }
  }
  return findings;
}

interface NewLabel {
  readonly type: string;
  readonly label: string;
  readonly addedIn: string;
}

/** Follows enum types, the tables that have columns of them, and labels added to them. */
class EnumUse {
  readonly #typesOfTable = new Map<string, Set<string>>();
  readonly #createdHere = new Set<string>();
  readonly #newLabels: NewLabel[] = [];

  beginFile(): void {
    this.#createdHere.clear();
  }

  /** The new labels that a statement uses. */
  read(node: Node, file: string): NewLabel[] {
    if ("CreateEnumStmt" in node) {
      this.#createdHere.add(joinName(node.CreateEnumStmt.typeName));
      return [];
    }
    if ("AlterEnumStmt" in node) {
      const { typeName, newVal, oldVal } = node.AlterEnumStmt;
      const type = joinName(typeName);
      // A label that is only renamed is not new.
      if (newVal !== undefined && oldVal === undefined && !this.#createdHere.has(type)) {
        this.#newLabels.push({ type, label: newVal, addedIn: file });
      }
      return [];
    }
    const types = this.#typesIn(node);
    if (this.#newLabels.length === 0) return [];
    const constants = new Set<unknown>();
    visitNodes(node, "A_Const", (constant) => constants.add((constant["sval"] as { sval?: string } | undefined)?.sval));
    return this.#newLabels.filter(({ type, label }) => types.has(type) && constants.has(label));
  }

  /** The types that a statement names, and those of the tables it names; learns new columns. */
  #typesIn(node: Node): Set<string> {
    const types = new Set<string>();
    visitNodes(node, "typeName", (typeName) => types.add(joinName(typeName["names"] as Node[])));
    const tables: string[] = [];
    const addTable = (relation: Record<string, unknown>) => tables.push(relationName(relation as RelationName));
    visitNodes(node, "RangeVar", addTable);
    visitNodes(node, "relation", addTable);
    for (const table of tables) {
      for (const type of this.#typesOfTable.get(table) ?? []) types.add(type);
    }
    const changed =
      "CreateStmt" in node
        ? node.CreateStmt.relation
        : "AlterTableStmt" in node
          ? node.AlterTableStmt.relation
          : undefined;
    if (changed) {
      const known = this.#typesOfTable.get(relationName(changed)) ?? new Set();
      visitNodes(node, "ColumnDef", (column) => {
        known.add(joinName((column["typeName"] as { names?: Node[] } | undefined)?.names));
      });
      this.#typesOfTable.set(relationName(changed), known);
    }
    return types;
  }
}
