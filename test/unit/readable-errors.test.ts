import { inspect } from "node:util";
import { expect, test } from "vitest";
import { withPackageNames } from "../../infra/readable-errors.ts";

const TRACE = [
  "Error: mine",
  "    at file:///home/me/index.mjs:14:29",
  "    at Object.run (/home/me/node_modules/@pulumi/cmd/run/run.ts:523:33)",
  "    at Stack.initialize (/home/me/node_modules/@pulumi/resource.ts:1687:22)",
  "    at wrong (C:\\me\\node_modules\\@pulumi\\resource.ts:1:2)",
  "    at right (/home/me/node_modules/pg/lib/client.js:1:2)",
].join("\n");

test("a trace into a source that lies beside its packages can be shown in colours, and says the same", () => {
  const error = new Error("mine");
  error.stack = withPackageNames(TRACE);
  expect(error.stack).toBe(
    TRACE.replace("@pulumi/resource", "@pulumi/./resource").replace("@pulumi\\resource", "@pulumi\\.\\resource"),
  );
  expect(inspect(error, { colors: true })).toContain("resource.ts:1687:22");
});
