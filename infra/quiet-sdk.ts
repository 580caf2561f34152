// Imported before anything else. Habits of the SDK made up a third of a preview's time (docs/adr/0020-performance.md); none of
// them is of use here.
import { createRequire, Module } from "node:module";

const require = createRequire(import.meta.url);

// What the SDK's index loads besides what a program needs: the Automation API, dynamic and own providers, npm's dependency
// resolver, a TypeScript compiler and a debugger session, for programs that drive other programs or turn functions into code.
// Each is loaded when something asks for it.
const sdk = createRequire(require.resolve("@pulumi/pulumi"));
for (const name of [
  "./automation",
  "./dynamic",
  "./provider",
  "./runtime/closure/createClosure",
  "@npmcli/arborist",
  "normalize-package-data",
]) {
  const file = resolved(name);
  if (file === undefined || require.cache[file] !== undefined) continue;
  const deferred = new Module(file);
  let real: Record<PropertyKey, unknown> | undefined;
  deferred.exports = new Proxy(
    {},
    {
      get(_target, key) {
        if (key === "__esModule") return true; // asked of every module where it is imported
        if (real === undefined) {
          Reflect.deleteProperty(require.cache, file);
          real = require(file) as Record<PropertyKey, unknown>;
        }
        return key === "default" && real["__esModule"] !== true ? real : real[key];
      },
    },
  );
  deferred.loaded = true;
  require.cache[file] = deferred;
}

/** Another version of the SDK may do without it. */
function resolved(name: string): string | undefined {
  try {
    return sdk.resolve(name);
  } catch {
    return undefined;
  }
}

// Its launcher maps stack traces back through source maps, and it takes a trace for each resource and each promise. Node strips
// types in place, so lines and columns are right as they are.
Reflect.deleteProperty(Error, "prepareStackTrace");

// The traces of its promises, ten for a resource, are shown only by PULUMI_DEBUG_PROMISE_LEAKS.
if (!process.env["PULUMI_DEBUG_PROMISE_LEAKS"]) {
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

// Each of its debug messages, about five for a resource, is a call to the engine that waits for the one before, shown only by
// `pulumi --debug`.
if (process.env["AIWDB_SDK_DEBUG"] !== "1") {
  const log = require("@pulumi/pulumi/log") as { debug: (message: string) => Promise<void> };
  log.debug = () => Promise.resolve();
}
