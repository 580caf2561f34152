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
interface Edge {
  readonly tail: string;
  readonly head: string;
  readonly attributes: Attributes;
}

/** SVG by name: `overview`, and one per group. Equal for equal schemas. */
export async function renderDiagrams(model: SchemaModel): Promise<Record<string, string>> {
  const viz = await instance();
  const groups = (Object.keys(GROUPS) as Group[]).filter((group) =>
    model.tables.some((table) => table.group === group),
  );
  const diagrams: Record<string, string> = { overview: toSvg(viz, overviewGraph(model, groups), "nop") };
  for (const group of groups) diagrams[group] = toSvg(viz, groupGraph(model, group), "dot");
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

function overviewGraph(model: SchemaModel, groups: readonly Group[]): Graph {
  const nodes: { name: string; attributes: Attributes }[] = [];
  const frames: { name: string; graphAttributes: Attributes }[] = [];
  for (const [at, members] of OVERVIEW_COLUMNS.entries()) {
    const left = at * (FRAME_WIDTH + FRAME.columnGap);
    let top = 0;
    for (const group of members.filter((member) => groups.includes(member))) {
      const tables = model.tables.filter((table) => table.group === group);
      const places = placeTables(tables);
      const rows = Math.max(...[...places.values()].map(({ row }) => row)) + 1;
      const height = FRAME.title + rows * (CELL.height + CELL.rowGap) - CELL.rowGap + FRAME.padding;
      const [fill, line] = COLOURS[group];
      frames.push({
        name: `cluster_${group}`,
        graphAttributes: {
          label: GROUPS[group],
          bb: `${left},${top - height},${left + FRAME_WIDTH},${top}`,
          lp: `${left + FRAME_WIDTH / 2},${top - FRAME.title / 2}`,
          color: line,
          fontcolor: line,
        },
      });
      for (const table of tables) {
        const { row, column } = places.get(table.name)!;
        const x = left + FRAME.padding + CELL.width / 2 + column * (CELL.width + CELL.columnGap);
        const y = top - FRAME.title - CELL.height / 2 - row * (CELL.height + CELL.rowGap);
        const label = table.foreignKeys.some(({ refersTo }) => refersTo === HUB) ? `${table.name} ●` : table.name;
        const look = { fillcolor: fill, color: line, penwidth: table.name === HUB ? 2.5 : 1 };
        nodes.push({ name: table.name, attributes: { label, pos: `${x},${y}!`, ...look } });
      }
      top -= height + FRAME.gap;
    }
  }
  const columnOf = (name: string) =>
    (nodes.find((node) => node.name === name)!.attributes["pos"] as string).split(",")[0];
  const pairs = new Map<string, Edge>();
  for (const table of model.tables) {
    for (const key of table.foreignKeys.filter(({ refersTo }) => refersTo !== HUB)) {
      const headport = columnOf(key.refersTo) === columnOf(table.name) ? "e" : "w";
      const attributes = { ...crowsFoot(table, key), tailport: "e", headport };
      pairs.set(`${key.refersTo} ${table.name}`, { tail: key.refersTo, head: table.name, attributes });
    }
  }
  return {
    directed: true,
    graphAttributes: { fontname: FONT, fontsize: 13, bgcolor: "white", pad: 0.15, splines: true, esep: 3 },
    nodeAttributes: {
      shape: "box",
      style: "filled",
      fontname: FONT,
      fontsize: 11,
      width: CELL.width / 72,
      height: CELL.height / 72,
      fixedsize: true,
    },
    edgeAttributes: { arrowsize: 0.7, color: "#444444" },
    nodes,
    edges: [...pairs.values()],
    subgraphs: frames,
  };
}

/** From so many tables on, those that refer to the hub only stand on both sides of it. */
const TWO_SIDED = 8;

function groupGraph(model: SchemaModel, group: Group): Graph {
  const tables = model.tables.filter((table) => table.group === group);
  const names = new Set(tables.map(({ name }) => name));
  const referred = new Set(tables.flatMap(({ foreignKeys }) => foreignKeys.map(({ refersTo }) => refersTo)));
  const external = model.tables.filter(({ name }) => referred.has(name) && !names.has(name));
  const toHub = tables.filter(({ foreignKeys }) => foreignKeys.some(({ refersTo }) => refersTo === HUB));
  const alone = tables.filter(({ name, foreignKeys }) => foreignKeys.length === 0 && !referred.has(name));
  const leaves = toHub.filter(
    ({ name, foreignKeys }) => !referred.has(name) && foreignKeys.every(({ refersTo }) => refersTo === HUB),
  );
  const turned = tables.length < TWO_SIDED ? 0 : Math.max(0, Math.floor((toHub.length - alone.length) / 2));
  const left = new Set(leaves.slice(0, turned).map(({ name }) => name));

  const edges = tables.flatMap((table) =>
    table.foreignKeys.map((key): Edge => {
      const feet = crowsFoot(table, key);
      const one = { node: key.refersTo, arrow: feet["arrowtail"]!, port: key.referencedColumns[0]! };
      const many = { node: table.name, arrow: feet["arrowhead"]!, port: key.columns[0]! };
      const [tail, head] = left.has(table.name) ? [many, one] : [one, many];
      const ends = {
        arrowtail: tail.arrow,
        arrowhead: head.arrow,
        tailport: `${tail.port} right:e`,
        headport: `${head.port}:w`,
      };
      return { tail: tail.node, head: head.node, attributes: { dir: "both", ...ends, label: key.onDelete } };
    }),
  );
  return {
    directed: true,
    graphAttributes: { rankdir: "LR", nodesep: 0.25, ranksep: 1.1, bgcolor: "white", pad: 0.2 },
    nodeAttributes: { shape: "plain", fontname: FONT, fontsize: 11 },
    edgeAttributes: { fontname: FONT, fontsize: 9, fontcolor: "#444444", color: "#444444", arrowsize: 0.8 },
    nodes: [
      ...external.map((table) => ({ name: table.name, attributes: { label: { html: box(table, GREY, true) } } })),
      ...tables.map((table) => ({
        name: table.name,
        attributes: { label: { html: box(table, COLOURS[group], false) } },
      })),
    ],
    edges,
  };
}

/** From the table referred to, which is the tail, to the one that refers: one, or none or one, to one or many. */
function crowsFoot(table: TableModel, key: ForeignKeyModel): Attributes {
  const nullable = key.columns.some((name) => table.columns.find((column) => column.name === name)?.nullable);
  const unique = [table.primaryKey, ...table.uniqueKeys].some(
    (columns) => columns.length > 0 && columns.every((name) => key.columns.includes(name)),
  );
  return { dir: "both", arrowtail: nullable ? "teeodot" : "teetee", arrowhead: unique ? "teeodot" : "crowodot" };
}

/** A table with the columns that say what it is: keys, partition, enums. */
function box(table: TableModel, [fill, line]: readonly [string, string], keyOnly: boolean): string {
  const foreign = new Set(table.foreignKeys.flatMap(({ columns }) => columns));
  const unique = new Set(table.uniqueKeys.flat());
  const rows = table.columns.flatMap((column) => {
    const marks = [
      ...(table.primaryKey.includes(column.name) ? ["PK"] : []),
      ...(foreign.has(column.name) && !keyOnly ? ["FK"] : []),
      ...(unique.has(column.name) && !keyOnly ? ["U"] : []),
    ];
    if (marks.length === 0 && (keyOnly || column.enumName === null)) return [];
    return [
      `<tr><td align="left" port="${column.name}">${marks.length > 0 ? `<font point-size="9" color="${line}">${marks.join(" ")}</font>` : ""}</td>` +
        `<td align="left">${escape(column.name)}</td><td align="left" port="${column.name} right"><font color="#555555">${escape(shortType(column.type))}</font></td></tr>`,
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
