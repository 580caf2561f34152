import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Benchmark, Row } from "./measure.ts";

export default {
  question:
    "What does a test database cost: from the warm pool, cold, reset, under parallel takers, and until the first one is there?",
  async run() {
    const folder = mkdtempSync(path.join(tmpdir(), "aiwdb-bench-testdb-"));
    const file = path.join(folder, "report.json");
    const long = process.env["AIWDB_BENCH_LONG"] ? ["--long"] : [];
    // In another process, which keeps connections, pools and a home of its own. Killing it ends them all.
    const code = await new Promise<number | null>((resolve, reject) => {
      const child = spawn(
        process.execPath,
        [path.join(import.meta.dirname, "testdb/run.ts"), "--report", file, ...long],
        {
          stdio: ["ignore", "ignore", "inherit"],
        },
      );
      child.once("error", reject);
      child.once("close", resolve);
    });
    if (code !== 0) throw new Error(`bench/testdb/run.ts ended with ${code}`);
    const { rows, text } = JSON.parse(readFileSync(file, "utf8")) as { rows: Row[]; text: string };
    rmSync(folder, { recursive: true });
    return { rows, notes: [], details: text };
  },
} satisfies Benchmark;
