import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";

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
  "Pulumi.yaml",
  "Pulumi.dev.yaml",
  "Pulumi.prod.yaml",
  ".squawk.toml",
  "README.md",
  "CHANGELOG.md",
];

/**
 * Completes `dist/` after the compiler: a mirror of the checkout with JavaScript in place of TypeScript, which is the
 * package that gets published (`npm publish dist`).
 */
export function completeBuild(root: string): void {
  const dist = path.join(root, "dist");
  for (const asset of ASSETS) cpSync(path.join(root, asset), path.join(dist, asset), { recursive: true });
  const manifest = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8")) as Record<string, unknown>;
  const { scripts: _scripts, devDependencies: _devDependencies, ...published } = manifest;
  const exports = JSON.stringify(published["exports"] ?? {}).replaceAll(/("[^"]*)\.ts"/g, '$1.js"');
  writeFileSync(
    path.join(dist, "package.json"),
    `${JSON.stringify({ ...published, exports: JSON.parse(exports) }, null, 2)}\n`,
  );
}

/** Removes an earlier build, so that nothing of a deleted file is published. */
export function cleanBuild(root: string): void {
  rmSync(path.join(root, "dist"), { recursive: true, force: true });
}
