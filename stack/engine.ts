import { ToolError } from "../base/errors.ts";
import { findEngine, type Engine } from "../toolchain/engine/find.ts";

/**
 * The engine that runs, for what only has to look at a stack: nothing is started for it.
 *
 * @throws ToolError where none runs
 */
export async function requireEngine(stack: string): Promise<Engine> {
  const engine = await findEngine();
  if (engine !== undefined) return engine;
  throw new ToolError(`Stack "${stack}" cannot be looked at:`, {
    subject: "Docker Engine",
    problem: "none is running",
    remedy: `\`aiwdb up --stack ${stack}\` starts one, or set DOCKER_HOST to its socket.`,
  });
}
