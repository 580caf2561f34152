// Imported before anything else. Two habits of the SDK made up a third of a preview's time (docs/adr/0020-performance.md);
// neither is of use here.
import { createRequire } from "node:module";

// Its launcher maps stack traces back through source maps, and it takes a trace for each resource and each promise. Node strips
// types in place, so lines and columns are right as they are.
Reflect.deleteProperty(Error, "prepareStackTrace");

// Each of its debug messages, about five for a resource, is a call to the engine that waits for the one before, shown only by
// `pulumi --debug`.
if (process.env["AIWDB_SDK_DEBUG"] !== "1") {
  const log = createRequire(import.meta.url)("@pulumi/pulumi/log") as { debug: (message: string) => Promise<void> };
  log.debug = () => Promise.resolve();
}
