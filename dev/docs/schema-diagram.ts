import { instance, type Graph } from "@viz-js/viz";
import { GROUPS, type ForeignKeyModel, type Group, type SchemaModel, type TableModel } from "./schema-model.ts";
import { FONT, toSvg } from "./svg.ts";

/** The table that almost every other refers to: edges to it would hide all others, so the overview counts them. */
const HUB = "users";

/** Fill and line of each group's tables. */
const COLOURS: Readonly<Record<Group, readonly [fill: string, line: string]>> = {
  core: ["#fde9c8", "#9a6700"],
  auth: ["#d9e8fb", "#2b5c99"],
  "2fa": ["#dfe3fa", "#4a4fa8"],
  sessions: ["#d5eef0", "#1d6f78"],
  security: ["#fbdcd9", "#a3372d"],
  audit: ["#eadcf5", "#6f3d99"],
  app: ["#daf0d8", "#2f7030"],
  agents: ["#f0ecc9", "#6d6413"],
  memory: ["#fadcea", "#99386a"],
  maintenance: ["#e4e4e4", "#555555"],
};
const GREY = ["#f2f2f2", "#8a8a8a"] as const;

type Attributes = Record<string, string | number | boolean | { html: string }>;
type Groups = ReadonlyMap<Group, readonly TableModel[]>;

/** SVG by name: `overview`, and one per group. Equal for equal schemas. */
export async function renderDiagrams({ tables }: SchemaModel): Promise<Record<string, string>> {
  const viz = await instance();
  const groups = Map.groupBy(tables, ({ group }) => group);
  const diagrams: Record<string, string> = { overview: toSvg(viz, overviewGraph(tables, groups), "nop") };
  for (const [group, members] of groups) diagrams[group] = toSvg(viz, groupGraph(tables, members), "dot");
  return diagrams;
}

/** Groups per column of the overview: of like height, and neighbours where a key leads from one group to another. */
const OVERVIEW_COLUMNS: readonly (readonly Group[])[] = [
  ["core", "maintenance", "auth", "2fa", "sessions", "security"],
  ["app", "agents", "memory", "audit"],
];
/** In points. */
const CELL = { width: 196, height: 20, columnGap: 48, rowGap: 8 } as const;
const FRAME = { padding: 10, title: 22, gap: 14, columnGap: 40 } as const;
const FRAME_WIDTH = 2 * CELL.width + CELL.columnGap + 2 * FRAME.padding;

/** Tables in the cells of a grid two wide, referring ones to the right of what they refer to. */
function placeTables(tables: readonly TableModel[]): Map<string, { readonly row: number; readonly column: 0 | 1 }> {
  const names = new Set(tables.map(({ name }) => name));
  const places = new Map<string, { row: number; column: 0 | 1 }>();
  const parentOf = ({ name, foreignKeys }: TableModel) =>
    foreignKeys
      .map(({ refersTo }) => refersTo)
      .find((parent) => parent !== HUB && parent !== name && names.has(parent));
  let rows = 0;
  for (const parent of tables.filter((table) => parentOf(table) === undefined)) {
    const family = [parent.name];
    for (const member of family)
      family.push(...tables.filter((table) => parentOf(table) === member).map(({ name }) => name));
    if (family.length === 1) continue;
    places.set(parent.name, { row: rows, column: 0 });
    for (const child of family.slice(1)) places.set(child, { row: rows++, column: 1 });
  }
  const taken = new Set([...places.values()].map(({ row, column }) => 2 * row + column));
  let cell = 0;
  for (const { name } of tables.filter((table) => !places.has(table.name))) {
    while (taken.has(cell)) cell++;
    places.set(name, { row: Math.floor(cell / 2), column: cell % 2 === 0 ? 0 : 1 });
    cell++;
  }
  return places;
}

function overviewGraph(all: readonly TableModel[], groups: Groups): Graph {
  const nodes: { name: string; attributes: Attributes }[] = [];
  const frames: { name: string; graphAttributes: Attributes }[] = [];
  const middles = new Map<string, number>();
  for (const [at, members] of OVERVIEW_COLUMNS.entries()) {
    const left = at * (FRAME_WIDTH + FRAME.columnGap);
    let top = 0;
    for (const group of members) {
      const tables = groups.get(group) ?? [];
      if (tables.length === 0) continue;
      const places = placeTables(tables);
      const rows = Math.max(...[...places.values()].map(({ row }) => row)) + 1;
      const height = FRAME.title + rows * (CELL.height + CELL.rowGap) - CELL.rowGap + FRAME.padding;
      const [fillcolor, color] = COLOURS[group];
      frames.push({
        name: `cluster_${group}`,
        graphAttributes: {
          label: GROUPS[group],
          bb: `${left},${top - height},${left + FRAME_WIDTH},${top}`,
          lp: `${left + FRAME_WIDTH / 2},${top - FRAME.title / 2}`,
          color,
          fontcolor: color,
        },
      });
      for (const { name, foreignKeys } of tables) {
        const { row, column } = places.get(name)!;
        const x = left + FRAME.padding + CELL.width / 2 + column * (CELL.width + CELL.columnGap);
        const y = top - FRAME.title - CELL.height / 2 - row * (CELL.height + CELL.rowGap);
        const label = foreignKeys.some(({ refersTo }) => refersTo === HUB) ? `${name} ●` : name;
        const penwidth = name === HUB ? 2.5 : 1;
        nodes.push({ name, attributes: { label, pos: `${x},${y}!`, fillcolor, color, penwidth } });
        middles.set(name, x);
      }
      top -= height + FRAME.gap;
    }
  }
  // One edge for all keys between the same two tables.
  const edges = new Map<string, { tail: string; head: string; attributes: Attributes }>();
  for (const table of all) {
    for (const key of table.foreignKeys.filter(({ refersTo }) => refersTo !== HUB)) {
      const headport = middles.get(key.refersTo) === middles.get(table.name) ? "e" : "w";
      const attributes = { ...crowsFoot(table, key), tailport: "e", headport };
      edges.set(`${key.refersTo} ${table.name}`, { tail: key.refersTo, head: table.name, attributes });
    }
  }
  const size = { width: CELL.width / 72, height: CELL.height / 72, fixedsize: true };
  return {
    directed: true,
    graphAttributes: { fontname: FONT, fontsize: 13, bgcolor: "white", pad: 0.15, splines: true, esep: 3 },
    nodeAttributes: { shape: "box", style: "filled", fontname: FONT, fontsize: 11, ...size },
    edgeAttributes: { arrowsize: 0.7, color: "#444444" },
    nodes,
    edges: [...edges.values()],
    subgraphs: frames,
  };
}

/** From so many tables on, half of those that refer to the hub only stand on its other side. */
const TWO_SIDED = 8;

function groupGraph(all: readonly TableModel[], tables: readonly TableModel[]): Graph {
  const referred = new Set(tables.flatMap(({ foreignKeys }) => foreignKeys.map(({ refersTo }) => refersTo)));
  const external = all.filter((table) => referred.has(table.name) && !tables.includes(table));
  const refers = ({ foreignKeys }: TableModel) => foreignKeys.some(({ refersTo }) => refersTo === HUB);
  const alone = tables.filter(({ name, foreignKeys }) => foreignKeys.length === 0 && !referred.has(name));
  const leaves = tables.filter(
    (table) =>
      refers(table) && !referred.has(table.name) && table.foreignKeys.every(({ refersTo }) => refersTo === HUB),
  );
  const turned = Math.max(0, Math.floor((tables.filter(refers).length - alone.length) / 2));
  const left = new Set(tables.length < TWO_SIDED ? [] : leaves.slice(0, turned));

  const edges = tables.flatMap((table) =>
    table.foreignKeys.map((key) => {
      const { arrowtail, arrowhead } = crowsFoot(table, key);
      const one = { node: key.refersTo, arrow: arrowtail, port: key.referencedColumns[0]! };
      const many = { node: table.name, arrow: arrowhead, port: key.columns[0]! };
      const [tail, head] = left.has(table) ? [many, one] : [one, many];
      const attributes = {
        dir: "both",
        arrowtail: tail.arrow,
        arrowhead: head.arrow,
        tailport: `${tail.port} right:e`,
        headport: `${head.port}:w`,
        label: key.onDelete,
      };
      return { tail: tail.node, head: head.node, attributes };
    }),
  );
  const node = (table: TableModel, keyOnly: boolean) => ({
    name: table.name,
    attributes: { label: { html: box(table, keyOnly) } },
  });
  return {
    directed: true,
    graphAttributes: { rankdir: "LR", nodesep: 0.25, ranksep: 1.1, bgcolor: "white", pad: 0.2 },
    nodeAttributes: { shape: "plain", fontname: FONT, fontsize: 11 },
    edgeAttributes: { fontname: FONT, fontsize: 9, fontcolor: "#444444", color: "#444444", arrowsize: 0.8 },
    nodes: [...external.map((table) => node(table, true)), ...tables.map((table) => node(table, false))],
    edges,
  };
}

/** The ends of an edge. The tail is the table referred to: one row, or none or one. The head is the one that refers. */
function crowsFoot(table: TableModel, key: ForeignKeyModel) {
  const nullable = table.columns.some((column) => column.nullable && key.columns.includes(column.name));
  const unique = [table.primaryKey, ...table.uniqueKeys].some(
    (columns) => columns.length > 0 && columns.every((name) => key.columns.includes(name)),
  );
  return { dir: "both", arrowtail: nullable ? "teeodot" : "teetee", arrowhead: unique ? "teeodot" : "crowodot" };
}

/** A table with the columns that say what it is: keys, partition, enums. With `keyOnly`: its primary key, in grey. */
function box(table: TableModel, keyOnly: boolean): string {
  const [fill, line] = keyOnly ? GREY : COLOURS[table.group];
  const foreign = table.foreignKeys.flatMap(({ columns }) => columns);
  const keys = Object.entries({
    PK: new Set(table.primaryKey),
    ...(keyOnly ? {} : { FK: new Set(foreign), U: new Set(table.uniqueKeys.flat()) }),
  });
  const rows = table.columns.flatMap(({ name, type, enumName }) => {
    const marks = keys.filter(([, columns]) => columns.has(name)).map(([mark]) => mark);
    if (marks.length === 0 && (keyOnly || enumName === null)) return [];
    const mark = marks.length > 0 ? `<font point-size="9" color="${line}">${marks.join(" ")}</font>` : "";
    return [
      `<tr><td align="left" port="${name}">${mark}</td><td align="left">${escape(name)}</td>` +
        `<td align="left" port="${name} right"><font color="#555555">${escape(shortType(type))}</font></td></tr>`,
    ];
  });
  const more = table.columns.length - rows.length;
  return (
    `<table border="1" cellborder="0" cellspacing="0" cellpadding="3" color="${line}" bgcolor="white">` +
    `<tr><td colspan="3" bgcolor="${fill}"><b>${escape(table.name)}</b></td></tr>${rows.join("")}` +
    (more > 0 && !keyOnly
      ? `<tr><td colspan="3" align="left"><font point-size="9" color="#777777">${more} more columns</font></td></tr>`
      : "") +
    "</table>"
  );
}

function shortType(type: string): string {
  return type
    .replace("character varying", "varchar")
    .replace("timestamp with time zone", "timestamptz")
    .replace("double precision", "float8");
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
