import { inspect } from "../../toolchain/engine/containers.ts";
import { engineNames } from "../../infra/settings/names.ts";
import { hasPassword } from "../../infra/provider/resources/superuser-password.ts";
import { engineClient } from "../../toolchain/engine/client.ts";
import { findEngine } from "../../toolchain/engine/find.ts";
import { imageTag } from "../../toolchain/images/tag.ts";
import { messageOf, ToolError } from "../../base/errors.ts";
import type { Output } from "../../base/output.ts";
import { lastLinesOf } from "../../base/text-file.ts";
import type { Caller } from "../../stack/caller.ts";
import { down } from "../../stack/down.ts";
import { capture } from "../../stack/pulumi-run.ts";
import { openSession, readOutputs } from "../../stack/session.ts";
import { readStackConfig } from "../../stack/settings-file.ts";
import { readStatus, refuseUnlessHealthy } from "../../stack/status/status.ts";
import { up } from "../../stack/up.ts";
import { type TestServer, writeServer } from "../description/server.ts";

/** Brings the server's stack up by Pulumi, the same way as any other stack, and writes down how to reach it. */
export async function startStackServer(name: string, output: Output): Promise<TestServer> {
  const toolchain = await withoutPerson(`aiwdb up --stack ${name} --yes --json`, output, async (caller) => {
    const { session, toolchain } = await up(
      {
        stack: name,
        yes: true,
        backup: true,
        resetPasswords: false,
        emptyDatabase: false,
        rotateCertificates: false,
        rotateAuthority: false,
      },
      caller,
    );
    refuseUnlessHealthy(await readStatus(session, toolchain), `Stack "${name}" is up and`);
    return toolchain;
  });
  const { connections, passwords } = await readOutputs(openSession(name, toolchain));
  const { host, port } = connections.direct;
  const server: TestServer = {
    name,
    engine: "container",
    database: connections.database,
    direct: { host, port },
    transaction: { host: connections.transaction.host, port: connections.transaction.port },
    ...(connections.rolePorts ? { rolePorts: connections.rolePorts } : {}),
    roles: Object.fromEntries(
      Object.entries(connections.certificates).map(([role, certificate]) => [
        role,
        { password: passwords[role] ?? "", ...certificate },
      ]),
    ) as unknown as TestServer["roles"],
    images: [imageTag("postgres"), imageTag("pgbouncer")],
    extensions: readStackConfig(name).extensions,
  };
  writeServer(server);
  return server;
}

/** Removes the server's stack. @param takeOver also one that another state made */
export async function stopStackServer(name: string, output: Output, takeOver = false): Promise<void> {
  await withoutPerson(`aiwdb down --stack ${name} --json`, output, (caller) =>
    down({ stack: name, deleteData: false, takeOver, endsEngine: false }, caller),
  );
}

/** As much of what Pulumi showed as tells what went wrong. */
const SHOWN_LINES = 30;

/**
 * Nobody is asked, and what Pulumi shows is seen only when the work fails.
 *
 * @param command the command line that does the same
 */
async function withoutPerson<T>(
  command: string,
  { progress, warn }: Output,
  work: (caller: Caller) => Promise<T>,
): Promise<T> {
  let shown = "";
  const caller: Caller = {
    progress,
    warn,
    ask: () => Promise.resolve(false),
    isAtTerminal: false,
    pulumi: async (session, args) => {
      const result = await capture(session, args);
      if (result.exitCode !== 0) shown += result.stdout + result.stderr;
      return result;
    },
  };
  try {
    return await work(caller);
  } catch (cause) {
    const text = `${shown}\n${messageOf(cause)}`.trimStart();
    throw new ToolError(`\`${command}\` failed:\n${lastLinesOf(text, SHOWN_LINES)}`, [], { cause });
  }
}

/** Whether the server's container runs, whatever it answers. */
export async function isStackServerThere(name: string): Promise<boolean> {
  const found = await findEngine();
  if (!found) return false; // and with the engine its containers' memory
  const docker = engineClient(found);
  const { postgres } = engineNames(name);
  if (!(await inspect(docker, postgres))?.State.Running) return false;
  // One that was started again lost what was in memory, its roles' passwords among it.
  return hasPassword(docker, postgres);
}
