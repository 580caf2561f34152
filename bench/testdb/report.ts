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
export const quantile = (times: readonly number[], q: number) =>
  times.toSorted((a, b) => a - b)[Math.min(times.length - 1, Math.floor(times.length * q))] ?? Number.NaN;
export const ms = (time: number) => time.toFixed(time < 10 ? 2 : 1);
export const spread = (times: readonly number[]) =>
  `${ms(quantile(times, 0))} | ${ms(quantile(times, 0.5))} | ${ms(quantile(times, 0.95))} | ${ms(quantile(times, 0.99))}`;
export const head = (...columns: string[]) => {
  say(`| ${columns.join(" | ")} |`);
  say(`|${columns.map(() => "---|").join("")}`);
};
