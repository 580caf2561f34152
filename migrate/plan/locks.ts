import type { AlterTableCmd, Node, RangeVar } from "libpg-query";
import { joinName, qualify, visitNodes } from "../chain/parse.ts";

/** Table-level lock modes, weakest first: https://www.postgresql.org/docs/16/explicit-locking.html#LOCKING-TABLES */
export const LOCK_MODES = [
  "ACCESS SHARE",
  "ROW SHARE",
  "ROW EXCLUSIVE",
  "SHARE UPDATE EXCLUSIVE",
  "SHARE",
  "SHARE ROW EXCLUSIVE",
  "EXCLUSIVE",
  "ACCESS EXCLUSIVE",
] as const;

/** A table-level lock mode. */
export type LockMode = (typeof LOCK_MODES)[number];

/** What a statement does to a relation. */
export interface RelationLock {
  /** Name as in the statement, without the schema `public`. */
  readonly relation: string;
  readonly mode: LockMode;
  /** True if the relation is an index; the lock is on the index's table. */
  readonly isIndex?: boolean;
  /**
   * Foreign keys of the relation that the statement drops: the name of one, or true for all. The tables that they refer
   * to are locked in the same mode, but only the catalogue knows which these are.
   */
  readonly dropsForeignKeys?: string | true;
}

/** What one statement locks, as far as its text tells. */
export interface StatementLocks {
  readonly locks: readonly RelationLock[];
  /** Whether all rows are read or written while the locks are held. */
  readonly work?: "reads all rows" | "rewrites the table";
  /** True if the statement runs code, such as a DO block, whose locks its text does not tell. */
  readonly opaque?: boolean;
}

// By ALTER TABLE's page, "takes … lock"; what is not here takes ACCESS EXCLUSIVE.
// https://www.postgresql.org/docs/16/sql-altertable.html
const ALTER_TABLE_MODES: Readonly<Record<string, LockMode>> = {
  AT_SetStatistics: "SHARE UPDATE EXCLUSIVE",
  AT_SetOptions: "SHARE UPDATE EXCLUSIVE",
  AT_ResetOptions: "SHARE UPDATE EXCLUSIVE",
  AT_SetRelOptions: "SHARE UPDATE EXCLUSIVE",
  AT_ResetRelOptions: "SHARE UPDATE EXCLUSIVE",
  AT_ClusterOn: "SHARE UPDATE EXCLUSIVE",
  AT_DropCluster: "SHARE UPDATE EXCLUSIVE",
  AT_ValidateConstraint: "SHARE UPDATE EXCLUSIVE",
  AT_AttachPartition: "SHARE UPDATE EXCLUSIVE",
  AT_EnableTrig: "SHARE ROW EXCLUSIVE",
  AT_EnableAlwaysTrig: "SHARE ROW EXCLUSIVE",
  AT_EnableReplicaTrig: "SHARE ROW EXCLUSIVE",
  AT_EnableTrigAll: "SHARE ROW EXCLUSIVE",
  AT_EnableTrigUser: "SHARE ROW EXCLUSIVE",
  AT_DisableTrig: "SHARE ROW EXCLUSIVE",
  AT_DisableTrigAll: "SHARE ROW EXCLUSIVE",
  AT_DisableTrigUser: "SHARE ROW EXCLUSIVE",
};

const REWRITES = new Set([
  "AT_AlterColumnType",
  "AT_SetLogged",
  "AT_SetUnLogged",
  "AT_SetAccessMethod",
  "AT_SetTableSpace",
]);

/**
 * The locks that a statement takes on relations, read from its parse tree.
 *
 * Locks on what the statement itself creates are left out, as nobody waits for them.
 */
export function locksOf(node: Node): StatementLocks {
  const collected = new Collection();
  collected.read(node);
  return collected.result(isOpaque(node));
}

function isOpaque(node: Node): boolean {
  return "DoStmt" in node || "CallStmt" in node || "CreateExtensionStmt" in node || "AlterExtensionStmt" in node;
}

function isRange(value: unknown): value is RangeVar {
  return typeof value === "object" && value !== null && "relname" in value;
}

/** Collects the strongest lock for each relation. */
class Collection {
  readonly #locks = new Map<string, RelationLock>();
  #work: StatementLocks["work"];

  result(opaque: boolean): StatementLocks {
    return {
      locks: [...this.#locks.values()],
      ...(this.#work === undefined ? {} : { work: this.#work }),
      ...(opaque ? { opaque } : {}),
    };
  }

  #add(
    relation: string | RangeVar | undefined,
    mode: LockMode,
    more: Pick<RelationLock, "isIndex" | "dropsForeignKeys"> = {},
  ): void {
    const name = isRange(relation) ? qualify(relation.schemaname, relation.relname ?? "") : (relation ?? "");
    if (name === "") return;
    const known = this.#locks.get(name);
    if (known && LOCK_MODES.indexOf(known.mode) >= LOCK_MODES.indexOf(mode)) return;
    this.#locks.set(name, { relation: name, mode, ...more });
  }

  read(node: Node): void {
    if ("AlterTableStmt" in node) {
      const { relation, cmds = [], objtype } = node.AlterTableStmt;
      // Nobody waits for a composite type, and an index's settings lock the index alone.
      if (objtype === "OBJECT_TYPE" || objtype === "OBJECT_INDEX") return;
      for (const command of cmds) {
        if ("AlterTableCmd" in command) this.#alterTable(relation, command.AlterTableCmd, objtype === "OBJECT_VIEW");
      }
    } else if ("CreateStmt" in node)
      this.#createTable(
        node.CreateStmt.tableElts,
        node.CreateStmt.inhRelations,
        node.CreateStmt.partbound !== undefined,
      );
    else if ("IndexStmt" in node) {
      this.#add(node.IndexStmt.relation, node.IndexStmt.concurrent ? "SHARE UPDATE EXCLUSIVE" : "SHARE");
      this.#work = "reads all rows";
    } else if ("DropStmt" in node)
      this.#drop(node.DropStmt.removeType ?? "", node.DropStmt.objects ?? [], node.DropStmt.concurrent === true);
    else if ("CreateTrigStmt" in node) this.#add(node.CreateTrigStmt.relation, "SHARE ROW EXCLUSIVE");
    else if ("RuleStmt" in node) this.#add(node.RuleStmt.relation, "ACCESS EXCLUSIVE");
    else if ("CreatePolicyStmt" in node) this.#add(node.CreatePolicyStmt.table, "ACCESS EXCLUSIVE");
    else if ("AlterPolicyStmt" in node) this.#add(node.AlterPolicyStmt.table, "ACCESS EXCLUSIVE");
    else if ("RenameStmt" in node) {
      if (node.RenameStmt.renameType !== "OBJECT_INDEX") this.#add(node.RenameStmt.relation, "ACCESS EXCLUSIVE");
    } else if ("AlterObjectSchemaStmt" in node) this.#add(node.AlterObjectSchemaStmt.relation, "ACCESS EXCLUSIVE");
    else if ("AlterSeqStmt" in node) this.#add(node.AlterSeqStmt.sequence, "SHARE ROW EXCLUSIVE");
    else if ("CreateStatsStmt" in node) this.#readers(node.CreateStatsStmt.relations, "SHARE UPDATE EXCLUSIVE");
    else if ("CommentStmt" in node) this.#comment(node.CommentStmt.objtype ?? "", node.CommentStmt.object);
    else if ("TruncateStmt" in node) this.#readers(node.TruncateStmt.relations, "ACCESS EXCLUSIVE");
    else if ("ClusterStmt" in node) {
      this.#add(node.ClusterStmt.relation, "ACCESS EXCLUSIVE");
      this.#work = "rewrites the table";
    } else if ("ReindexStmt" in node) {
      const isIndex = node.ReindexStmt.kind === "REINDEX_OBJECT_INDEX";
      this.#add(node.ReindexStmt.relation, "SHARE", isIndex ? { isIndex } : {});
      this.#work = "reads all rows";
    } else if ("VacuumStmt" in node) this.#readers(node.VacuumStmt.rels, "SHARE UPDATE EXCLUSIVE");
    else if ("RefreshMatViewStmt" in node) {
      this.#add(
        node.RefreshMatViewStmt.relation,
        node.RefreshMatViewStmt.concurrent ? "EXCLUSIVE" : "ACCESS EXCLUSIVE",
      );
    } else if ("LockStmt" in node) {
      this.#readers(node.LockStmt.relations, LOCK_MODES[(node.LockStmt.mode ?? 8) - 1] ?? "ACCESS EXCLUSIVE");
    } else if ("InsertStmt" in node) this.#write(node.InsertStmt.relation, node);
    else if ("UpdateStmt" in node) this.#write(node.UpdateStmt.relation, node);
    else if ("DeleteStmt" in node) this.#write(node.DeleteStmt.relation, node);
    else if ("MergeStmt" in node) this.#write(node.MergeStmt.relation, node);
    else if ("CopyStmt" in node) {
      this.#add(node.CopyStmt.relation, node.CopyStmt.is_from ? "ROW EXCLUSIVE" : "ACCESS SHARE");
      this.#readers(node.CopyStmt.query, "ACCESS SHARE");
    } else if ("SelectStmt" in node) this.#query(node);
    else if ("ViewStmt" in node) {
      this.#query(node.ViewStmt.query);
      // A view that is replaced is locked against its readers.
      if (node.ViewStmt.replace) this.#add(node.ViewStmt.view, "ACCESS EXCLUSIVE");
    } else if ("CreateTableAsStmt" in node) this.#query(node.CreateTableAsStmt.query);
  }

  /** Relations named anywhere in a tree. Names of common table expressions look like relations' and are left out. */
  #readers(tree: unknown, mode: LockMode): void {
    const common = new Set<unknown>();
    visitNodes(tree, "CommonTableExpr", (expression) => common.add(expression["ctename"]));
    visitNodes(tree, "RangeVar", (range) => {
      if (isRange(range) && !(range.schemaname === undefined && common.has(range.relname))) this.#add(range, mode);
    });
    visitNodes(tree, "relation", (relation) => {
      if (isRange(relation)) this.#add(relation, mode);
    });
  }

  #query(tree: unknown): void {
    const locking = JSON.stringify(tree ?? null).includes('"LockingClause"');
    this.#readers(tree, locking ? "ROW SHARE" : "ACCESS SHARE");
    // Writing statements inside WITH.
    for (const kind of ["InsertStmt", "UpdateStmt", "DeleteStmt"]) {
      visitNodes(tree, kind, (statement) => this.#add(statement["relation"] as RangeVar, "ROW EXCLUSIVE"));
    }
  }

  #write(target: RangeVar | undefined, tree: Node): void {
    this.#add(target, "ROW EXCLUSIVE");
    this.#query(Object.values(tree)[0]);
  }

  #alterTable(relation: RangeVar | undefined, command: AlterTableCmd, isView: boolean): void {
    const { subtype = "", def, name } = command;
    const constraint = def && "Constraint" in def ? def.Constraint : undefined;
    const column = def && "ColumnDef" in def ? def.ColumnDef : undefined;
    let mode: LockMode = (isView ? undefined : ALTER_TABLE_MODES[subtype]) ?? "ACCESS EXCLUSIVE";
    if (constraint?.contype === "CONSTR_FOREIGN") {
      mode = "SHARE ROW EXCLUSIVE";
      this.#add(constraint.pktable, "SHARE ROW EXCLUSIVE");
    }
    if (def && "PartitionCmd" in def) {
      // DETACH locks both tables against everybody, with CONCURRENTLY only the partition. ATTACH leaves the parent usable.
      // It also locks the parent's default partition, which the statement does not name.
      if (subtype === "AT_DetachPartition" && def.PartitionCmd.concurrent) mode = "SHARE UPDATE EXCLUSIVE";
      this.#add(def.PartitionCmd.name, "ACCESS EXCLUSIVE");
      if (subtype === "AT_AttachPartition") this.#work = "reads all rows";
    }
    this.#add(relation, mode, subtype === "AT_DropConstraint" && name !== undefined ? { dropsForeignKeys: name } : {});
    this.#foreignKeys(column?.constraints);
    if (REWRITES.has(subtype)) this.#work = "rewrites the table";
    const validates = constraint !== undefined && constraint.skip_validation !== true;
    if (validates || subtype === "AT_SetNotNull" || subtype === "AT_ValidateConstraint")
      this.#work ??= "reads all rows";
  }

  #foreignKeys(constraints: readonly Node[] | undefined): void {
    for (const each of constraints ?? []) {
      if ("Constraint" in each && each.Constraint.contype === "CONSTR_FOREIGN") {
        this.#add(each.Constraint.pktable, "SHARE ROW EXCLUSIVE");
      }
    }
  }

  #createTable(
    elements: readonly Node[] | undefined,
    parents: readonly Node[] | undefined,
    isPartition: boolean,
  ): void {
    // CREATE TABLE … PARTITION OF locks the parent against everybody:
    // https://www.postgresql.org/docs/16/ddl-partitioning.html
    this.#readers(parents, isPartition ? "ACCESS EXCLUSIVE" : "SHARE UPDATE EXCLUSIVE");
    for (const element of elements ?? []) {
      if ("ColumnDef" in element) this.#foreignKeys(element.ColumnDef.constraints);
      if ("TableLikeClause" in element) this.#add(element.TableLikeClause.relation, "ACCESS SHARE");
    }
    this.#foreignKeys(elements);
  }

  #drop(kind: string, objects: readonly Node[], concurrent: boolean): void {
    for (const object of objects) {
      if (!("List" in object)) continue;
      const { items = [] } = object.List;
      if (kind === "OBJECT_INDEX")
        this.#add(joinName(items), concurrent ? "SHARE UPDATE EXCLUSIVE" : "ACCESS EXCLUSIVE", { isIndex: true });
      // The last part of such a name is the object's own; the parts before it name its table.
      else if (["OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE"].includes(kind)) {
        this.#add(joinName(items.slice(0, -1)), "ACCESS EXCLUSIVE");
      } else if (kind === "OBJECT_TABLE") this.#add(joinName(items), "ACCESS EXCLUSIVE", { dropsForeignKeys: true });
      else if (["OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_SEQUENCE", "OBJECT_FOREIGN_TABLE"].includes(kind)) {
        this.#add(joinName(items), "ACCESS EXCLUSIVE");
      }
    }
  }

  #comment(kind: string, object: Node | undefined): void {
    if (!object || !("List" in object)) return;
    const { items = [] } = object.List;
    if (["OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_SEQUENCE"].includes(kind)) {
      this.#add(joinName(items), "SHARE UPDATE EXCLUSIVE");
    } else if (kind === "OBJECT_COLUMN") this.#add(joinName(items.slice(0, -1)), "SHARE UPDATE EXCLUSIVE");
  }
}
