import { readdirSync, rmSync } from "node:fs";
import path from "node:path";
import Docker from "dockerode";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { engineNames } from "../../infra/names.ts";
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
});
