import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, inject, onTestFinished, test, vi } from "vitest";
import { addressIn } from "../../infra/settings/addresses.ts";
import { engineNames } from "../../infra/settings/names.ts";
import { exec } from "../../toolchain/engine/containers.ts";
import { installPackages } from "../../toolchain/debian-packages.ts";
import { imageTag } from "../../toolchain/images/tag.ts";
import { createCheckout, type Checkout } from "../helpers/checkout.ts";
import { docker } from "../helpers/connect.ts";
import { mustSucceed, SETTINGS } from "../helpers/real-stack.ts";

// examples/compose, by Docker Compose itself. One of the tests runs `up` twice.
vi.setConfig({ testTimeout: 10 * 60_000, hookTimeout: 10 * 60_000 });

const run = promisify(execFile);
const { name: stack, home } = inject("stack");
const { network } = engineNames(stack);
const folder = mkdtempSync(path.join(tmpdir(), "aiwdb-compose-"));
const PROJECT = `aiwdb-compose-${process.pid}`;

let checkout: Checkout;
let command: readonly string[];
let address: string;

/** Docker Compose as this machine has it; Debian's package where there is none. */
async function findCompose(): Promise<readonly string[]> {
  for (const isLast of [false, true]) {
    for (const found of [["docker", "compose"], ["docker-compose"]]) {
      const [program = "", ...args] = found;
      const works = await run(program, [...args, "version"]).then(
        () => true,
        () => false,
      );
      if (works) return found;
    }
    if (!isLast) await installPackages("docker-compose");
  }
  throw new Error("Debian's docker-compose brought no Docker Compose");
}

/** Runs Docker Compose on the example. */
async function compose(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const [program = "", ...first] = command;
  const all = { ...process.env, APP_IMAGE: imageTag("postgres"), COMPOSE_PROJECT_NAME: PROJECT, ...env };
  try {
    return { exitCode: 0, ...(await run(program, [...first, ...args], { cwd: folder, env: all })) };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { exitCode: code, stdout, stderr };
  }
}

async function up(changed: Record<string, unknown>, ...more: string[]): Promise<void> {
  checkout.settings(stack, { ...SETTINGS, ...changed });
  mustSucceed(await checkout.aiwdb(["up", "--stack", stack, ...more]));
}

beforeAll(async () => {
  command = await findCompose();
  checkout = await createCheckout(home);
  const { IPAM } = (await docker().getNetwork(network).inspect()) as { IPAM: { Config: { Subnet: string }[] } };
  address = addressIn(IPAM.Config[0]?.Subnet ?? "", 11);
  cpSync(path.join(import.meta.dirname, "../../examples/compose"), folder, { recursive: true });
  const env = { AIWDB: path.join(checkout.root, "bin/aiwdb") };
  mustSucceed(await checkout.shell(`sh ${folder}/prepare.sh ${stack} ${address}`, env));
});
afterAll(async () => {
  await compose(["--profile", "direct", "down", "--volumes"]);
  rmSync(folder, { recursive: true, force: true });
});

test("the application connects to the pooler as app_user, and its password is in no argument and no variable", async () => {
  for (const file of ["secrets/app_user", "secrets/ai_workflow_owner", ".env"])
    expect((statSync(path.join(folder, file)).mode & 0o777).toString(8), file).toBe("600");
  const { exitCode, stdout, stderr } = await compose(["run", "--rm", "app"]);
  expect([exitCode, stdout.trim()], stderr).toEqual([0, "app_user|by PgBouncer"]);
  const { stdout: rendered } = await compose(["--profile", "direct", "config"]);
  const { passwords } = inject("stack").outputs;
  for (const role of ["app_user", "ai_workflow_owner"] as const) expect(rendered).not.toContain(passwords[role]);
});

// Only root gives files away.
test.runIf(process.getuid?.() === 0)(
  "so does one that runs as another user, who owns copies of the files",
  async () => {
    const [certificates] = /AIWDB_CERTS=(.*)/.exec((await run("cat", [`${folder}/.env`])).stdout)!.slice(1);
    await run("cp", ["-a", certificates!, `${folder}/certs`]);
    onTestFinished(() => run("chown", ["-R", "0:0", `${folder}/secrets`]).then(() => {}));
    await run("chown", ["-R", "1234:1234", `${folder}/certs`, `${folder}/secrets`]);
    const env = { AIWDB_CERTS: `${folder}/certs`, AIWDB_USER: "1234:1234" };
    const { exitCode, stdout, stderr } = await compose(["run", "--rm", "app"], env);
    expect([exitCode, stdout.trim()], stderr).toEqual([0, "app_user|by PgBouncer"]);
    const { stderr: refused } = await compose(["run", "--rm", "app"], { ...env, AIWDB_USER: "1235:1235" });
    expect(refused).toContain('root certificate file "/run/aiwdb/ca.crt" does not exist'); // libpq's words for it
  },
);

test("PostgreSQL itself lets in only the address that is named, and renewed certificates reach a running container", async () => {
  const refused = await compose(["run", "--rm", "direct"]);
  expect(refused.exitCode).not.toBe(0);
  expect(refused.stderr).toContain(`pg_hba.conf rejects connection for host "${address}"`);

  const { stdout } = await compose(["run", "-d", "--entrypoint", "sleep", "app", "900"]);
  const container = stdout.trim().split("\n").at(-1)!;
  const certificate = async () => (await exec(docker(), container, ["cat", "/run/aiwdb/app_user.crt"])).stdout;
  const before = await certificate();
  await up({ postgresClientAddresses: [address] }, "--rotate-certificates");
  try {
    expect(await certificate()).not.toBe(before);
    const again = await exec(docker(), container, ["psql", "-XAtc", "select current_user"]);
    expect([again.stdout.trim(), again.stderr]).toEqual(["app_user", ""]);
    const direct = await compose(["run", "--rm", "direct"]);
    expect([direct.exitCode, direct.stdout.trim()], direct.stderr).toEqual([0, `ai_workflow_owner|${address}`]);
  } finally {
    await docker().getContainer(container).remove({ force: true, v: true });
    await up({});
  }
});
