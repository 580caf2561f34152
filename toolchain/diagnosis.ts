import { findEngine, startObstacle, type Engine } from "./engine/find.ts";
import { engineClient } from "./engine/client.ts";
import { messageOf, ToolError, type Problem } from "../base/errors.ts";
import { findImage } from "./images/build.ts";
import { IMAGE_KINDS, imageTag } from "./images/tag.ts";
import { checkMachine } from "./machine.ts";
import { folders } from "../base/paths.ts";
import { findPlugins } from "./plugins.ts";
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

const MISSING = "missing";

function missing(part: string): Part {
  return { part, version: "-", way: MISSING, where: "`npm run up` sets it up" };
}

async function engineParts(engine: Engine): Promise<Part[]> {
  const docker = engineClient(engine);
  const images = IMAGE_KINDS.map(async (kind): Promise<Part> => {
    const part = `image ${kind}`;
    const [name, version = ""] = imageTag(kind).split(":");
    const image = await findImage(docker, imageTag(kind));
    return image === undefined
      ? missing(part)
      : { part, version, way: `built on base from ${image.base}`, where: name ?? "" };
  });
  return await Promise.all(images);
}

async function pulumiParts(): Promise<Part[]> {
  const [cli, plugins] = await Promise.all([findPulumiCli(() => undefined, true), findPlugins(true)]);
  const cliPart = cli
    ? { part: "Pulumi CLI", version: cli.version, way: cli.way, where: cli.bin }
    : missing("Pulumi CLI");
  if (plugins === undefined) return [cliPart, missing("Pulumi plugins")];
  const where = plugins.env["PULUMI_HOME"] ?? "the user's Pulumi folder";
  const pluginParts = Object.entries(plugins.versions).map(([name, version]) => ({
    part: `plugin ${name}`,
    version,
    way: plugins.way,
    where,
  }));
  return [cliPart, ...pluginParts];
}

/**
 * Looks at every part and at the machine; changes nothing. Compares every checksum of the cache, which takes a second.
 */
export async function diagnose(): Promise<Diagnosis> {
  const record = readRecord<ToolchainRecord>("toolchain");
  const problems: Problem[] = [];
  let engine: Engine | undefined;
  try {
    engine = await findEngine();
    const obstacle = engine === undefined ? startObstacle() : undefined;
    if (obstacle !== undefined) problems.push(obstacle);
  } catch (error) {
    problems.push(
      ...(error instanceof ToolError ? error.problems : [{ subject: "Docker Engine", problem: messageOf(error) }]),
    );
  }
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
  /** An engine that tells its version and then hangs is one more problem; the rest is shown all the same. */
  const unlessItHangs = async <T>(work: Promise<readonly T[]>): Promise<readonly T[]> => {
    try {
      return await work;
    } catch (error) {
      if (!(error instanceof ToolError)) throw error;
      problems.push(...error.problems);
      return [];
    }
  };
  const [pulumi, images, machine] = await Promise.all([
    pulumiParts(),
    engine === undefined ? [] : unlessItHangs(engineParts(engine)),
    engine === undefined ? checkMachine({}) : unlessItHangs(checkMachine({ docker: engineClient(engine) })),
  ]);
  return { engine, parts: [node, enginePart, ...pulumi, ...images], problems: [...problems, ...machine] };
}
