import type Docker from "dockerode";
import { findEngine, startObstacle, type Engine } from "./engine/find.ts";
import { engineClient } from "./engine/client.ts";
import { messageOf, ToolError, type Problem } from "../base/errors.ts";
import { findImage } from "./images/build.ts";
import { IMAGE_KINDS, imageTag } from "./images/tag.ts";
import { checkMachine } from "./machine.ts";
import { folders } from "../base/paths.ts";
import { findPlugins, pluginVersions } from "./plugins.ts";
import { findPulumiCli } from "./pulumi.ts";
import { readRecord } from "./record.ts";
import type { ToolchainRecord } from "./set-up.ts";

/** One part of the toolchain as it is now. */
export interface Part {
  readonly part: string;
  readonly version: string;
  /** How this machine got it, or `missing`. */
  readonly way: string;
  readonly where: string;
}

/** The state of everything set-up takes care of, and what is wrong with the machine. */
export interface Diagnosis {
  /** The engine that answers, if any. */
  readonly engine: Engine | undefined;
  readonly parts: readonly Part[];
  readonly problems: readonly Problem[];
}

function missing(part: string): Part {
  return { part, version: "-", way: "missing", where: "`npm run up` sets it up" };
}

function imageParts(docker: Docker): Promise<Part[]> {
  const parts = IMAGE_KINDS.map(async (kind): Promise<Part> => {
    const part = `image ${kind}`;
    const [where = "", version = ""] = imageTag(kind).split(":");
    const image = await findImage(docker, imageTag(kind));
    return image ? { part, version, way: `built on base from ${image.base}`, where } : missing(part);
  });
  return Promise.all(parts);
}

async function pulumiParts(): Promise<Part[]> {
  const [cli, plugins] = await Promise.all([findPulumiCli(() => undefined, true), findPlugins(true)]);
  const cliName = "Pulumi CLI";
  const cliPart = cli ? { part: cliName, version: cli.version, way: cli.way, where: cli.bin } : missing(cliName);
  if (plugins === undefined) return [cliPart, missing("Pulumi plugins")];
  const { way, env } = plugins;
  const where = env["PULUMI_HOME"] ?? "the user's Pulumi folder";
  const pluginParts = Object.entries(pluginVersions()).map(([name, version]) => {
    return { part: `plugin ${name}`, version, way, where };
  });
  return [cliPart, ...pluginParts];
}

/**
 * Looks at every part and at the machine; changes nothing. Compares every checksum of the cache, which takes a second.
 */
export async function diagnose(): Promise<Diagnosis> {
  const record = readRecord<ToolchainRecord>("toolchain");
  const problems: Problem[] = [];
  /** An engine that cannot be asked is one more problem; the rest is shown all the same. */
  const orProblem = async <T>(work: Promise<T>, otherwise: T): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      const unexpected = { subject: "Docker Engine", problem: messageOf(error) };
      problems.push(...(error instanceof ToolError && error.problems.length > 0 ? error.problems : [unexpected]));
      return otherwise;
    }
  };
  const engine = await orProblem(findEngine(), undefined);
  const obstacle = engine === undefined && problems.length === 0 ? startObstacle() : undefined;
  if (obstacle !== undefined) problems.push(obstacle);
  const node: Part = {
    part: "Node",
    version: `v${process.versions.node}`,
    way: process.execPath.startsWith(folders().cache) ? "downloaded" : "found",
    where: process.execPath,
  };
  const enginePart: Part = engine
    ? {
        part: "Docker Engine",
        version: engine.version,
        way: engine.isPrivate ? (record?.engine ?? engine.way) : engine.way,
        where: `${engine.host} (${engine.origin})`,
      }
    : missing("Docker Engine");
  const docker = engine && engineClient(engine);
  const [pulumi, images, machine] = await Promise.all([
    pulumiParts(),
    docker ? orProblem(imageParts(docker), []) : [],
    docker ? orProblem(checkMachine({ docker }), []) : checkMachine({}),
  ]);
  return { engine, parts: [node, enginePart, ...pulumi, ...images], problems: [...problems, ...machine] };
}
