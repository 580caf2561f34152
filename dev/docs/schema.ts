import { renderDiagrams } from "./schema-diagram.ts";
import {
  GROUPS,
  type ColumnModel,
  type DefinitionModel,
  type Group,
  type RightsModel,
  type SchemaModel,
  type TableModel,
  type ViewModel,
} from "./schema-model.ts";

/** docs/schema.md and its diagrams, by their path in the package. Equal for equal schemas. */
export async function renderSchemaFiles(model: SchemaModel): Promise<Record<string, string>> {
  const files: Record<string, string> = { "docs/schema.md": renderSchema(model) };
  for (const [name, svg] of Object.entries(await renderDiagrams(model))) files[`docs/schema/${name}.svg`] = svg;
  return files;
}

function renderSchema(model: SchemaModel): string {
  const groups = groupsOf(model);
  const lines = [
    "# Schema",
    "",
    "<!-- Generated from a stack's catalogue by `npm run docs`; changes are overwritten. -->",
    "",
    `${model.tables.length} tables with ${sum(model.tables, ({ columns }) => columns.length)} columns and ` +
      `${sum(model.tables, ({ foreignKeys }) => foreignKeys.length)} foreign keys, ${model.views.length} views, ` +
      `${model.materializedViews.length} materialized views, ${model.enums.length} enums. Names without a schema are in \`public\`. ` +
      "Why things are as they are: [schema-decisions.md](schema-decisions.md).",
    "",
    "Not shown: `pgmigrations`, where the runner keeps its record, and the monthly partitions that maintenance makes and drops.",
    "The owner of everything is `ai_workflow_owner`; rights are those of the roles that come through the pooler.",
    "",
    ...contents(model),
    ...overview(model),
    ...groups.flatMap((group) => renderGroup(model, group)),
    ...foreignKeys(model),
    ...views(model),
    ...enums(model),
    ...functions(model),
  ];
  return `${lines.join("\n").trimEnd()}\n`;
}

function groupsOf({ tables }: SchemaModel): Group[] {
  return (Object.keys(GROUPS) as Group[]).filter((group) => tables.some((table) => table.group === group));
}

function contents(model: SchemaModel): string[] {
  const titles = [
    "Overview",
    ...groupsOf(model).map((group) => GROUPS[group]),
    FOREIGN_KEYS,
    VIEWS,
    MATERIALIZED_VIEWS,
    ENUMS,
    FUNCTIONS,
  ];
  return [...titles.map((title) => `- ${link(title)}`), ""];
}

const FOREIGN_KEYS = "Foreign keys and privacy requests";
const VIEWS = "Views";
const MATERIALIZED_VIEWS = "Materialized views";
const ENUMS = "Enums";
const FUNCTIONS = "Functions";

function overview(model: SchemaModel): string[] {
  const groupRow = (group: Group) => {
    const tables = model.tables.filter((table) => table.group === group);
    const counts = [tables.length, sum(tables, ({ columns }) => columns.length), ...keyCounts(tables)];
    return [link(GROUPS[group]), ...counts.map(String)];
  };
  const tableRow = (table: TableModel) => [
    link(table.name),
    GROUPS[table.group],
    String(table.columns.length),
    ...keyCounts([table]).map(String),
    text(firstSentence(table.comment)),
  ];
  const referrers = (table: TableModel) =>
    model.tables.flatMap((other) => other.foreignKeys.filter(({ refersTo }) => refersTo === table.name)).length;
  const keyCounts = (tables: readonly TableModel[]) => [
    sum(tables, ({ foreignKeys: keys }) => keys.length),
    sum(tables, referrers),
    sum(tables, ({ indexes, keys }) => indexes.length + keys.length),
  ];
  return [
    "## Overview",
    "",
    "● refers to `users`. Ends of lines: two bars for one, bar and circle for none or one, circle and crow's foot for any number.",
    "",
    "![All tables by group](schema/overview.svg)",
    "",
    ...table(["Group", "Tables", "Columns", "Foreign keys", "Referred to", "Indexes"], groupsOf(model).map(groupRow)),
    ...table(
      ["Table", "Group", "Columns", "Foreign keys", "Referred to", "Indexes", "Holds"],
      model.tables.map(tableRow),
    ),
  ];
}

function renderGroup(model: SchemaModel, group: Group): string[] {
  const tables = model.tables.filter((table) => table.group === group);
  return [
    `## ${GROUPS[group]}`,
    "",
    `![Tables of the group ${GROUPS[group]}](schema/${group}.svg)`,
    "",
    ...tables.flatMap((table) => renderTable(model, table)),
  ];
}

function renderTable(model: SchemaModel, entry: TableModel): string[] {
  const referrers = model.tables.flatMap((other) => {
    const keys = other.foreignKeys.filter(({ refersTo }) => refersTo === entry.name);
    return keys.length === 0 ? [] : [`${link(other.name)} (${code(...keys.flatMap(({ columns }) => columns))})`];
  });
  const partitioning = entry.partitioning && [
    `Partitioned by month: ${code(entry.partitioning.key)}; rows without a month of their own wait in ${code(entry.partitioning.defaultPartition)}.`,
    "",
  ];
  return [
    `### ${entry.name}`,
    "",
    text(entry.comment),
    "",
    ...(partitioning ?? []),
    ...columnTable(entry.columns),
    ...list("Keys", entry.keys.map(definition)),
    ...list(
      "Foreign keys",
      entry.foreignKeys.map(
        (key) =>
          `${code(...key.columns)} refers to ${link(key.refersTo)} (${code(...key.referencedColumns)}), on delete ${key.onDelete}` +
          `${key.onUpdate === "no action" ? "" : `, on update ${key.onUpdate}`}: ${text(key.because)}`,
      ),
    ),
    ...(referrers.length > 0 ? [`Referred to by ${referrers.join(", ")}.`, ""] : []),
    ...list(
      "Checks",
      entry.checks.map((check) => `${definition(check)}${check.validated ? "" : " (rows from before may break it)"}`),
    ),
    ...list("Indexes", entry.indexes.map(index)),
    ...list(
      "Triggers",
      entry.triggers.map(
        ({ name, definition: sql }) =>
          `${code(name)}: ${code(sql.replace(/^CREATE (?:CONSTRAINT )?TRIGGER \S+ /, ""))}`,
      ),
    ),
    ...list("Rights", rights(entry.rights, entry.columns)),
  ];
}

function columnTable(columns: readonly ColumnModel[]): string[] {
  return table(
    ["Column", "Type", "Null", "Default", "Holds"],
    columns.map((column) => [
      code(column.name),
      column.enumName === null ? text(column.type) : link(column.type, ENUMS),
      column.nullable ? "null" : "",
      column.default === null ? "" : code(column.default),
      text(column.comment),
    ]),
  );
}

function foreignKeys(model: SchemaModel): string[] {
  const all = model.tables.flatMap((entry) => entry.foreignKeys.map((key) => ({ table: entry.name, ...key })));
  const onUpdate = new Set(all.map((key) => key.onUpdate));
  return [
    `## ${FOREIGN_KEYS}`,
    "",
    "What deleting the row referred to does, why, and what requests of data subjects do with the rows found through the key,",
    "out of `privacy.user_data`: `delete` them, `scrub` what identifies a person, or `keep` them. An erased user stays as a",
    "nameless row of `users` (docs/adr/0012-schema-deletion.md), so `no action` stops a plain `delete from users` and never an",
    "erasure. A dash: the rows are found through another column of the table.",
    ...(onUpdate.size === 1 ? [`On update: ${[...onUpdate].join()} for all of them; keys don't change.`] : []),
    "",
    ...table(
      ["Table", "Column", "Refers to", "On delete", "Because", "Erasure", "Pseudonymisation"],
      all.map((key) => [
        link(key.table),
        code(...key.columns),
        `${link(key.refersTo)} (${code(...key.referencedColumns)})`,
        key.onDelete,
        text(key.because),
        key.privacy?.erase ?? "–",
        key.privacy?.pseudonymise ?? "–",
      ]),
    ),
  ];
}

function views(model: SchemaModel): string[] {
  const kind = (view: ViewModel) =>
    `${view.updatable ? "updatable, " : ""}with its ${view.invoker ? "caller's" : "owner's"} rights`;
  return [
    `## ${VIEWS}`,
    "",
    ...table(
      ["View", "Shows", "How", "Rights"],
      model.views.map((view) => [
        code(view.name),
        text(view.comment),
        kind(view),
        rights(view.rights, view.columns, true).join("<br>"),
      ]),
    ),
    `## ${MATERIALIZED_VIEWS}`,
    "",
    "Refreshed by `maintenance.refresh_views()`; `maintenance.view_freshness` says when.",
    "",
    ...model.materializedViews.flatMap((view) => [
      `### ${view.name}`,
      "",
      text(view.comment),
      "",
      ...table(
        ["Column", "Type", "Holds"],
        view.columns.map((column) => [code(column.name), text(column.type), text(column.comment)]),
      ),
      ...list("Indexes", view.indexes.map(index)),
      ...list("Rights", rights(view.rights.map(readOnly), view.columns)),
    ]),
  ];
}

function enums(model: SchemaModel): string[] {
  return [
    `## ${ENUMS}`,
    "",
    ...table(
      ["Enum", "Labels", "Columns"],
      model.enums.map(({ name, labels, usedBy }) => [code(name), code(...labels), code(...usedBy)]),
    ),
  ];
}

function functions(model: SchemaModel): string[] {
  return [
    `## ${FUNCTIONS}`,
    "",
    "`ai_workflow_owner` may call all of them, and `aiwdb maintain` and `aiwdb privacy` do; other callers are named.",
    "",
    ...table(
      ["Function", "Gives", "Does", "Other callers"],
      model.functions.map((entry) => [
        `${code(`${entry.name}(${entry.arguments})`)}${entry.kind === "function" ? "" : `, ${entry.kind}`}`,
        entry.result === "" || entry.kind === "trigger function" ? "" : code(entry.result),
        text(entry.comment),
        entry.kind === "trigger function" ? "" : code(...entry.callers),
      ]),
    ),
  ];
}

/** One line per role; in a table's cell only of those that have any. */
function rights(roles: readonly RightsModel[], columns: readonly ColumnModel[], onlySome = false): string[] {
  const names = columns.map(({ name }) => name);
  return roles
    .map(({ role, table: whole, columns: some }) => {
      const parts = Object.entries(some).map(([privilege, granted]) => {
        const hidden = names.filter((name) => !granted.includes(name));
        return hidden.length === 0
          ? privilege
          : hidden.length < granted.length
            ? `${privilege} but for ${code(...hidden)}`
            : `${privilege} of ${code(...granted)}`;
      });
      return { role, held: [...whole, ...parts] };
    })
    .filter(({ held }) => !onlySome || held.length > 0)
    .map(({ role, held }) => `${code(role)}: ${held.join(", ") || "none"}`);
}

/** Default privileges name rights that a materialized view has no use for. */
function readOnly(role: RightsModel): RightsModel {
  return { ...role, table: role.table.filter((privilege) => privilege === "select") };
}

function definition({ name, definition: sql }: DefinitionModel): string {
  return `${code(name)}: ${code(sql)}`;
}

function index({ name, definition: sql }: DefinitionModel): string {
  const [, unique, rest] = /^CREATE (UNIQUE )?INDEX \S+ ON (?:ONLY )?\S+ USING (.*)$/s.exec(sql) ?? [];
  return `${code(name)}: ${unique ? "unique, " : ""}${code(rest ?? sql)}`;
}

function list(title: string, items: readonly string[]): string[] {
  return items.length === 0 ? [] : [`${title}:`, "", ...items.map((item) => `- ${item}`), ""];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`.replaceAll(/ {2,}\|/g, " |");
  return [line(head), line(head.map(() => "---")), ...rows.map(line), ""];
}

/** A heading of this page, by the anchor that renderers of Markdown give it. */
function link(label: string, heading = label): string {
  const anchor = heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}_ -]/gu, "")
    .replaceAll(" ", "-");
  return `[${label}](#${anchor})`;
}

function code(...names: string[]): string {
  return names.map((name) => `\`${name.replaceAll(/\s+/g, " ")}\``).join(", ");
}

/** Comments are plain text; what looks like a tag or emphasis stays what it is, and `code` stays code. */
function text(comment: string): string {
  return comment
    .split(/(`[^`]*`)/)
    .map((part, at) => (at % 2 === 1 ? part : part.replaceAll(/[<*[]/g, "\\$&")))
    .join("")
    .replaceAll(/\s+/g, " ");
}

function firstSentence(comment: string): string {
  return /^.*?[.;](?=\s|$)/s.exec(comment)?.[0].replace(/[.;]$/, "") ?? comment;
}

function sum<T>(entries: readonly T[], count: (entry: T) => number): number {
  return entries.reduce((total, entry) => total + count(entry), 0);
}
