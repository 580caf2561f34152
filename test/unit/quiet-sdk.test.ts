import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";

const PROGRAM = `
  import "./infra/quiet-sdk.ts";
  import * as pulumi from "@pulumi/pulumi";
  import { createRequire } from "node:module";
  const require = createRequire(import.meta.url);
  const loaded = () => ["@npmcli/arborist/lib/index.js", "/typescript/lib/typescript.js", "/automation/stack.js", "/dynamic/index.js"]
    .filter((file) => Object.values(require.cache).some((module) => module.filename?.endsWith(file)));
  const before = loaded();
  const works = [typeof pulumi.automation.LocalWorkspace.createOrSelectStack, typeof pulumi.dynamic.Resource];
  console.log(JSON.stringify({ before, works, after: loaded() }));
`;

test("what of the SDK a program does not need is loaded when something asks for it, and works then", () => {
  const output = execFileSync(process.execPath, ["--input-type=module", "--eval", PROGRAM], { encoding: "utf8" });
  expect(JSON.parse(output)).toEqual({
    before: [],
    works: ["function", "function"],
    after: expect.arrayContaining(["/automation/stack.js", "/dynamic/index.js"]),
  });
});
