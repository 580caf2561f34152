import type { Node } from "libpg-query";
import { HEADER_KEYS } from "../chain/header.ts";
import {
  type ByKind,
  callByKind,
  commandsOf,
  controlsTransaction,
  findNodes,
  joinName,
  namesIn,
  type ParsedStatement,
  relationName,
} from "../chain/parse.ts";

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
export function findHazards({ file, direction, header, statements }: ParsedMigrationFile): Finding[] {
  const wanted = direction === "up" ? [HEADER_KEYS.why, HEADER_KEYS.lock] : [];
  const findings: Finding[] = wanted
    .filter((key) => !header[key])
    .map((key) => ({
      file,
      line: 1,
      column: 1,
      rule: "header",
      message: `no header line "-- ${key}: …".`,
      remedy: `Say ${key === HEADER_KEYS.why ? "why the change is made" : "which locks it takes and who waits for them"}.`,
    }));
  const remedy = `Add "-- Data loss: what is lost" at the top${direction === "up" ? ", or keep the data" : ", so that a rollback asks first"}.`;
  /** Tables that the file creates, and columns that it adds, by their table's name and their own. */
  const created = new Set<string>();
  for (const { node, line, column } of statements) {
    if ("CreateStmt" in node) created.add(relationName(node.CreateStmt.relation));
    if ("AlterTableStmt" in node) {
      const table = relationName(node.AlterTableStmt.relation);
      for (const { def } of commandsOf(node.AlterTableStmt))
        if (def && "ColumnDef" in def) created.add(`${table}.${def.ColumnDef.colname}`);
    }
    const losses = header[HEADER_KEYS.dataLoss] === undefined ? lostData(node, created) : [];
    const hazards = [
      ...hazardsOf(node),
      ...losses.map((what) => hazard("data-loss", `${what} loses data, and no header says so.`, remedy)),
    ];
    findings.push(...hazards.map((each) => ({ file, line, column, ...each })));
  }
  return findings;
}

const hazard = (rule: string, message: string, remedy: string): Hazard => ({ rule, message, remedy });

/** What a statement does to the run's transaction, its session or the cluster, beyond what a migration may. */
function hazardsOf(node: Node): Hazard[] {
  const command = callByKind(OUTSIDE_TRANSACTIONS, node);
  if (command) {
    const remedy = "It needs a connection outside any transaction; run it by hand or by a maintenance command.";
    return [hazard("outside-transaction", `${command} can't run in a transaction, and migrations do.`, remedy)];
  }
  if (controlsTransaction(node)) {
    const message = "controls the transaction in which all migrations of a run are.";
    return [hazard("transaction-control", message, "Delete it.")];
  }
  if ("CopyStmt" in node && node.CopyStmt.is_from && !node.CopyStmt.filename && !node.CopyStmt.is_program) {
    return [hazard("copy-from-stdin", "nobody sends the rows.", "Use INSERT.")];
  }
  if ("CreateRoleStmt" in node || "AlterRoleStmt" in node || "DropRoleStmt" in node) {
    const message = "roles belong to the whole cluster, not to this database.";
    return [hazard("cluster-object", message, "Create it where the stack's roles are.")];
  }
  return sessionSettings(node).map((name) => {
    const remedy = "Use SET LOCAL, which ends with the file, or qualify the names.";
    return hazard("session-setting", `sets ${name} for the session, beyond the migration.`, remedy);
  });
}

/**
 * The command, if PostgreSQL refuses it inside a transaction block:
 * https://www.postgresql.org/docs/16/sql-commands.html, each command's notes.
 */
const OUTSIDE_TRANSACTIONS: ByKind<string | false | undefined> = {
  IndexStmt: ({ concurrent }) => concurrent && "CREATE INDEX CONCURRENTLY",
  DropStmt: ({ concurrent }) => concurrent && "DROP INDEX CONCURRENTLY",
  ReindexStmt: ({ kind, params = [] }) => {
    if (params.some((param) => "DefElem" in param && param.DefElem.defname === "concurrently"))
      return "REINDEX CONCURRENTLY";
    return kind !== "REINDEX_OBJECT_INDEX" && kind !== "REINDEX_OBJECT_TABLE" && "REINDEX of more than one table";
  },
  AlterTableStmt: (statement) =>
    commandsOf(statement).some(({ def }) => def && "PartitionCmd" in def && def.PartitionCmd.concurrent) &&
    "DETACH PARTITION CONCURRENTLY",
  VacuumStmt: ({ is_vacuumcmd: isVacuum }) => isVacuum && "VACUUM",
  ClusterStmt: ({ relation }) => !relation && "CLUSTER of all tables",
  DiscardStmt: ({ target }) => target === "DISCARD_ALL" && "DISCARD ALL",
  AlterSystemStmt: () => "ALTER SYSTEM",
  CreatedbStmt: () => "CREATE DATABASE",
  DropdbStmt: () => "DROP DATABASE",
  CreateTableSpaceStmt: () => "CREATE TABLESPACE",
  DropTableSpaceStmt: () => "DROP TABLESPACE",
  CreateSubscriptionStmt: () => "CREATE SUBSCRIPTION",
  DropSubscriptionStmt: () => "DROP SUBSCRIPTION",
};

/** The settings that a statement changes beyond its transaction. */
function sessionSettings(node: Node): string[] {
  if ("VariableSetStmt" in node) return node.VariableSetStmt.is_local ? [] : [node.VariableSetStmt.name ?? "it"];
  if (!("SelectStmt" in node)) return [];
  return findNodes(node, "FuncCall").flatMap(({ funcname, args: [name, , isLocal] = [] }) => {
    if (joinName(funcname).replace("pg_catalog.", "") !== "set_config") return [];
    // The tree leaves the value of a false constant out.
    if (!isLocal || !("A_Const" in isLocal) || isLocal.A_Const.boolval?.boolval === true) return [];
    return [name && "A_Const" in name ? (name.A_Const.sval?.sval ?? "it") : "it"];
  });
}

/** The data that a statement throws away, unless the same file has made it. */
function lostData(node: Node, created: ReadonlySet<string>): string[] {
  if ("DropStmt" in node) {
    const { removeType, behavior, objects } = node.DropStmt;
    if (removeType === "OBJECT_TABLE") {
      const names = namesIn(objects).map(joinName);
      return names.filter((name) => !created.has(name)).map((name) => `dropping table ${name}`);
    }
    const what = { OBJECT_SCHEMA: "schema", OBJECT_TYPE: "type", OBJECT_DOMAIN: "domain" }[removeType as string];
    return what && behavior === "DROP_CASCADE" ? [`dropping a ${what} with cascade`] : [];
  }
  if ("AlterTableStmt" in node) {
    const table = relationName(node.AlterTableStmt.relation);
    return commandsOf(node.AlterTableStmt)
      .filter(({ subtype }) => subtype === "AT_DropColumn" && !created.has(table))
      .map(({ name }) => `dropping column ${table}.${name}`);
  }
  // Bodies of functions and rules don't run with the migration.
  return "CreateFunctionStmt" in node || "RuleStmt" in node ? [] : lostRows(node, created);
}

/** Rows that a statement, or a part of it, removes, or overwrites without a condition. */
function lostRows(node: Node, created: ReadonlySet<string>): string[] {
  const truncated = findNodes(node, "TruncateStmt").flatMap(({ relations }) => findNodes(relations, "RangeVar"));
  const deleted = findNodes(node, "DeleteStmt").filter(({ relation }) => !created.has(relationName(relation)));
  const updated = findNodes(node, "UpdateStmt").filter(({ whereClause }) => !whereClause);
  return [
    ...truncated
      .map(relationName)
      .filter((table) => !created.has(table))
      .map((table) => `truncating ${table}`),
    ...deleted.map(
      ({ relation, whereClause }) => `deleting ${whereClause ? "" : "all "}rows of ${relationName(relation)}`,
    ),
    ...updated.flatMap(({ relation, targetList }) => {
      const table = relationName(relation);
      if (created.has(table)) return [];
      const columns = (targetList ?? []).flatMap((each) => ("ResTarget" in each ? [each.ResTarget.name] : []));
      // A column that the same file adds holds nothing yet.
      const lost = columns.filter((column) => !created.has(`${table}.${column}`));
      return lost.length === 0 ? [] : [`overwriting ${lost.join(", ")} in every row of ${table}`];
    }),
  ];
}

/**
 * Labels that are added to an enum type and used before the transaction that adds them has ended.
 *
 * PostgreSQL refuses that ("unsafe use of new value") unless the same transaction has also made the type. All pending
 * migrations run in one transaction, so a later file counts too. Labels of the base branch are left out: they are
 * applied before.
 */
export function findEnumHazards(files: readonly ParsedMigrationFile[], released: ReadonlySet<string>): Finding[] {
  const newLabels: { type: string; label: string; addedIn: string }[] = [];
  const typesByTable = new Map<string, Set<string>>();
  return files.flatMap(({ file, statements }) => {
    const created = new Set<string>();
    return statements.flatMap(({ node, line, column }) => {
      if ("CreateEnumStmt" in node) created.add(joinName(node.CreateEnumStmt.typeName));
      if ("AlterEnumStmt" in node) {
        const { typeName, newVal: label, oldVal } = node.AlterEnumStmt;
        const type = joinName(typeName);
        // A label that is only renamed is not new.
        if (label !== undefined && oldVal === undefined && !created.has(type)) {
          newLabels.push({ type, label, addedIn: file });
        }
      }
      const types = typesIn(node, typesByTable);
      if (newLabels.length === 0) return [];
      const constants = new Set(findNodes(node, "A_Const").map(({ sval }) => sval?.sval));
      return newLabels
        .filter(({ type, label }) => types.has(type) && constants.has(label))
        .filter(({ addedIn }) => addedIn === file || !released.has(addedIn))
        .map(({ type, label, addedIn }) => ({
          file,
          line,
          column,
          rule: "new-enum-label",
          message: `uses label '${label}' of ${type}, which ${addedIn === file ? "this file" : addedIn} adds in the same transaction.`,
          remedy:
            "Use it in a migration that is released later, or make a new type with the label and change the columns to it.",
        }));
    });
  });
}

/** The types that a statement names, and those of the tables that it names. New columns are added to `typesByTable`. */
function typesIn(node: Node, typesByTable: Map<string, Set<string>>): Set<string> {
  const named = findNodes(node, "typeName").map(({ names }) => joinName(names));
  const tables = [...findNodes(node, "RangeVar"), ...findNodes(node, "relation")].map(relationName);
  const types = new Set([...named, ...tables.flatMap((table) => [...(typesByTable.get(table) ?? [])])]);
  if ("CreateStmt" in node || "AlterTableStmt" in node) {
    const { relation } = "CreateStmt" in node ? node.CreateStmt : node.AlterTableStmt;
    const known = typesByTable.get(relationName(relation)) ?? [];
    const added = findNodes(node, "ColumnDef").map(({ typeName }) => joinName(typeName?.names));
    typesByTable.set(relationName(relation), new Set([...known, ...added]));
  }
  return types;
}
