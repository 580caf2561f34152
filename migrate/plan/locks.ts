import type { AlterTableStmt, CommentStmt, CreateStmt, DropStmt, Node, RangeVar } from "libpg-query";
import { type ByKind, callByKind, commandsOf, findNodes, joinName, namesIn, relationName } from "../chain/parse.ts";

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
  /** Name as in the statement, without the schema `public`. For an index the lock is on the index's table. */
  readonly relation: string;
  readonly mode: LockMode;
  /**
   * Foreign keys of the relation that the statement drops: the name of one, or true for all. The tables that they refer
   * to are locked in the same mode, but only the catalogue knows which these are.
   */
  readonly dropsForeignKeys?: string | true;
}

/** What one statement locks, as far as its text tells. */
export interface StatementLocks {
  /** A relation may be named more than once; {@link strongest} keeps one lock for each. */
  readonly locks: readonly RelationLock[];
  /** Whether all rows are read or written while the locks are held. */
  readonly work?: "reads all rows" | "rewrites the table" | undefined;
  /** True if the statement runs code, such as a DO block, whose locks its text does not tell. */
  readonly opaque?: boolean;
}

/** The strongest lock on each relation, in the order in which the relations are first locked. */
export function strongest<L extends Pick<RelationLock, "relation" | "mode">>(locks: readonly L[]): L[] {
  const found = new Map<string, L>();
  for (const lock of locks) {
    const known = found.get(lock.relation);
    if (!known || !isAtLeast(known.mode, lock.mode)) found.set(lock.relation, lock);
  }
  return [...found.values()];
}

/** Whether a lock mode is another one or a stronger one. */
export function isAtLeast(mode: LockMode, other: LockMode): boolean {
  return LOCK_MODES.indexOf(mode) >= LOCK_MODES.indexOf(other);
}

/**
 * The locks that a statement takes on relations, read from its parse tree.
 *
 * Locks on what the statement itself creates are left out, as nobody waits for them.
 */
export function locksOf(node: Node): StatementLocks {
  const opaque = ["DoStmt", "CallStmt", "CreateExtensionStmt", "AlterExtensionStmt"].some((kind) => kind in node);
  return { locks: callByKind(LOCKS, node) ?? [], work: callByKind(WORK, node), ...(opaque ? { opaque } : {}) };
}

const LOCKS: ByKind<RelationLock[]> = {
  AlterTableStmt: alterTable,
  CreateStmt: createTable,
  DropStmt: drop,
  CommentStmt: comment,
  IndexStmt: ({ relation, concurrent }) => lock(relation, concurrent ? "SHARE UPDATE EXCLUSIVE" : "SHARE"),
  CreateTrigStmt: ({ relation }) => lock(relation, "SHARE ROW EXCLUSIVE"),
  RuleStmt: ({ relation }) => lock(relation, "ACCESS EXCLUSIVE"),
  CreatePolicyStmt: ({ table }) => lock(table, "ACCESS EXCLUSIVE"),
  AlterPolicyStmt: ({ table }) => lock(table, "ACCESS EXCLUSIVE"),
  RenameStmt: ({ renameType, relation }) => (renameType === "OBJECT_INDEX" ? [] : lock(relation, "ACCESS EXCLUSIVE")),
  AlterObjectSchemaStmt: ({ relation }) => lock(relation, "ACCESS EXCLUSIVE"),
  AlterSeqStmt: ({ sequence }) => lock(sequence, "SHARE ROW EXCLUSIVE"),
  CreateStatsStmt: ({ relations }) => readers(relations, "SHARE UPDATE EXCLUSIVE"),
  TruncateStmt: ({ relations }) => readers(relations, "ACCESS EXCLUSIVE"),
  ClusterStmt: ({ relation }) => lock(relation, "ACCESS EXCLUSIVE"),
  ReindexStmt: ({ relation }) => lock(relation, "SHARE"),
  VacuumStmt: ({ rels }) => readers(rels, "SHARE UPDATE EXCLUSIVE"),
  RefreshMatViewStmt: ({ relation, concurrent }) => lock(relation, concurrent ? "EXCLUSIVE" : "ACCESS EXCLUSIVE"),
  LockStmt: ({ relations, mode }) => readers(relations, LOCK_MODES[(mode ?? 8) - 1] ?? "ACCESS EXCLUSIVE"),
  InsertStmt: write,
  UpdateStmt: write,
  DeleteStmt: write,
  MergeStmt: write,
  CopyStmt: ({ relation, is_from: isFrom, query: copied }) => [
    ...lock(relation, isFrom ? "ROW EXCLUSIVE" : "ACCESS SHARE"),
    ...readers(copied, "ACCESS SHARE"),
  ],
  SelectStmt: query,
  // A view that is replaced is locked against its readers.
  ViewStmt: ({ view, replace, query: shown }) => [...query(shown), ...(replace ? lock(view, "ACCESS EXCLUSIVE") : [])],
  CreateTableAsStmt: ({ query: source }) => query(source),
};

const WORK: ByKind<StatementLocks["work"]> = {
  AlterTableStmt: alterTableWork,
  IndexStmt: () => "reads all rows",
  ReindexStmt: () => "reads all rows",
  ClusterStmt: () => "rewrites the table",
};

// The modes that the page of ALTER TABLE names. Every other command takes ACCESS EXCLUSIVE.
// https://www.postgresql.org/docs/16/sql-altertable.html
const SHARE_UPDATE_EXCLUSIVE =
  /^AT_(?:SetStatistics|(?:Set|Reset)(?:Rel)?Options|ClusterOn|DropCluster|ValidateConstraint|AttachPartition)$/;
const SHARE_ROW_EXCLUSIVE = /^AT_(?:Enable|Disable)(?:Always|Replica)?Trig(?:All|User)?$/;
const REWRITES = /^AT_(?:AlterColumnType|SetLogged|SetUnLogged|SetAccessMethod|SetTableSpace)$/;
const READS = /^AT_(?:AttachPartition|SetNotNull|ValidateConstraint)$/;

function alterTable(statement: AlterTableStmt): RelationLock[] {
  if (locksNobody(statement)) return [];
  return commandsOf(statement).flatMap(({ subtype = "", def, name }) => {
    const constraint = def && "Constraint" in def ? def.Constraint : undefined;
    const column = def && "ColumnDef" in def ? def.ColumnDef : undefined;
    const partition = def && "PartitionCmd" in def ? def.PartitionCmd : undefined;
    let mode: LockMode = "ACCESS EXCLUSIVE";
    if (constraint?.contype === "CONSTR_FOREIGN") mode = "SHARE ROW EXCLUSIVE";
    else if (partition?.concurrent) mode = "SHARE UPDATE EXCLUSIVE";
    else if (statement.objtype !== "OBJECT_VIEW") {
      if (SHARE_UPDATE_EXCLUSIVE.test(subtype)) mode = "SHARE UPDATE EXCLUSIVE";
      if (SHARE_ROW_EXCLUSIVE.test(subtype)) mode = "SHARE ROW EXCLUSIVE";
    }
    const drops = subtype === "AT_DropConstraint" && name !== undefined ? { dropsForeignKeys: name } : {};
    return [
      ...(def ? foreignKeys([def]) : []),
      // ATTACH leaves the parent usable. It also locks the parent's default partition, which the statement does not
      // name. DETACH locks both tables against everybody, with CONCURRENTLY only the partition.
      ...lock(partition?.name, "ACCESS EXCLUSIVE"),
      ...lock(statement.relation, mode).map((each) => ({ ...each, ...drops })),
      ...foreignKeys(column?.constraints),
    ];
  });
}

function alterTableWork(statement: AlterTableStmt): StatementLocks["work"] {
  const commands = locksNobody(statement) ? [] : commandsOf(statement);
  if (commands.some(({ subtype }) => REWRITES.test(subtype ?? ""))) return "rewrites the table";
  const reads = commands.some(
    ({ subtype, def }) =>
      READS.test(subtype ?? "") || (def && "Constraint" in def && def.Constraint.skip_validation !== true),
  );
  return reads ? "reads all rows" : undefined;
}

/** Nobody waits for a composite type, and an index's settings lock the index alone. */
function locksNobody({ objtype }: AlterTableStmt): boolean {
  return objtype === "OBJECT_TYPE" || objtype === "OBJECT_INDEX";
}

function createTable({ tableElts = [], inhRelations, partbound }: CreateStmt): RelationLock[] {
  return [
    // CREATE TABLE … PARTITION OF locks the parent against everybody:
    // https://www.postgresql.org/docs/16/ddl-partitioning.html
    ...readers(inhRelations, partbound ? "ACCESS EXCLUSIVE" : "SHARE UPDATE EXCLUSIVE"),
    ...tableElts.flatMap((element) => [
      ...("ColumnDef" in element ? foreignKeys(element.ColumnDef.constraints) : []),
      ...("TableLikeClause" in element ? lock(element.TableLikeClause.relation, "ACCESS SHARE") : []),
    ]),
    ...foreignKeys(tableElts),
  ];
}

/** Locks on the tables that foreign keys among the constraints refer to. */
function foreignKeys(constraints: readonly Node[] = []): RelationLock[] {
  return constraints.flatMap((each) =>
    "Constraint" in each && each.Constraint.contype === "CONSTR_FOREIGN"
      ? lock(each.Constraint.pktable, "SHARE ROW EXCLUSIVE")
      : [],
  );
}

const RELATIONS = new Set(["OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_SEQUENCE"]);
/** The last part of such a name is the object's own; the parts before it name its table. */
const PARTS_OF_TABLES = new Set(["OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE", "OBJECT_COLUMN"]);

function drop({ removeType = "OBJECT_TYPE", objects, concurrent }: DropStmt): RelationLock[] {
  const mode = concurrent ? "SHARE UPDATE EXCLUSIVE" : "ACCESS EXCLUSIVE";
  const isRelation = RELATIONS.has(removeType) || ["OBJECT_INDEX", "OBJECT_FOREIGN_TABLE"].includes(removeType);
  const drops = removeType === "OBJECT_TABLE" ? { dropsForeignKeys: true as const } : {};
  return namesIn(objects).flatMap((parts) => {
    if (isRelation) return [{ relation: joinName(parts), mode, ...drops }];
    return PARTS_OF_TABLES.has(removeType) ? [{ relation: joinName(parts.slice(0, -1)), mode }] : [];
  });
}

function comment({ objtype = "OBJECT_TYPE", object }: CommentStmt): RelationLock[] {
  const mode = "SHARE UPDATE EXCLUSIVE";
  return namesIn(object && [object]).flatMap((parts) => {
    if (RELATIONS.has(objtype)) return [{ relation: joinName(parts), mode }];
    return objtype === "OBJECT_COLUMN" ? [{ relation: joinName(parts.slice(0, -1)), mode }] : [];
  });
}

function write(statement: { readonly relation?: RangeVar }): RelationLock[] {
  return [...lock(statement.relation, "ROW EXCLUSIVE"), ...query(statement)];
}

function query(tree: unknown): RelationLock[] {
  const isLocking = findNodes(tree, "LockingClause").length > 0;
  // Writing statements inside WITH.
  const kinds = ["InsertStmt", "UpdateStmt", "DeleteStmt"] as const;
  const written = kinds.flatMap((kind) => findNodes(tree, kind));
  return [
    ...readers(tree, isLocking ? "ROW SHARE" : "ACCESS SHARE"),
    ...written.flatMap(({ relation }) => lock(relation, "ROW EXCLUSIVE")),
  ];
}

/** Locks on the relations named anywhere in a tree. Names of common table expressions look alike and are left out. */
function readers(tree: unknown, mode: LockMode): RelationLock[] {
  const common = new Set(findNodes(tree, "CommonTableExpr").map(({ ctename }) => ctename));
  const named = findNodes(tree, "RangeVar").filter(({ schemaname, relname }) => schemaname || !common.has(relname));
  return [...named, ...findNodes(tree, "relation")].flatMap((relation) => lock(relation, mode));
}

function lock(relation: RangeVar | undefined, mode: LockMode): RelationLock[] {
  return relation?.relname === undefined ? [] : [{ relation: relationName(relation), mode }];
}
