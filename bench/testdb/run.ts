import { rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";
import path from "node:path";
import { closeTestDatabases } from "../../testing/databases/test-database.ts";
import { asSuperuser } from "../../testing/description/server.ts";
import { openRegistry } from "../../testing/pool/registry.ts";
import { ensureTemplate, readSource } from "../../testing/pool/template.ts";
import { measureCold, measureParts } from "./cold.ts";
import { measureParallel } from "./parallel.ts";
import { aiwdb, home, ROOT } from "./place.ts";
import { lines, rows, say } from "./report.ts";
import { measureStart } from "./start.ts";
import { measureThroughput } from "./throughput.ts";
import { measureWarm } from "./warm.ts";

/**
 * Test databases against bare statements, `docker run` and pgtestdb, in one run. `npm run bench -- testdb`, or by
 * itself with an engine in DOCKER_HOST: `node bench/testdb/run.ts` prints Markdown; `--write` puts it into
 * bench/results. Memory and disk are watched over 2,000 databases, with `--long` over 10,000. `--report FILE` writes
 * ratios and text as JSON.
 */

const today = new Date().toISOString().slice(0, 10);
const [cpu] = cpus();
say(`# Test databases, ${today}`);
say();
say(
  `${cpus().length} cores (${cpu?.model.trim()}), ${Math.round(totalmem() / 1024 ** 3)} GiB, Linux ${release()}, Node ${process.version}, shared machine, load at the start ${loadavg()[0]?.toFixed(1)}.`,
);
say(
  "PostgreSQL 16 with the settings of the profile ci, data in memory, mTLS and SCRAM on every connection, over loopback. Milliseconds.",
);
say("Ratios count; absolute figures move with the machine's load. The server and all takers share the cores.");

try {
  const server = await measureStart();
  const registry = await openRegistry(server);
  const template = await ensureTemplate(registry, readSource(server, {}));
  await measureWarm();
  await asSuperuser(server, "postgres", async (client) => {
    const bare = await measureCold(registry, template, client);
    await measureParts(template, client, bare);
  });
  await measureParallel(server);
  await measureThroughput(server, template);
  await registry.close();
} finally {
  await closeTestDatabases();
  await aiwdb("testdb", "stop");
  rmSync(home, { recursive: true, force: true });
}
const text = lines.join("\n");
if (process.argv.includes("--write")) writeFileSync(path.join(ROOT, `bench/results/${today}-testdb.md`), `${text}\n`);
const report = process.argv[process.argv.indexOf("--report") + 1];
if (process.argv.includes("--report") && report !== undefined) writeFileSync(report, JSON.stringify({ rows, text }));
