import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { effectiveSettings, openSession } from "../stack/session.ts";
import { PACKAGE_ROOT } from "../base/versions.ts";
import { aiwdb, run } from "./command.ts";
import { inTurns, timed, type Benchmark } from "./measure.ts";

/** The stack's name. Stacks with such a name have the settings of dev and are thrown away like those of CI. */
const STACK = "pr-bench";

/** A project with nothing in it, in the same language, with the same dependencies beside it. */
async function emptyProject(folder: string): Promise<NodeJS.ProcessEnv> {
  mkdirSync(join(folder, "infra"));
  mkdirSync(join(folder, "state"));
  symlinkSync(join(PACKAGE_ROOT, "node_modules"), join(folder, "node_modules"));
  const project = {
    name: "empty",
    main: "infra/index.ts",
    runtime: { name: "nodejs", options: { typescript: false } },
  };
  writeFileSync(join(folder, "Pulumi.yaml"), JSON.stringify(project));
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  writeFileSync(join(folder, "infra/index.ts"), "export {};\n");
  const env = {
    ...process.env,
    PULUMI_BACKEND_URL: `file://${join(folder, "state")}`,
    PULUMI_CONFIG_PASSPHRASE: "empty",
  };
  await run("pulumi", ["stack", "init", "empty", "--non-interactive"], { cwd: folder, env });
  await run("pulumi", ["up", "--stack", "empty", "--yes", "--skip-preview", "--non-interactive"], { cwd: folder, env });
  return env;
}

export default {
  question: "How long does a preview take when nothing changes, against the same on a stack without resources?",
  async run(report) {
    const folder = mkdtempSync(join(tmpdir(), "bench-preview-"));
    try {
      const env = await emptyProject(folder);
      report(`bringing up stack ${STACK}`);
      await aiwdb(["up", "--stack", STACK]);
      const session = openSession(STACK, {
        pulumi: { bin: "pulumi", version: "", way: "found", path: [] },
        env: process.env,
      });
      const settings = effectiveSettings(session);
      const preview = (stack: string, more: readonly string[]) => [
        "preview",
        "--stack",
        stack,
        "--expect-no-changes",
        "--non-interactive",
        ...more,
      ];
      const empty = () => timed(() => run("pulumi", preview("empty", []), { cwd: folder, env }));
      const ours = () => timed(() => run("pulumi", preview(STACK, ["--config-file", settings]), { env: session.env }));
      await empty(); // fills the caches of compiled code, as any earlier command does
      await ours();
      report("measuring");
      const look = await inTurns(empty, () => timed(() => aiwdb(["preview", "--stack", STACK])));
      const alone = await inTurns(empty, ours);
      const state = await run("pulumi", ["stack", "export", "--stack", STACK], { env: session.env });
      const { resources } = (JSON.parse(state) as { deployment: { resources: unknown[] } }).deployment;
      return {
        rows: [
          {
            name: "`aiwdb preview` without changes, its look at engine and database included",
            unit: "ms",
            ...look,
            target: { atMost: 2.5 },
          },
          { name: "`pulumi preview` of the same", unit: "ms", ...alone },
        ],
        notes: [`${resources.length} resources in the state, of four provider plugins.`],
      };
    } finally {
      rmSync(folder, { recursive: true, force: true });
      await aiwdb(["down", "--stack", STACK]);
    }
  },
} satisfies Benchmark;
