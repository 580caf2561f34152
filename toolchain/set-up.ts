import { delimiter } from "node:path";
import { ensureEngine, type Engine } from "./engine/find.ts";
import { engineClient, engineEnv } from "./engine/client.ts";
import { ToolError, type Problem } from "../base/errors.ts";
import type { Image } from "./images/build.ts";
import type { ImageKind } from "./images/tag.ts";
import { ensurePlugins, type Plugins } from "./plugins.ts";
import type { Report } from "../base/progress.ts";
import { directLoopback } from "./proxy.ts";
import { ensurePulumiCli, type PulumiCli } from "./pulumi.ts";
import { readRecord, writeRecord } from "./record.ts";

/** Everything the programs need, ready to use. */
export interface Toolchain {
  readonly pulumi: PulumiCli;
  readonly plugins: Plugins;
  readonly engine: Engine;
  /** Absent if they were not asked for. */
  readonly images?: Readonly<Record<ImageKind, Image>>;
  /** Environment for a child `pulumi`. */
  readonly env: NodeJS.ProcessEnv;
}

/** How this machine got each part when it was first set up. */
export type ToolchainRecord = Readonly<Record<"pulumi" | "plugins" | "engine" | "images", string>>;

export interface SetUpOptions {
  readonly report: Report;
  /** Also build the images. @default true */
  readonly images?: boolean;
}

/** The environment in which `pulumi` finds its language host, its plugins and the engine. */
function pulumiEnv(pulumi: PulumiCli, plugins: Plugins, engine: Engine): NodeJS.ProcessEnv {
  return {
    ...process.env,
    ...directLoopback(),
    ...plugins.env,
    ...engineEnv(engine),
    PATH: [...new Set([...pulumi.path, process.env["PATH"] ?? ""])].join(delimiter),
    // The version is the package's decision; asking for a newer one costs time, or a time-out without a network.
    PULUMI_SKIP_UPDATE_CHECK: "true",
  };
}

/** Joins the failures of several parts into one error. A single failure stays as it is. */
function combined(failures: readonly unknown[]): unknown {
  if (failures.length === 1) return failures[0];
  const unexpected = failures.find((failure) => !(failure instanceof ToolError));
  if (unexpected !== undefined) return unexpected;
  const problems = (failures as ToolError[]).flatMap((failure): readonly Problem[] =>
    failure.problems.length > 0 ? failure.problems : [{ subject: "set-up", problem: failure.message }],
  );
  return new ToolError("The tools can't be set up.", problems, { cause: failures });
}

function remember(toolchain: Omit<Toolchain, "env">): void {
  const known = readRecord<ToolchainRecord>("toolchain");
  const { pulumi, plugins, engine, images } = toolchain;
  const imageWays = images && [...new Set(Object.values(images).map(({ base }) => `base ${base}`))].join(", ");
  const record: ToolchainRecord = {
    pulumi: pulumi.way,
    plugins: plugins.way,
    // "found" says less than how the private engine got here, which was recorded when it happened.
    engine: engine.way === "found" && engine.isPrivate ? (known?.engine ?? engine.way) : engine.way,
    images: imageWays ?? known?.images ?? "not built",
  };
  if (JSON.stringify(record) !== JSON.stringify(known)) writeRecord("toolchain", record);
}

/**
 * Provides engine, Pulumi, its plugins and the images. Whatever is missing is downloaded, built or started, and slow
 * parts run at the same time. When everything is there, only quick checks are made.
 *
 * @throws ToolError that names everything that could not be had, and what to do
 */
export async function setUp({ report, images: withImages = true }: SetUpOptions): Promise<Toolchain> {
  const engineAndImages = async () => {
    const engine = await ensureEngine(report);
    if (engine.way !== "found") report(`Docker Engine ${engine.version}: ${engine.way} (${engine.host})`);
    if (!withImages) return { engine, images: undefined };
    const { ensureImages } = await import("./images/ensure.ts");
    return { engine, images: await ensureImages({ docker: engineClient(engine), report }) };
  };
  const cli = ensurePulumiCli(report);
  const parts = [engineAndImages(), cli, ensurePlugins(cli, report)] as const;
  const failures = (await Promise.allSettled(parts)).flatMap((result) =>
    result.status === "rejected" ? [result.reason as unknown] : [],
  );
  if (failures.length > 0) throw combined([...new Set(failures)]);
  const [{ engine, images }, pulumi, plugins] = await Promise.all(parts);
  const toolchain = { pulumi, plugins, engine, ...(images === undefined ? {} : { images }) };
  remember(toolchain);
  return { ...toolchain, env: pulumiEnv(pulumi, plugins, engine) };
}
