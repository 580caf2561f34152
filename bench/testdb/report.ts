import type { Row } from "../measure.ts";

/** Memory and disk over 10,000 databases instead of 2,000. */
export const long = process.argv.includes("--long");
/** `--quick`: a tenth of everything, to see that the benchmark works. Its figures mean nothing. */
export const quick = process.argv.includes("--quick");
export const some = (count: number) => (quick ? Math.ceil(count / 10) : count);

/** Comparisons of two sides. */
export const rows: Row[] = [];
/** The Markdown. */
export const lines: string[] = [];
export const say = (line = "") => {
  lines.push(line);
  process.stdout.write(`${line}\n`);
};
export const quantile = (all: readonly number[], q: number) =>
  all.toSorted((a, b) => a - b)[Math.min(all.length - 1, Math.floor(all.length * q))] ?? Number.NaN;
export const ms = (time: number) => time.toFixed(time < 10 ? 2 : 1);
export const spread = (all: readonly number[]) => [0, 0.5, 0.95, 0.99].map((q) => ms(quantile(all, q))).join(" | ");
/** Begins a section, with the head of its table. */
export const section = (title: string, ...columns: string[]) => {
  for (const line of ["", `## ${title}`, ""]) say(line);
  if (columns.length > 0) head(...columns);
};
/** Head of a table of `spread`s. */
export const TIMES = ["what", "min", "median", "p95", "p99"] as const;
/** Notes the comparison of two sides. */
export const compare = (
  name: string,
  floor: readonly number[],
  ours: readonly number[],
  target?: Row["target"],
  unit = "ms",
) => rows.push({ name, unit, floor, ours, ...(target ? { target } : {}) });
export const head = (...columns: string[]) => {
  say(`| ${columns.join(" | ")} |`);
  say(`|${columns.map(() => "---|").join("")}`);
};
