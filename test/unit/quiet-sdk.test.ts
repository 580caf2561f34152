import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { dependencyVersion } from "../../base/versions.ts";
import { KNOWN_SDK } from "../../infra/quiet-sdk.ts";

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

function run(args: readonly string[] = [], env: NodeJS.ProcessEnv = {}) {
  const output = execFileSync(process.execPath, [...args, "--input-type=module", "--eval", PROGRAM], {
    encoding: "utf8",
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "ignore"],
  });
  return JSON.parse(output) as { before: string[]; works: string[]; after: string[] };
}

test("what of the SDK a program does not need is loaded when something asks for it, and works then", () => {
  expect(run()).toEqual({
    before: [],
    works: ["function", "function"],
    after: expect.arrayContaining(["/automation/stack.js", "/dynamic/index.js"]),
  });
});

test("the SDK that is reached into is the one that is known", () => {
  expect(dependencyVersion("@pulumi/pulumi"), "look at infra/quiet-sdk.ts again, then raise its KNOWN_SDK").toBe(
    KNOWN_SDK,
  );
});

test.each([
  ["our own variable", [], { AIWDB_SDK_DEBUG: "1" }],
  ["one of Pulumi's", [], { PULUMI_DEBUG_PROMISE_LEAKS: "true" }],
  ["an inspector", ["--inspect=127.0.0.1:0"], {}],
])("who debugs, by %s, has the SDK as it is", (_by, args, env) => {
  expect(run(args, env).before).toContain("/automation/stack.js");
});
