// Imported before anything else. Habits of the SDK made up a third of a preview's time (docs/adr/0020-performance.md); none of
// them is of use here.
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

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
