import { instance } from "@viz-js/viz";
import house from "../house.json" with { type: "json" };
import { FONT, toSvg } from "./svg.ts";

interface Room {
  readonly room: string;
  readonly subject: string;
  /** Floors inside the room, from the top. */
  readonly floors?: readonly (readonly Room[])[];
}

/** Characters of a subject on one line. */
const LINE = 36;

/**
 * Draws docs/house.svg: the rooms of the package, floor by floor. The lint rule for imports uses the same data.
 */
export async function renderHouse(): Promise<string> {
  const floors: readonly (readonly Room[])[] = house.floors;
  const label = table(
    floors.map((rooms) => row([cell(table([row(rooms.map(roomCell))]), 'border="0"')])),
    'border="0" cellspacing="4"',
  );
  const graph = {
    graphAttributes: { rankdir: "LR", margin: 0.1, nodesep: 0.1 },
    nodeAttributes: { shape: "plain", fontname: FONT, fontsize: 11 },
    nodes: [{ name: "house", attributes: { label: { html: label } } }],
  };
  return toSvg(await instance(), graph, "dot");
}

function roomCell({ room, subject, floors = [] }: Room): string {
  const name = `<b>${room}/</b><br/><font color="#555555">${wrap(subject)}</font>`;
  if (floors.length === 0) return cell(name, 'border="1" cellpadding="8" bgcolor="#eef3fa" color="#2b5c99"');
  const inner = floors.map((rooms) => row([cell(table([row(rooms.map(roomCell))]), 'border="0"')]));
  const content = table([row([cell(name, 'border="0"')]), ...inner], 'border="0" cellspacing="2"');
  return cell(content, 'border="1" cellpadding="4" bgcolor="#fbfcfe" color="#2b5c99"');
}

const table = (rows: readonly string[], attributes = 'border="0" cellspacing="8"') =>
  `<table ${attributes}>${rows.join("")}</table>`;
const row = (cells: readonly string[]) => `<tr>${cells.join("")}</tr>`;
const cell = (content: string, attributes: string) => `<td ${attributes}>${content}</td>`;

function wrap(text: string): string {
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = `${lines.at(-1)} ${word}`.trim();
    if (line.length <= LINE) lines[lines.length - 1] = line;
    else lines.push(word);
  }
  return lines.map((line) => line.replaceAll("&", "&amp;").replaceAll("<", "&lt;")).join("<br/>");
}
