/** Milliseconds or another figure of one kind, one per repetition. */
export type Samples = readonly number[];

/** One comparison: ours against the floor. */
export interface Row {
  readonly name: string;
  readonly unit: string;
  readonly floor: Samples;
  readonly ours: Samples;
  /** The wanted ratio of ours to the floor, both as medians. A row without a target is for information. */
  readonly target?: { readonly atMost: number } | { readonly atLeast: number };
}

/** What a benchmark found. */
export interface Findings {
  readonly rows: readonly Row[];
  /** Lines below the table: where the time goes, figures that are no ratio. */
  readonly notes: readonly string[];
  /** Markdown below the notes: tables that are no comparison of two sides. */
  readonly details?: string;
}

export interface Benchmark {
  readonly question: string;
  run(report: (line: string) => void): Promise<Findings>;
}

export const REPETITIONS = 5;

export function median(samples: Samples): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

/** How long `work` takes, in milliseconds. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/**
 * Measures both sides in turns, so that a machine that is slow for a while is slow for both.
 *
 * @param floor, ours return the figure of one repetition
 */
export async function inTurns(
  floor: () => Promise<number>,
  ours: () => Promise<number>,
  repetitions: number = REPETITIONS,
): Promise<{ floor: number[]; ours: number[] }> {
  const samples = { floor: [] as number[], ours: [] as number[] };
  for (let round = 0; round < repetitions; round++) {
    samples.floor.push(await floor());
    samples.ours.push(await ours());
  }
  return samples;
}

const shown = (value: number) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));

function verdict({ floor, ours, target }: Row): { ratio: string; wanted: string; met: string } {
  const ratio = median(ours) / median(floor);
  if (!target) return { ratio: ratio.toFixed(2), wanted: "", met: "" };
  const met = "atMost" in target ? ratio <= target.atMost : ratio >= target.atLeast;
  const wanted = "atMost" in target ? `at most ${target.atMost}` : `at least ${target.atLeast}`;
  return { ratio: ratio.toFixed(2), wanted, met: met ? "yes" : "no" };
}

/** The rows as a Markdown table, medians with the smallest sample in brackets. */
export function table(rows: readonly Row[]): string {
  const cell = (samples: Samples, unit: string) => `${shown(median(samples))} ${unit} (${shown(Math.min(...samples))})`;
  const lines = rows.map((row) => {
    const { ratio, wanted, met } = verdict(row);
    return `| ${row.name} | ${cell(row.floor, row.unit)} | ${cell(row.ours, row.unit)} | ${ratio} | ${wanted} | ${met} |`;
  });
  return [
    "| | floor: median (min) | ours: median (min) | ratio | target | met |",
    "| --- | --- | --- | --- | --- | --- |",
    ...lines,
  ].join("\n");
}
