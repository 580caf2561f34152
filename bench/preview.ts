import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { effectiveSettings, openSession } from "../stack/session.ts";
import { PACKAGE_ROOT } from "../base/versions.ts";
import { bundle, completeBuild } from "../dev/build.ts";
import { aiwdb, run } from "./command.ts";
import { inTurns, timed, type Benchmark } from "./measure.ts";

/** The stack's name. Stacks with such a name have the settings of dev and are thrown away like those of CI. */
const STACK = "pr-bench";

/** The package as users get it: one bundle. The checkout runs its sources, which takes longer. */
async function publishedPackage(folder: string): Promise<void> {
  await bundle(folder);
  completeBuild(folder);
  symlinkSync(join(PACKAGE_ROOT, "node_modules"), join(folder, "node_modules"));
}

/** A project with nothing in it, in the same language, with the same dependencies beside it. */
async function emptyProject(folder: string): Promise<NodeJS.ProcessEnv> {
  mkdirSync(folder);
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
    const packageFolder = join(folder, "package");
    const emptyFolder = join(folder, "empty");
    try {
      const env = await emptyProject(emptyFolder);
      await publishedPackage(packageFolder);
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
      const empty = () => timed(() => run("pulumi", preview("empty", []), { cwd: emptyFolder, env }));
      const look = (root: string) => () => timed(() => aiwdb(["preview", "--stack", STACK], root));
      const alone = () =>
        timed(() =>
          run("pulumi", preview(STACK, ["--config-file", settings]), { cwd: packageFolder, env: session.env }),
        );
      // Fills the caches of compiled code, as any earlier command does.
      for (const fill of [empty, look(packageFolder), look(PACKAGE_ROOT), alone]) await fill();
      report("measuring");
      const published = await inTurns(empty, look(packageFolder));
      const checkout = await inTurns(empty, look(PACKAGE_ROOT));
      const pulumi = await inTurns(empty, alone);
      const state = await run("pulumi", ["stack", "export", "--stack", STACK], { env: session.env });
      const { resources } = (JSON.parse(state) as { deployment: { resources: unknown[] } }).deployment;
      return {
        rows: [
          {
            name: "`aiwdb preview` without changes, its look at engine and database included",
            unit: "ms",
            ...published,
            target: { atMost: 2.5 },
          },
          { name: "the same in the checkout, which runs its sources", unit: "ms", ...checkout },
          { name: "`pulumi preview` alone", unit: "ms", ...pulumi },
        ],
        notes: [`${resources.length} resources in the state, of four provider plugins.`],
      };
    } finally {
      rmSync(folder, { recursive: true, force: true });
      await aiwdb(["down", "--stack", STACK]);
    }
  },
} satisfies Benchmark;
