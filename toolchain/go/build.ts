import { globSync } from "node:fs";
import { join } from "node:path";
import { cached, findCached, hashFiles, type CacheEntry } from "../cache.ts";
import { ToolError } from "../../base/errors.ts";
import { reportWaiting } from "../../base/lock.ts";
import { step, type Report } from "../../base/progress.ts";
import { findPrograms, run } from "../../base/run.ts";
import { atLeast, PACKAGE_ROOT, versions } from "../../base/versions.ts";

const GO_FOLDER = join(PACKAGE_ROOT, "toolchain/go");

/** One program built from a committed Go module. */
export interface GoProgram {
  /** Name of the cache entry. */
  readonly entry: string;
  /** Name of the executable. */
  readonly program: string;
  /** Module below toolchain/go. */
  readonly module: string;
  /** Go package of the program. */
  readonly package: string;
  /** Version the program reports, and the variable the linker puts it in. */
  readonly version: string;
  readonly versionVariable: string;
}

async function cacheEntry(program: GoProgram): Promise<CacheEntry> {
  const folder = join(GO_FOLDER, program.module);
  const sources = globSync(["**/*.go", "**/go.mod", "**/go.sum"], { cwd: folder }).toSorted();
  const sourceHash = await hashFiles(sources.map((name) => join(folder, name)));
  return {
    name: program.entry,
    key: [program.package, program.version, process.platform, process.arch, sourceHash].join(" "),
  };
}

async function findGo(): Promise<string> {
  const remedy = `Install Go ${versions.go.minimum} or later (https://go.dev/dl/), or allow access to get.pulumi.com and api.github.com.`;
  const problem = "its own downloads can't be reached from here, and building it needs Go";
  const unusable = (what: string) =>
    new ToolError("Pulumi can't be set up.", { subject: "Go", problem: `${what}; ${problem}`, remedy });
  const [go] = findPrograms("go", ["/usr/local/go/bin", "/usr/lib/go/bin"]);
  if (go === undefined) throw unusable("not found");
  const version = (await run(go, ["env", "GOVERSION"], { timeoutMs: 30_000 })).trim();
  if (!atLeast(version, versions.go.minimum)) throw unusable(`${go} is ${version}`);
  return go;
}

/** The folder of an already built program. */
export async function findBuilt(program: GoProgram, thorough = false): Promise<string | undefined> {
  return await findCached(await cacheEntry(program), { thorough });
}

/** The folder the program lies in, built first where it is not cached. */
export async function buildGoProgram(program: GoProgram, report: Report): Promise<string> {
  const build = async (folder: string) => {
    const go = await findGo();
    const flags = `-s -w -X ${program.versionVariable}=${program.version}`;
    const output = join(folder, program.program);
    const args = ["build", "-mod=readonly", "-trimpath", "-ldflags", flags, "-o", output, program.package];
    // No C compiler needed, and the program runs whatever libc there is.
    const env = { ...process.env, CGO_ENABLED: "0", GOWORK: "off", GOFLAGS: "" };
    await step(report, `${program.program} ${program.version}: building from Go modules`, () =>
      run(go, args, { cwd: join(GO_FOLDER, program.module), env }),
    );
  };
  return await cached(await cacheEntry(program), build, { lock: reportWaiting(program.program, report) });
}
