import { cpSync, mkdtempSync, appendFileSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { imageTag } from "../../toolchain/images/tag.ts";
import { folders } from "../../base/paths.ts";
import { atLeast, dependencyVersion, PACKAGE_ROOT, versions } from "../../base/versions.ts";

test.each([
  ["v3.259.0", "3.248.0"],
  ["3.248.0", "3.248.0"],
  ["go1.26.8", "1.21.0"],
  ["20.10.24+dfsg1", "20.10.0"],
  ["22.18", "22.18.0"],
  ["4", "3.248.0"],
])("takes %s as at least %s", (version, minimum) => {
  expect(atLeast(version, minimum)).toBe(true);
});

test.each([
  ["v3.247.9", "3.248.0"],
  ["go1.9", "1.21.0"],
  ["22.9.0", "22.18.0"],
  ["", "1.0.0"],
  ["garbage", "1.0.0"],
])("takes %j as older than %s", (version, minimum) => {
  expect(atLeast(version, minimum)).toBe(false);
});

test("takes plugin versions from package.json", () => {
  const manifest = JSON.parse(readFileSync(join(PACKAGE_ROOT, "package.json"), "utf8")) as {
    dependencies: Record<string, string>;
  };
  expect(dependencyVersion("@pulumi/docker")).toBe(manifest.dependencies["@pulumi/docker"]);
  expect(() => dependencyVersion("left-pad")).toThrow("does not depend on left-pad");
});

function goMod(module: string): string {
  return readFileSync(join(PACKAGE_ROOT, "toolchain/go", module, "go.mod"), "utf8");
}

test("pins in versions.json what the Go modules pin", () => {
  const { cli, languageHost } = versions.pulumi.built;
  expect(goMod("cli")).toContain(`${cli.module} v${cli.version}`);
  expect(goMod("language-nodejs")).toContain(`${languageHost.module} v${languageHost.version}`);
  for (const { module, version } of Object.values(versions.plugins.built)) {
    expect(goMod("providers")).toContain(`${module} v${version}`);
  }
});

test("follows XDG variables, but not relative ones", () => {
  const env = { HOME: "/home/u", XDG_CACHE_HOME: "/c", XDG_DATA_HOME: "relative" };
  expect(folders(env)).toEqual({
    cache: "/c/ai-workflow-database",
    state: "/home/u/.local/state/ai-workflow-database",
    data: "/home/u/.local/share/ai-workflow-database",
  });
});

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "aiwdb-images-"));
  cpSync(join(PACKAGE_ROOT, "infra/servers"), join(folder, "servers"), { recursive: true });
  cpSync(join(PACKAGE_ROOT, "toolchain/images/postgres-base"), join(folder, "postgres-base"), { recursive: true });
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const sources = () => ({ servers: join(folder, "servers"), postgresBase: join(folder, "postgres-base") });

test("gives an image the same tag wherever its files lie", () => {
  expect(imageTag("postgres", sources())).toBe(imageTag("postgres"));
  expect(imageTag("postgres")).toMatch(/^ai-workflow-database\/postgres:16-[0-9a-f]{12}$/);
  expect(imageTag("pgbouncer")).toMatch(/^ai-workflow-database\/pgbouncer:1-[0-9a-f]{12}$/);
});

test.each([
  "servers/postgres/image/Dockerfile",
  "servers/postgres/image/entrypoint.sh",
  "servers/postgres/image/healthcheck.sh",
  "servers/maintenance/image/maintenance.sh",
  "postgres-base/Dockerfile",
])("changes PostgreSQL's tag, and only that, with %s", (file) => {
  appendFileSync(join(folder, file), "# changed\n");
  expect(imageTag("postgres", sources())).not.toBe(imageTag("postgres"));
  expect(imageTag("pgbouncer", sources())).toBe(imageTag("pgbouncer"));
});

test.each(["Dockerfile", "entrypoint.sh", "healthcheck.sh"])(
  "changes PgBouncer's tag, and only that, with %s",
  (file) => {
    appendFileSync(join(folder, "servers/pgbouncer/image", file), "# changed\n");
    expect(imageTag("pgbouncer", sources())).not.toBe(imageTag("pgbouncer"));
    expect(imageTag("postgres", sources())).toBe(imageTag("postgres"));
  },
);
