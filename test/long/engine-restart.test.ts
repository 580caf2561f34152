import Docker from "dockerode";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { engineNames } from "../../infra/settings/names.ts";
import { imageTag } from "../../toolchain/images/tag.ts";
import { createCheckout, type Checkout, type CommandResult } from "../helpers/checkout.ts";
import { mustSucceed } from "../helpers/real-stack.ts";
import { canHaveSecondEngine, createSecondEngine, type SecondEngine } from "../helpers/second-engine.ts";

vi.setConfig({ testTimeout: 10 * 60_000, hookTimeout: 10 * 60_000 });

describe.runIf(canHaveSecondEngine())("an engine that was restarted", () => {
  const stack = `own-engine-${process.pid}`;
  let engine: SecondEngine;
  let checkout: Checkout;
  const aiwdb = (...args: string[]): Promise<CommandResult> =>
    checkout.shell(`exec ${engine.enter.join(" ")} bin/aiwdb ${args.join(" ")} --stack ${stack}`, {
      DOCKER_HOST: engine.host,
      PULUMI_CONFIG_PASSPHRASE: "of the tests",
    });
  const sql = async (statement: string) =>
    mustSucceed(
      await checkout.shell(
        `exec ${engine.enter.join(" ")} bin/aiwdb psql --stack ${stack} --role ai_workflow_owner -- -X -A -t -c "$SQL"`,
        { DOCKER_HOST: engine.host, PULUMI_CONFIG_PASSPHRASE: "of the tests", SQL: statement },
      ),
    ).stdout.trim();

  /** It may have been up before the server, so that its first run failed. */
  const maintenanceSucceeds = () =>
    vi.waitFor(
      async () => {
        const container = engine.docker.getContainer(engineNames(stack).maintenance);
        const { State } = await container.inspect();
        const since = Math.floor(Date.parse(State.StartedAt) / 1_000);
        const log = await container.logs({ stdout: true, stderr: true, follow: false, since });
        expect(log.toString("utf8")).toContain("maintenance: done");
      },
      { timeout: 5 * 60_000, interval: 1_000 },
    );

  beforeAll(async () => {
    checkout = await createCheckout();
    engine = await createSecondEngine();
    const first = new Docker({ socketPath: checkout.env["DOCKER_HOST"]?.replace("unix://", "") as string });
    for (const kind of ["postgres", "pgbouncer"] as const) {
      const loaded = await engine.docker.loadImage(await first.getImage(imageTag(kind)).get());
      await new Promise((resolve) => engine.docker.modem.followProgress(loaded, resolve));
    }
    checkout.settings(stack, {});
    mustSucceed(await aiwdb("up"));
    await sql("create table kept as select 'a row'::text as mark");
  });
  afterAll(async () => {
    mustSucceed(await aiwdb("down", "--delete-data"));
    await engine.remove();
    checkout.remove();
  });

  test.each([
    ["in order", "SIGTERM"],
    ["by a crash", "SIGKILL"],
  ] as const)("%s: up makes the stack whole, and the row is there", async (_how, signal) => {
    await engine.stop(signal);
    await engine.start();
    mustSucceed(await aiwdb("up"));
    mustSucceed(await aiwdb("status"));
    expect(await sql("select mark from kept")).toBe("a row");
    mustSucceed(await aiwdb("preview", "--expect-no-changes"));
    await maintenanceSucceeds();
  });

  test("while its containers were not to come back by themselves", async () => {
    for (const { Id } of await engine.docker.listContainers())
      await engine.docker.getContainer(Id).update({ RestartPolicy: { Name: "no" } });
    await engine.stop("SIGTERM");
    await engine.start();
    const { stderr } = mustSucceed(await aiwdb("up"));
    expect(stderr).toContain("is stopped: it is started");
    mustSucceed(await aiwdb("status"));
    expect(await sql("select mark from kept")).toBe("a row");
    await maintenanceSucceeds();
  });
});
