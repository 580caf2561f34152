import type { Client } from "pg";
import {
  entityPermissions,
  makeIntrospectionQuery,
  parseIntrospectionResults,
  type Introspection,
  type PgClass,
} from "pg-introspection";
import { ToolError, type Problem } from "../../base/errors.ts";
import { readForeignKeyDecisions } from "../../contract/decisions.ts";
import { readDictionary, realName } from "../../contract/dictionary.ts";
import { POOLED_ROLES } from "../../database/access/roles.ts";
import { MIGRATIONS_TABLE } from "../../migrate/run/applied.ts";
import {
  type ColumnModel,
  type DefinitionModel,
  type EnumModel,
  type ForeignKeyModel,
  type FunctionModel,
  type Group,
  GROUPS,
  type RightsModel,
  type SchemaModel,
  type TableModel,
  type ViewModel,
} from "./schema-model.ts";

/** Schemas that the migrations make or fill. */
const SCHEMAS = ["public", "audit", "partitions", "maintenance", "privacy"];

/** What the introspection holds as parse trees, written out by the server. */
interface Definitions {
  readonly constraints: Record<string, string>;
  readonly indexes: Record<string, string>;
  readonly triggers: Record<string, { name: string; definition: string }[]>;
  readonly columns: Record<string, Record<string, { type: string; default: string | null }>>;
  readonly partitionKeys: Record<string, string>;
  readonly defaultPartitions: Record<string, string>;
  /** The introspection leaves trigger functions out. */
  readonly functions: readonly RoutineDefinition[];
  readonly updatable: Record<string, boolean>;
}

interface RoutineDefinition {
  readonly schema: string;
  readonly name: string;
  readonly kind: string;
  readonly comment: string | null;
  readonly arguments: string;
  readonly result: string | null;
  readonly callers: readonly string[];
}

const DEFINITIONS = `
with relation as (
  select class.oid, class.relkind
  from pg_catalog.pg_class as class
  inner join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
  where nspname = any ($1)
)
select json_build_object(
  'constraints', (select json_object_agg(entry.oid, pg_get_constraintdef(entry.oid))
    from pg_catalog.pg_constraint as entry inner join relation on relation.oid = conrelid),
  'indexes', (select json_object_agg(indexrelid, pg_get_indexdef(indexrelid))
    from pg_catalog.pg_index inner join relation on relation.oid = indrelid),
  'triggers', (select json_object_agg(tgrelid, triggers) from (
    select tgrelid, json_agg(json_build_object('name', tgname, 'definition', pg_get_triggerdef(entry.oid)) order by tgname) as triggers
    from pg_catalog.pg_trigger as entry inner join relation on relation.oid = tgrelid
    where not tgisinternal group by tgrelid) as by_table),
  'columns', (select json_object_agg(attrelid, columns) from (
    select attrelid, json_object_agg(attname, json_build_object(
      'type', format_type(atttypid, atttypmod), 'default', pg_get_expr(adbin, adrelid))) as columns
    from pg_catalog.pg_attribute
    inner join relation on relation.oid = attrelid and relkind in ('r', 'p', 'v', 'm')
    left join pg_catalog.pg_attrdef on adrelid = attrelid and adnum = attnum
    where attnum > 0 and not attisdropped group by attrelid) as by_relation),
  'partitionKeys', (select json_object_agg(partrelid, pg_get_partkeydef(partrelid)) from pg_catalog.pg_partitioned_table),
  'defaultPartitions', (select json_object_agg(partrelid, partdefid::regclass::text)
    from pg_catalog.pg_partitioned_table where partdefid <> 0),
  'functions', (select json_agg(json_build_object(
      'schema', nspname, 'name', proname, 'kind', prokind, 'comment', obj_description(entry.oid, 'pg_proc'),
      'arguments', pg_get_function_arguments(entry.oid), 'result', pg_get_function_result(entry.oid),
      'callers', array(select role from unnest($2::text[]) as role where has_function_privilege(role, entry.oid, 'execute')))
      order by nspname, proname, pg_get_function_identity_arguments(entry.oid))
    from pg_catalog.pg_proc as entry
    inner join pg_catalog.pg_namespace as namespace on namespace.oid = pronamespace
    where nspname = any ($1) and not exists (select from pg_catalog.pg_depend
      where objid = entry.oid and pg_depend.classid = 'pg_catalog.pg_proc'::regclass and deptype = 'e')),
  'updatable', (select json_object_agg(oid, pg_relation_is_updatable(oid, false) & 28 = 28) from relation where relkind = 'v')
) as definitions`;

interface UserData {
  readonly table_name: string;
  readonly filter: string;
  readonly on_erase: string;
  readonly on_pseudonymise: string;
}

const ACTIONS: Readonly<Record<string, string>> = {
  a: "no action",
  r: "restrict",
  c: "cascade",
  n: "set null",
  d: "set default",
};
const PRIVILEGES = ["select", "insert", "update", "delete", "truncate", "references", "trigger"] as const;

const short = (name: string): string => name.replace(/^public\./, "");
const compare = (one: string, other: string): number => (one < other ? -1 : Number(one > other));
const byName = (one: { readonly name: string }, other: { readonly name: string }): number =>
  compare(one.name, other.name);

/**
 * Everything docs/schema.md says, out of the catalogue of a database with all migrations. Months with a partition of
 * their own are not in it: they depend on the day.
 *
 * @throws ToolError naming every table and column without comment and every foreign key without a recorded reason
 */
export async function readSchema(client: Client): Promise<SchemaModel> {
  await client.query("begin transaction isolation level repeatable read read only");
  // Names are written in full unless the search_path finds them.
  await client.query("set local search_path = public");
  const raw = await client.query<{ introspection: string }>(makeIntrospectionQuery());
  const definitions = await client.query<{ definitions: Definitions }>(DEFINITIONS, [SCHEMAS, POOLED_ROLES]);
  const userData = await client.query<UserData>(
    "select table_name, filter, on_erase, on_pseudonymise from privacy.user_data order by step",
  );
  await client.query("commit");
  return new Reader(
    parseIntrospectionResults(raw.rows[0]!.introspection),
    definitions.rows[0]!.definitions,
    userData.rows,
  ).read();
}

class Reader {
  private readonly problems: Problem[] = [];
  private readonly decisions = readForeignKeyDecisions();
  private readonly catalogue: Introspection;
  private readonly definitions: Definitions;
  private readonly userData: readonly UserData[];

  constructor(catalogue: Introspection, definitions: Definitions, userData: readonly UserData[]) {
    this.catalogue = catalogue;
    this.definitions = definitions;
    this.userData = userData;
  }

  read(): SchemaModel {
    const relations = this.catalogue.classes.filter(
      (entry) =>
        SCHEMAS.includes(entry.getNamespace()!.nspname) && !entry.relispartition && entry.relname !== MIGRATIONS_TABLE,
    );
    const ofKind = (...kinds: string[]) => relations.filter(({ relkind }) => kinds.includes(relkind));
    const groups = readGroups();
    const position = new Map([...groups.keys()].map((name, index) => [name, index]));
    const tables = ofKind("r", "p")
      .map((entry) => this.table(entry, groups))
      .sort(
        (one, other) =>
          (position.get(one.name) ?? Infinity) - (position.get(other.name) ?? Infinity) || byName(one, other),
      );
    const views = ofKind("v")
      .map((entry) => this.view(entry))
      .sort(byName);
    const materializedViews = ofKind("m")
      .map((entry) => this.view(entry))
      .sort(byName);
    const functions = this.definitions.functions.map((entry) => this.routine(entry));
    if (this.problems.length > 0) throw new ToolError("The schema can't be documented:", this.problems);
    return { tables, views, materializedViews, enums: this.enums(tables), functions };
  }

  private table(entry: PgClass, groups: ReadonlyMap<string, Group>): TableModel {
    const name = this.nameOf(entry);
    const group = groups.get(name) ?? (name.startsWith("maintenance.") ? "maintenance" : undefined);
    if (!group) {
      this.problems.push({ subject: name, problem: "is not in contract/dictionary.json, so it has no group" });
    }
    const constraints = entry.getConstraints().toSorted((one, other) => compare(one.conname, other.conname));
    const ofType = (...types: string[]) => constraints.filter(({ contype }) => types.includes(contype));
    const define = (constraint: { _id: string; conname: string }) => ({
      name: constraint.conname,
      definition: this.definitions.constraints[constraint._id]!,
    });
    const named = (attributes: readonly { attname: string }[] | undefined) =>
      (attributes ?? []).map(({ attname }) => attname);
    const unique = entry
      .getIndexes()
      .filter(({ indisunique, indisprimary, indpred }) => indisunique && !indisprimary && !indpred);
    const key = this.definitions.partitionKeys[entry._id];
    return {
      name,
      group: group ?? "core",
      comment: this.commentOf(name, entry.getDescription()),
      columns: this.columns(entry, name),
      primaryKey: named(ofType("p")[0]?.getAttributes()),
      uniqueKeys: unique.map((index) => index.getKeys().flatMap((attribute) => (attribute ? [attribute.attname] : []))),
      keys: [...ofType("p"), ...ofType("u")].map(define),
      foreignKeys: ofType("f").map((constraint) => {
        const columns = named(constraint.getAttributes());
        return {
          name: constraint.conname,
          columns,
          refersTo: this.nameOf(constraint.getForeignClass()!),
          referencedColumns: named(constraint.getForeignAttributes()),
          onDelete: ACTIONS[constraint.confdeltype!]!,
          onUpdate: ACTIONS[constraint.confupdtype!]!,
          because: this.reasonOf(name, columns, ACTIONS[constraint.confdeltype!]!),
          privacy: this.privacyOf(name, columns),
        };
      }),
      checks: ofType("c").map((constraint) => ({ ...define(constraint), validated: constraint.convalidated === true })),
      indexes: this.indexes(
        entry,
        constraints.map(({ conindid }) => conindid),
      ),
      triggers: this.definitions.triggers?.[entry._id] ?? [],
      rights: this.rights(entry),
      partitioning:
        key === undefined
          ? undefined
          : { key, defaultPartition: this.definitions.defaultPartitions[entry._id] ?? "none" },
    };
  }

  private view(entry: PgClass): ViewModel {
    const name = this.nameOf(entry);
    return {
      name,
      comment: this.commentOf(name, entry.getDescription()),
      columns: this.columns(entry, name, false),
      indexes: this.indexes(entry, []),
      rights: this.rights(entry),
      updatable: this.definitions.updatable[entry._id] === true,
      invoker: (entry.reloptions ?? []).some((option) => /^security_invoker=(true|on)$/.test(option)),
    };
  }

  private columns(entry: PgClass, relation: string, commented = true): ColumnModel[] {
    return entry
      .getAttributes()
      .filter(({ attisdropped }) => !attisdropped)
      .toSorted((one, other) => one.attnum - other.attnum)
      .map((attribute) => {
        const definition = this.definitions.columns[entry._id]![attribute.attname]!;
        const identity = { a: "generated always as identity", d: "generated by default as identity" }[
          attribute.attidentity || ""
        ];
        const type = attribute.getType()!;
        const description = attribute.getDescription() ?? "";
        return {
          name: attribute.attname,
          type: definition.type,
          nullable: !attribute.attnotnull,
          default: identity ?? definition.default ?? undefined,
          comment: commented ? this.commentOf(`${relation}.${attribute.attname}`, description) : description,
          enumName: type.typtype === "e" ? type.typname : undefined,
        };
      });
  }

  private indexes(entry: PgClass, ofKeys: readonly string[]): DefinitionModel[] {
    return entry
      .getIndexes()
      .filter(({ indexrelid }) => !ofKeys.includes(indexrelid))
      .map((index) => ({
        name: index.getIndexClass()!.relname,
        definition: this.definitions.indexes[index.indexrelid]!,
      }))
      .sort(byName);
  }

  private rights(entry: PgClass): RightsModel[] {
    return POOLED_ROLES.map((name) => {
      const role = this.catalogue.roles.find(({ rolname }) => rolname === name);
      if (!role) throw new ToolError(`The server has no role ${name}.`);
      const held = (entity: Parameters<typeof entityPermissions>[1]) => {
        const permissions = entityPermissions(this.catalogue, entity, role);
        return PRIVILEGES.filter((privilege) => permissions[privilege]);
      };
      const table = held(entry);
      const columns: Record<string, string[]> = {};
      for (const attribute of entry.getAttributes()) {
        // Without rights of its own a column would show the defaults of an owner.
        if (attribute.attisdropped || !attribute.attacl) continue;
        for (const privilege of held(attribute))
          if (!table.includes(privilege)) (columns[privilege] ??= []).push(attribute.attname);
      }
      return { role: name, table, columns };
    });
  }

  private enums(tables: readonly TableModel[]): EnumModel[] {
    return this.catalogue.types
      .filter((type) => type.typtype === "e" && SCHEMAS.includes(type.getNamespace()!.nspname))
      .map((type) => ({
        name: type.typname,
        comment: type.getDescription() ?? "",
        labels: (type.getEnumValues() ?? [])
          .toSorted((one, other) => one.enumsortorder - other.enumsortorder)
          .map(({ enumlabel }) => enumlabel),
        usedBy: tables.flatMap((table) =>
          table.columns
            .filter(({ enumName }) => enumName === type.typname)
            .map((column) => `${table.name}.${column.name}`),
        ),
      }))
      .sort(byName);
  }

  private routine({ kind, result, comment, ...entry }: RoutineDefinition): FunctionModel {
    const name = short(`${entry.schema}.${entry.name}`);
    return {
      ...entry,
      name,
      kind: result === "trigger" ? "trigger function" : kind === "p" ? "procedure" : "function",
      result: result ?? "",
      comment: this.commentOf(`${name}()`, comment ?? undefined),
    };
  }

  private nameOf(entry: PgClass): string {
    return short(`${entry.getNamespace()!.nspname}.${entry.relname}`);
  }

  private commentOf(subject: string, description: string | undefined): string {
    if (!description) this.problems.push({ subject, problem: "has no comment", remedy: "Write one in its migration." });
    return description ?? "";
  }

  private reasonOf(table: string, columns: readonly string[], onDelete: string): string {
    const subject = `${table}.${columns.join("+")}`;
    const decision = this.decisions.find((each) => `${each.table}.${each.column}` === subject);
    if (!decision) {
      this.problems.push({ subject, problem: "is a foreign key without a reason in contract/foreign-keys.json" });
    } else if (decision.onDelete !== onDelete) {
      this.problems.push({
        subject,
        problem: `is ${onDelete} on delete, and contract/foreign-keys.json says ${decision.onDelete}`,
      });
    }
    return decision?.because ?? "";
  }

  private privacyOf(table: string, columns: readonly string[]): ForeignKeyModel["privacy"] {
    const inFilter = new RegExp(`\\b(?:${columns.join("|")}) (?:=|in) `);
    const found = this.userData.find(({ table_name, filter }) => short(table_name) === table && inFilter.test(filter));
    return found && { erase: found.on_erase, pseudonymise: found.on_pseudonymise };
  }
}

/** Groups by the table's real name, in the groups' and then the dictionary's order. */
function readGroups(): Map<string, Group> {
  const dictionary = readDictionary();
  const order = Object.keys(GROUPS);
  return new Map(
    Object.entries(dictionary.tables)
      .map(([key, { group }]): [string, Group] => [short(realName(dictionary, key)), group as Group])
      .sort(([, one], [, other]) => order.indexOf(one) - order.indexOf(other)),
  );
}
