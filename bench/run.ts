import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describeMachine } from "./machine.ts";
import { table, type Benchmark } from "./measure.ts";

const BENCHMARKS: Readonly<Record<string, () => Promise<{ default: Benchmark }>>> = {
  preview: () => import("./preview.ts"),
  up: () => import("./up.ts"),
  pooler: () => import("./pooler.ts"),
  compat: () => import("./compat.ts"),
  binding: () => import("./binding.ts"),
  migrations: () => import("./migrations.ts"),
  testdb: () => import("./testdb.ts"),
  checksum: () => import("./checksum.ts"),
  partitions: () => import("./partitions.ts"),
};

const names = process.argv.slice(2);
const unknown = names.filter((name) => !(name in BENCHMARKS));
if (unknown.length > 0) {
  process.stderr.write(
    `There is no benchmark ${unknown.join(", ")}; there are ${Object.keys(BENCHMARKS).join(", ")}.\n`,
  );
  process.exit(2);
}

const report = (line: string) => process.stderr.write(`· ${line}\n`);
for (const name of names.length > 0 ? names : Object.keys(BENCHMARKS)) {
  const { default: benchmark } = await (BENCHMARKS[name] as () => Promise<{ default: Benchmark }>)();
  report(`${name}: ${benchmark.question}`);
  const machine = await describeMachine();
  const { rows, notes, details } = await benchmark.run(report);
  const date = new Date().toISOString().slice(0, 10);
  const text = [
    `# ${name}`,
    benchmark.question,
    `${date}. ${machine}.`,
    ...(rows.length > 0 ? [table(rows)] : []),
    ...(notes.length > 0 ? [notes.map((note) => `- ${note}`).join("\n")] : []),
    ...(details === undefined ? [] : [details.replaceAll(/^#/gm, "##")]),
  ].join("\n\n");
  process.stdout.write(`${text}\n`);
  const folder = join(import.meta.dirname, "results");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${date}-${name}.md`), `${text}\n`);
}
