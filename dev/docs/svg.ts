import type { Graph, Viz } from "@viz-js/viz";

/** Widths of text are computed from the metrics of the first font; the others have nearly the same. */
export const FONT = "Arial";
const FONT_FAMILY = "Arial, Helvetica, 'Liberation Sans', sans-serif";

/** A graph as SVG: equal for equal graphs, with the fonts that a reader's machine has. */
export function toSvg(viz: Viz, graph: Graph, engine: "dot" | "nop"): string {
  return viz
    .renderString(graph, { format: "svg", engine })
    .replace(/^[\s\S]*?(?=<svg)/, "")
    .replaceAll(/^<!-- .* -->\n/gm, "")
    .replaceAll(`font-family="${FONT}"`, `font-family="${FONT_FAMILY}"`);
}
