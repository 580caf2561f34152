import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { build } from "esbuild";
import { ToolError } from "../base/errors.ts";
import { PACKAGE_ROOT } from "../base/versions.ts";

/** What stands beside the code and is not compiled. */
const ASSETS = [
  "bin",
  "infra/servers/maintenance/image",
  "infra/servers/pgbouncer/image",
  "infra/servers/pgbouncer/try.sh",
  "infra/servers/postgres/image",
  "infra/servers/postgres/try.sh",
  "infra/provider/volumes/switch.sh",
  "infra/provider/pulumi-resource-aiwdb",
  "migrations",
  "testing/pool/registry-roles.sql",
  "testing/pool/registry-schema.sql",
  "testing/pool/states.sql",
  "toolchain/go/cli",
  "toolchain/go/language-nodejs",
  "toolchain/go/providers",
  // As it is written: the shell script that looks for Node reads it line by line.
  "base/versions.json",
  "toolchain/images/postgres-base",
  "Pulumi.dev.yaml",
  "Pulumi.prod.yaml",
  ".squawk.toml",
  "README.md",
  "CHANGELOG.md",
];

/** Programs of the package, beside what it exports. */
const PROGRAMS = [
  "cli/main.ts",
  "infra/index.ts",
  // A part of infra/index.ts, which has to be carried out before the SDK is: in the bundle only another file is.
  "infra/quiet-sdk.ts",
  "infra/provider/main.ts",
];

interface Manifest {
  readonly scripts: object;
  readonly devDependencies: object;
  readonly exports: Readonly<Record<string, string>>;
}

function readManifest(): Manifest {
  return JSON.parse(readFileSync(path.join(PACKAGE_ROOT, "package.json"), "utf8")) as Manifest;
}

/** Ways to a file that are other ones in the bundle. */
const OWN_PLACE = /import\.meta\.dirname|new URL\([^)]*import\.meta\.url/;
/** It finds the package by its manifest. */
const FINDS_THE_PACKAGE = "base/versions.ts";

/**
 * Writes programs and exports as one bundle, in files they share. Each stands where it stands in the checkout;
 * dependencies are loaded from node_modules.
 *
 * @throws ToolError for code that looks for a file beside itself
 */
export async function bundle(folder: string): Promise<void> {
  const exported = Object.values(readManifest().exports).map((file) => path.normalize(file));
  const { metafile } = await build({
    absWorkingDir: PACKAGE_ROOT,
    entryPoints: [...PROGRAMS, ...exported],
    outbase: ".",
    outdir: folder,
    chunkNames: "chunks/[name]-[hash]",
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node22.18",
    packages: "external",
    metafile: true,
    logLevel: "warning",
  });
  const problems = Object.keys(metafile.inputs)
    .filter((file) => file !== FINDS_THE_PACKAGE && OWN_PLACE.test(readFileSync(path.join(PACKAGE_ROOT, file), "utf8")))
    .map((subject) => ({
      subject,
      problem: "looks for a file beside itself, which in the bundle is elsewhere",
      remedy: "Begin at PACKAGE_ROOT.",
    }));
  if (problems.length > 0) throw new ToolError("The package cannot be bundled.", problems);
}

/** Adds to the bundle what is not compiled, and the manifest of the package that is published (`npm publish dist`). */
export function completeBuild(folder: string): void {
  for (const asset of ASSETS) cpSync(path.join(PACKAGE_ROOT, asset), path.join(folder, asset), { recursive: true });
  const { scripts: _scripts, devDependencies: _devDependencies, exports, ...published } = readManifest();
  const compiled = Object.entries(exports).map(([name, file]) => [name, file.replace(/\.ts$/, ".js")]);
  writeFileSync(
    path.join(folder, "package.json"),
    `${JSON.stringify({ ...published, exports: Object.fromEntries(compiled) }, null, 2)}\n`,
  );
  const project = readFileSync(path.join(PACKAGE_ROOT, "Pulumi.yaml"), "utf8");
  writeFileSync(path.join(folder, "Pulumi.yaml"), project.replace(/^main: (.*)\.ts$/m, "main: $1.js"));
}

/** Removes an earlier build, so that nothing of a deleted file is published. */
export function cleanBuild(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}
