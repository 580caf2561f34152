/** Titles of the dictionary's groups, in the order of the page, and of one group for what the migrations add. */
export const GROUPS = {
  core: "Core",
  auth: "Authentication",
  "2fa": "Two-factor authentication",
  sessions: "Sessions",
  security: "Security",
  audit: "Audit and compliance",
  app: "Application",
  agents: "Agents",
  memory: "Memory",
  maintenance: "Maintenance",
} as const;
export type Group = keyof typeof GROUPS;

export interface SchemaModel {
  /** Tables by group, then as the dictionary has them. */
  readonly tables: readonly TableModel[];
  readonly views: readonly ViewModel[];
  readonly materializedViews: readonly ViewModel[];
  readonly enums: readonly EnumModel[];
  readonly functions: readonly FunctionModel[];
}

export interface ColumnModel {
  readonly name: string;
  readonly type: string;
  readonly nullable: boolean;
  /** As PostgreSQL writes it; for an identity column what it is generated as. */
  readonly default: string | null;
  readonly comment: string;
  /** Name of the enum; null for any other type. */
  readonly enumName: string | null;
}

export interface ForeignKeyModel {
  readonly name: string;
  readonly columns: readonly string[];
  /** The other table. */
  readonly refersTo: string;
  readonly referencedColumns: readonly string[];
  readonly onDelete: string;
  readonly onUpdate: string;
  /** Why that action, out of contract/foreign-keys.json. */
  readonly because: string;
  /** What privacy requests do with the rows found through it; undefined where they do not look. */
  readonly privacy: { readonly erase: string; readonly pseudonymise: string } | undefined;
}

export interface DefinitionModel {
  readonly name: string;
  readonly definition: string;
}

/** Rights of a role; columns only where it has not the whole table. */
export interface RightsModel {
  readonly role: string;
  readonly table: readonly string[];
  readonly columns: Readonly<Record<string, readonly string[]>>;
}

/** A table, a view or a materialized view. */
interface RelationModel {
  /** With its schema unless that is public. */
  readonly name: string;
  readonly comment: string;
  readonly columns: readonly ColumnModel[];
  /** Those that no constraint brings along. */
  readonly indexes: readonly DefinitionModel[];
  readonly rights: readonly RightsModel[];
}

export interface TableModel extends RelationModel {
  readonly group: Group;
  /** Columns of the primary key. */
  readonly primaryKey: readonly string[];
  /** Columns of the unique keys, by constraint or by index over all rows. */
  readonly uniqueKeys: readonly (readonly string[])[];
  /** Primary key and unique constraints. */
  readonly keys: readonly DefinitionModel[];
  readonly foreignKeys: readonly ForeignKeyModel[];
  readonly checks: readonly (DefinitionModel & { readonly validated: boolean })[];
  readonly triggers: readonly DefinitionModel[];
  /** Null if the table has no partitions. */
  readonly partitioning: { readonly key: string; readonly defaultPartition: string } | null;
}

export interface ViewModel extends RelationModel {
  readonly updatable: boolean;
  /** Whether it reads with the rights of who asks, not of its owner. */
  readonly invoker: boolean;
}

export interface EnumModel {
  readonly name: string;
  readonly labels: readonly string[];
  /** `table.column`. */
  readonly usedBy: readonly string[];
}

export interface FunctionModel {
  /** With its schema unless that is public. */
  readonly name: string;
  readonly kind: "function" | "procedure" | "trigger function";
  readonly arguments: string;
  /** Empty for a procedure. */
  readonly result: string;
  readonly comment: string;
  /** Roles besides the owner that may call it. */
  readonly callers: readonly string[];
}
