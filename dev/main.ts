import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { defineCommand } from "citty";
import { ToolError } from "../base/errors.ts";
import { setUp } from "../toolchain/set-up.ts";
import { PACKAGE_ROOT } from "../base/versions.ts";
import house from "./house.json" with { type: "json" };
import { runProgram } from "../cli/run.ts";
import { stackArguments } from "../cli/arguments.ts";
import { command } from "../cli/command.ts";
import type { CommandModule } from "../cli/find-command.ts";

/** Folders whose imports are checked: the rooms, and what stands on them. */
const CRUISED = [...house.floors.flat().map(({ room }) => room), "bench", "examples", "test"];

/** Runs a script of the checkout with Node in this terminal. @returns whether it ended with exit code 0 */
async function isWell(script: string, args: readonly string[], env = process.env): Promise<boolean> {
  const options = { cwd: PACKAGE_ROOT, env, stdio: "inherit" } as const;
  const child = spawn(process.execPath, [path.join(PACKAGE_ROOT, script), ...args], options);
  const [code] = (await once(child, "close")) as [number | null];
  return code === 0;
}

/** Everything behind the command's name but `--`. */
const passedOn = (rawArgs: readonly string[]): string[] => rawArgs.filter((arg) => arg !== "--");

const test = command({
  meta: {
    name: "test",
    description:
      "Set everything up and run the tests, those of the project `long` only when it is named; arguments behind -- go to vitest",
  },
  args: {},
  async run({ rawArgs, output }) {
    const { env } = await setUp({ report: output.progress });
    const given = passedOn(rawArgs);
    const projects = given.some((arg) => arg.startsWith("--project")) ? [] : ["--project=!long"];
    process.exitCode = (await isWell("node_modules/vitest/vitest.mjs", ["run", ...projects, ...given], env)) ? 0 : 1;
  },
});

const lint = command({
  meta: { name: "lint", description: "Check types, style, unused code and migrations" },
  args: {},
  async run({ output }) {
    const steps: [string, string, string[]][] = [
      ["types", "node_modules/typescript/bin/tsc", []],
      ["lint", "node_modules/oxlint/bin/oxlint", []],
      ["format", "node_modules/oxfmt/bin/oxfmt", ["--check"]],
      ["imports", "node_modules/dependency-cruiser/bin/dependency-cruiser.mjs", CRUISED],
      ["unused", "node_modules/knip/bin/knip.js", []],
      ["migrations", "cli/main.ts", ["migrate", "check"]],
    ];
    const failed: string[] = [];
    for (const [name, script, args] of steps) {
      output.progress(name);
      if (!(await isWell(script, args))) failed.push(name);
    }
    if (failed.length > 0) throw new ToolError(`Not clean: ${failed.join(", ")}.`);
  },
});

const bench = command({
  meta: { name: "bench", description: "Measure; arguments behind -- are names of benchmarks" },
  args: {},
  async run({ rawArgs, output }) {
    const { env } = await setUp({ report: output.progress });
    process.exitCode = (await isWell("bench/run.ts", passedOn(rawArgs), env)) ? 0 : 1;
  },
});

const build = defineCommand({
  meta: { name: "build", description: "Compile the package for publishing into dist/" },
  async run() {
    const { bundle, cleanBuild, completeBuild } = await import("./build.ts");
    const folder = path.join(PACKAGE_ROOT, "dist");
    cleanBuild(folder);
    await bundle(folder);
    if (!(await isWell("node_modules/typescript/bin/tsc", ["-p", "tsconfig.build.json"])))
      throw new ToolError("The package does not compile.");
    completeBuild(folder);
  },
});

const docs = command({
  meta: { name: "docs", description: "Write the generated pages of docs/ anew; the schema's from a stack that is up" },
  args: { stack: stackArguments.stack },
  async run({ args, output }) {
    const { renderConfiguration } = await import("./docs/configuration.ts");
    const { renderCommands } = await import("./docs/commands.ts");
    const { renderStackSettings } = await import("./docs/stack-settings.ts");
    const { renderDrivers } = await import("./docs/drivers.ts");
    const { renderHouse } = await import("./docs/house.ts");
    const write = (file: string, text: string) => writeFile(path.join(PACKAGE_ROOT, file), text);
    await write("infra/settings/stack-settings.ts", renderStackSettings());
    await write("docs/configuration.md", renderConfiguration());
    await write("docs/commands.md", await renderCommands());
    await write("docs/drivers.md", renderDrivers(await readFile(path.join(PACKAGE_ROOT, "docs/drivers.md"), "utf8")));
    await write("docs/house.svg", await renderHouse());
    output.progress(`docs/schema.md and its diagrams, from stack ${args.stack}`);
    const { writeSchemaDocs } = await import("./docs/schema-stack.ts");
    await writeSchemaDocs(args.stack, await setUp({ report: output.progress, images: false }));
  },
});

const dbDump = command({
  meta: { name: "db-dump", description: "Write test/schema.sql anew, from a stack that is up" },
  args: { stack: stackArguments.stack },
  async run({ args, output }) {
    const { writeSchemaDump } = await import("./docs/schema-stack.ts");
    await writeSchemaDump(args.stack, await setUp({ report: output.progress, images: false }));
  },
});

const program: CommandModule = {
  default: defineCommand({
    meta: { name: "dev", description: "Work on the package itself: test, lint, bench, build, docs, db-dump" },
    subCommands: { test, lint, bench, build, docs, "db-dump": dbDump },
  }),
  examples: [
    "npm test",
    "npm test -- --project unit",
    "npm run test:long",
    "npm run lint",
    "npm run bench -- preview",
    "npm run docs -- --stack ci-mine",
  ],
};

// `test` passes arguments that it does not know to vitest, and `bench` passes them to the benchmarks.
await runProgram(program, ["dev"], process.argv.slice(2), ["test", "bench"]);
