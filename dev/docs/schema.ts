import { renderDiagrams } from "./schema-diagram.ts";
import {
  GROUPS,
  type ColumnModel,
  type DefinitionModel,
  type RightsModel,
  type SchemaModel,
  type TableModel,
} from "./schema-model.ts";

/** docs/schema.md and its diagrams, by their path in the package. Equal for equal schemas. */
export async function renderSchemaFiles(model: SchemaModel): Promise<Record<string, string>> {
  const diagrams = Object.entries(await renderDiagrams(model));
  return {
    "docs/schema.md": renderSchema(model),
    ...Object.fromEntries(diagrams.map(([name, svg]) => [`docs/schema/${name}.svg`, svg])),
  };
}

const ENUMS = "Enums";

function renderSchema(model: SchemaModel): string {
  const { tables, views, materializedViews, enums } = model;
  const groups = [...Map.groupBy(tables, ({ group }) => group)];
  const sections: [title: string, lines: string[]][] = [
    ["Overview", overview(model)],
    ...groups.map(([group, members]): [string, string[]] => [
      GROUPS[group],
      [
        `![Tables of the group ${GROUPS[group]}](schema/${group}.svg)`,
        "",
        ...members.flatMap((table) => renderTable(model, table)),
      ],
    ]),
    ["Foreign keys and privacy requests", foreignKeys(model)],
    ["Views", renderViews(model)],
    ["Materialized views", renderMaterializedViews(model)],
    [ENUMS, renderEnums(model)],
    ["Functions", renderFunctions(model)],
  ];
  const lines = [
    "# Schema",
    "",
    "<!-- Generated from a stack's catalogue by `npm run docs`; changes are overwritten. -->",
    "",
    `${tables.length} tables with ${columnsOf(tables).length} columns and ` +
      `${foreignKeysOf(tables).length} foreign keys, ${views.length} views, ` +
      `${materializedViews.length} materialized views, ${enums.length} enums. Names without a schema are in \`public\`. ` +
      "Why things are as they are: [schema-decisions.md](schema-decisions.md).",
    "",
    "Not shown: `pgmigrations`, where the runner keeps its record, and the monthly partitions that maintenance makes and drops.",
    "The owner of everything is `ai_workflow_owner`; rights are those of the roles that come through the pooler.",
    "",
    ...sections.map(([title]) => `- ${link(title)}`),
    "",
    ...sections.flatMap(([title, content]) => [`## ${title}`, "", ...content]),
  ];
  return `${lines.join("\n").trimEnd()}\n`;
}

const columnsOf = (tables: readonly TableModel[]) => tables.flatMap(({ columns }) => columns);
const foreignKeysOf = (tables: readonly TableModel[]) =>
  tables.flatMap(({ name, foreignKeys }) => foreignKeys.map((key) => ({ ...key, table: name })));

function overview({ tables }: SchemaModel): string[] {
  const all = foreignKeysOf(tables);
  const counts = (some: readonly TableModel[]) =>
    [
      columnsOf(some).length,
      foreignKeysOf(some).length,
      all.filter(({ refersTo }) => some.some(({ name }) => name === refersTo)).length,
      some.flatMap(({ indexes, keys }) => [...indexes, ...keys]).length,
    ].map(String);
  return [
    "● refers to `users`. Ends of lines: two bars for one, bar and circle for none or one, circle and crow's foot for any number.",
    "",
    "![All tables by group](schema/overview.svg)",
    "",
    ...markdownTable(
      ["Group", "Tables", "Columns", "Foreign keys", "Referred to", "Indexes"],
      [...Map.groupBy(tables, ({ group }) => group)].map(([group, members]) => [
        link(GROUPS[group]),
        String(members.length),
        ...counts(members),
      ]),
    ),
    ...markdownTable(
      ["Table", "Group", "Columns", "Foreign keys", "Referred to", "Indexes", "Holds"],
      tables.map((table) => [
        link(table.name),
        GROUPS[table.group],
        ...counts([table]),
        text(firstSentence(table.comment)),
      ]),
    ),
  ];
}

function renderTable({ tables }: SchemaModel, entry: TableModel): string[] {
  const referring = foreignKeysOf(tables).filter(({ refersTo }) => refersTo === entry.name);
  const referrers = [...Map.groupBy(referring, ({ table }) => table)].map(
    ([table, keys]) => `${link(table)} (${code(...keys.flatMap(({ columns }) => columns))})`,
  );
  const { partitioning } = entry;
  return [
    `### ${entry.name}`,
    "",
    text(entry.comment),
    "",
    ...(partitioning
      ? [
          `Partitioned by month: ${code(partitioning.key)}; rows without a month of their own wait in ${code(partitioning.defaultPartition)}.`,
          "",
        ]
      : []),
    ...markdownTable(
      ["Column", "Type", "Null", "Default", "Holds"],
      entry.columns.map((column) => [
        code(column.name),
        column.enumName === null ? text(column.type) : link(column.type, ENUMS),
        column.nullable ? "null" : "",
        column.default === null ? "" : code(column.default),
        text(column.comment),
      ]),
    ),
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

function foreignKeys({ tables }: SchemaModel): string[] {
  const all = foreignKeysOf(tables);
  const onUpdate = new Set(all.map((key) => key.onUpdate));
  return [
    "What deleting the row referred to does, why, and what requests of data subjects do with the rows found through the key,",
    "out of `privacy.user_data`: `delete` them, `scrub` what identifies a person, or `keep` them. An erased user stays as a",
    "nameless row of `users` (docs/adr/0012-schema-deletion.md), so `no action` stops a plain `delete from users` and never an",
    "erasure. A dash: the rows are found through another column of the table.",
    ...(onUpdate.size === 1 ? [`On update: ${[...onUpdate].join()} for all of them; keys don't change.`] : []),
    "",
    ...markdownTable(
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

function renderViews({ views }: SchemaModel): string[] {
  return markdownTable(
    ["View", "Shows", "How", "Rights"],
    views.map((view) => [
      code(view.name),
      text(view.comment),
      `${view.updatable ? "updatable, " : ""}with its ${view.invoker ? "caller's" : "owner's"} rights`,
      rights(view.rights, view.columns, true).join("<br>"),
    ]),
  );
}

function renderMaterializedViews({ materializedViews }: SchemaModel): string[] {
  return [
    "Refreshed by `maintenance.refresh_views()`; `maintenance.view_freshness` says when.",
    "",
    ...materializedViews.flatMap((view) => [
      `### ${view.name}`,
      "",
      text(view.comment),
      "",
      ...markdownTable(
        ["Column", "Type", "Holds"],
        view.columns.map((column) => [code(column.name), text(column.type), text(column.comment)]),
      ),
      ...list("Indexes", view.indexes.map(index)),
      ...list("Rights", rights(view.rights.map(readOnly), view.columns)),
    ]),
  ];
}

function renderEnums({ enums }: SchemaModel): string[] {
  return markdownTable(
    ["Enum", "Labels", "Columns"],
    enums.map(({ name, labels, usedBy }) => [code(name), code(...labels), code(...usedBy)]),
  );
}

function renderFunctions({ functions }: SchemaModel): string[] {
  return [
    "`ai_workflow_owner` may call all of them, and `aiwdb maintain` and `aiwdb privacy` do; other callers are named.",
    "",
    ...markdownTable(
      ["Function", "Gives", "Does", "Other callers"],
      functions.map(({ name, kind, arguments: takes, result, comment, callers }) => [
        `${code(`${name}(${takes})`)}${kind === "function" ? "" : `, ${kind}`}`,
        kind === "function" ? code(result) : "",
        text(comment),
        kind === "trigger function" ? "" : code(...callers),
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

function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
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
