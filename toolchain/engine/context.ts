import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { messageOf, ToolError } from "../../base/errors.ts";
import { readIfThere } from "../../base/text-file.ts";
import type { EngineAddress } from "./client.ts";

/** Where an engine listens, as a docker context describes it. */
export interface ContextEndpoint extends EngineAddress {
  readonly name: string;
}

/** @throws ToolError when the file is there and cannot be read: it may name another engine than the default one */
function readJson<T>(path: string): T | undefined {
  try {
    const text = readIfThere(path);
    return text === undefined ? undefined : (JSON.parse(text) as T);
  } catch (cause) {
    const problem = { subject: path, problem: messageOf(cause), remedy: "Repair the file, or set DOCKER_HOST." };
    throw new ToolError("No Docker Engine can be used.", [problem], { cause });
  }
}

/**
 * The endpoint of the docker context in use, or undefined if it is the default one.
 *
 * @see https://docs.docker.com/engine/manage-resources/contexts/
 * @throws ToolError when the context in use does not exist, and when docker's own files cannot be read
 */
export function currentContext(env: NodeJS.ProcessEnv = process.env): ContextEndpoint | undefined {
  const folder = env["DOCKER_CONFIG"] || join(env["HOME"] || homedir(), ".docker");
  const config = readJson<{ currentContext?: string }>(join(folder, "config.json"));
  const name = env["DOCKER_CONTEXT"] || config?.currentContext;
  if (name === undefined || name === "" || name === "default") return undefined;

  const id = createHash("sha256").update(name).digest("hex");
  const meta = readJson<{ Endpoints?: { docker?: { Host?: string } } }>(join(folder, "contexts/meta", id, "meta.json"));
  const host = meta?.Endpoints?.docker?.Host;
  if (host === undefined) {
    throw new ToolError("No Docker Engine can be used.", {
      subject: `docker context "${name}"`,
      problem: "is selected but does not exist",
      remedy: "Choose another one with `docker context use`.",
    });
  }
  const certPath = join(folder, "contexts/tls", id, "docker");
  return existsSync(join(certPath, "cert.pem")) ? { name, host, certPath } : { name, host };
}
