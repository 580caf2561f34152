// Imported before anything else. Habits of the SDK made up a third of a preview's time (docs/adr/0020-performance.md);
// none of them is of use here. What follows reaches into the SDK, so it is for one version of it, and not for whoever
// debugs.
import inspector from "node:inspector";
import { createRequire } from "node:module";
import { deferModule } from "../base/deferred-module.ts";

/** The version whose insides are known; test/unit/quiet-sdk.test.ts holds that it is the installed one. */
export const KNOWN_SDK = "3.270.0";

const require = createRequire(import.meta.url);

/** `pulumi --attach-debugger`, `node --inspect`, one of Pulumi's own variables for debugging, or ours. */
const isDebugging =
  inspector.url() !== undefined ||
  process.env["AIWDB_SDK_DEBUG"] === "1" ||
  Object.keys(process.env).some((name) => name.startsWith("PULUMI_DEBUG"));
const { version } = require("@pulumi/pulumi/package.json") as { version: string };
if (version === KNOWN_SDK && !isDebugging) {
  deferModules();
  dropTraces();
  dropDebugMessages();
}

/**
 * What the SDK's index loads besides what a program needs: the Automation API, dynamic and own providers, npm's
 * dependency resolver, a TypeScript compiler and a debugger session, for programs that drive other programs or turn
 * functions into code. Each is loaded when something asks for it.
 */
function deferModules(): void {
  const sdk = require.resolve("@pulumi/pulumi");
  for (const name of [
    "./automation",
    "./dynamic",
    "./provider",
    "./runtime/closure/createClosure",
    "@npmcli/arborist",
    "normalize-package-data",
  ]) {
    deferModule(sdk, name);
  }
}

/**
 * The SDK takes a stack trace for each resource and ten for its promises; its launcher maps each back through source
 * maps. Node strips types in place, so lines and columns are right as they are, and only PULUMI_DEBUG_PROMISE_LEAKS
 * shows those of promises.
 */
function dropTraces(): void {
  Reflect.deleteProperty(Error, "prepareStackTrace");
  const debuggable = require("@pulumi/pulumi/runtime/debuggable") as {
    debuggablePromise: (...args: unknown[]) => unknown;
  };
  const original = debuggable.debuggablePromise;
  debuggable.debuggablePromise = (...args) => {
    const limit = Error.stackTraceLimit;
    Error.stackTraceLimit = 0;
    try {
      return original(...args);
    } finally {
      Error.stackTraceLimit = limit;
    }
  };
}

/**
 * About five for a resource, each a call to the engine that waits for the one before; only `pulumi --debug` shows them.
 */
function dropDebugMessages(): void {
  const log = require("@pulumi/pulumi/log") as { debug: (message: string) => Promise<void> };
  log.debug = () => Promise.resolve();
}
