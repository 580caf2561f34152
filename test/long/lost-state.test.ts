import { copyFileSync, readdirSync, rmSync } from "node:fs";
import path from "node:path";
import Docker from "dockerode";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { engineNames } from "../../infra/settings/names.ts";
import { localSql } from "../../database/local-sql.ts";
import { createCheckout, type Checkout } from "../helpers/checkout.ts";
import { mustSucceed } from "../helpers/real-stack.ts";

const SMALL = { profile: "standard", rolloutPhase: 1, maintenanceIntervalMin: 0 };
let docker: Docker;

describe("a stack that is not disposable, whose state is lost, with migrations pending", () => {
  const stack = `kept-${process.pid}`;
  let checkout: Checkout;
  const env = { PULUMI_CONFIG_PASSPHRASE: "a passphrase of the tests", PULUMI_CONFIG_PASSPHRASE_FILE: undefined };
  const aiwdb = (...args: string[]) => checkout.aiwdb([...args, "--stack", stack], env);
  const asOwner = async (statement: string) => {
    const psql = ["psql", "--stack", stack, "--role", "ai_workflow_owner", "--", "-X", "-A", "-t", "-c", statement];
    return mustSucceed(await checkout.aiwdb(psql, env)).stdout.trim();
  };

  beforeAll(async () => {
    checkout = await createCheckout();
    docker = new Docker({ socketPath: checkout.env["DOCKER_HOST"]?.replace("unix://", "") as string });
    checkout.settings(stack, SMALL);
    mustSucceed(await aiwdb("up"));
    await asOwner("create table kept as select 'a row'::text as mark");
  });
  afterAll(async () => {
    mustSucceed(await aiwdb("down", "--delete-data"));
    checkout.remove();
  });

  const backups = () =>
    readdirSync(path.dirname(checkout.root), { recursive: true, encoding: "utf8" }).filter((file) =>
      file.endsWith(".dump"),
    );

  test.each([
    ["runs", 2, async () => {}],
    [
      "is gone",
      3,
      async () => {
        const { postgres, pgbouncer, network } = engineNames(stack);
        for (const name of [postgres, pgbouncer]) await docker.getContainer(name).remove({ force: true, v: true });
        await docker.getNetwork(network).remove();
      },
    ],
  ])("is backed up before a migration runs, where its server %s", async (_what, phase, damage) => {
    const before = backups().length;
    rmSync(checkout.stateFile(stack));
    await damage();
    checkout.settings(stack, { ...SMALL, rolloutPhase: phase });
    const { stderr } = mustSucceed(await aiwdb("up", "--reset-passwords", "--yes"));
    expect(stderr).toContain("backed up to");
    expect(backups()).toHaveLength(before + 1);
    expect(await asOwner("select mark from kept")).toBe("a row");
    mustSucceed(await aiwdb("status"));
  });

  test("is left alone while it is frozen, and says how that is taken back", async () => {
    const file = checkout.stateFile(stack);
    copyFileSync(file, `${file}.kept`);
    rmSync(file);
    const { postgres } = engineNames(stack);
    await localSql(docker, postgres, "alter database ai_workflow_db set default_transaction_read_only = on");
    const before = await docker.getContainer(postgres).inspect();
    const refused = await aiwdb("up", "--reset-passwords", "--yes");
    expect(refused.exitCode, refused.all).toBe(1);
    expect(refused.stderr).toContain("is frozen; nothing has been changed:");
    expect((await docker.getContainer(postgres).inspect()).Id).toBe(before.Id);
    const remedy = /changes are allowed again: `(.*)`/.exec(refused.stderr)?.[1] ?? "";
    await localSql(docker, postgres, remedy, { database: "ai_workflow_db" });
    copyFileSync(`${file}.kept`, file);
    mustSucceed(await aiwdb("up"));
  });

  test("with its state, and without its server's container, is backed up before a migration too", async () => {
    const before = backups().length;
    await docker.getContainer(engineNames(stack).postgres).remove({ force: true, v: true });
    checkout.settings(stack, { ...SMALL, rolloutPhase: 4 });
    mustSucceed(await aiwdb("up", "--yes"));
    expect(backups()).toHaveLength(before + 1);
    expect(await asOwner("select mark from kept")).toBe("a row");
  });

  test("whose state is older than its certificate authority gets the files of its state", async () => {
    const file = checkout.stateFile(stack);
    copyFileSync(file, `${file}.older`);
    for (const _phase of ["trust", "use", "drop"]) mustSucceed(await aiwdb("up", "--yes", "--rotate-authority"));
    copyFileSync(`${file}.older`, file);
    const seen = await aiwdb("preview", "--expect-no-changes");
    expect(seen.exitCode).toBe(1);
    expect(seen.all).toContain("has other files than the state says: tls/ca.crt");
    mustSucceed(await aiwdb("up", "--yes"));
    mustSucceed(await aiwdb("preview", "--expect-no-changes"));
    expect(await asOwner("select mark from kept")).toBe("a row");
  });

  test("whose network is another one keeps its data volume", async () => {
    const volume = () => docker.getVolume(engineNames(stack).dataVolume).inspect();
    const before = (await volume()) as { CreatedAt?: string };
    checkout.settings(stack, { ...SMALL, rolloutPhase: 4, networkSubnet: "10.213.77.0/28" });
    mustSucceed(await aiwdb("up", "--yes"));
    expect(((await volume()) as { CreatedAt?: string }).CreatedAt).toBe(before.CreatedAt);
    expect(await asOwner("select mark from kept")).toBe("a row");
  });
});
