import { execFileSync, spawnSync } from "node:child_process";
import path from "node:path";
import { expect, test } from "vitest";

const RUN = path.join(import.meta.dirname, "../../cli/run.ts");

/** A program that does this as its command. */
const program = (work: string) => `
  import { setTimeout as wait } from "node:timers/promises";
  import { runProgram } from ${JSON.stringify(RUN)};
  await runProgram({ default: { run: async () => { ${work} } } }, [], ["--work"], [""]);`;

/** Runs a command whose stdout is on a full disk. */
function onFullDisk(work: string): { status: number | null; stderr: string } {
  const node = `"${process.execPath}" --input-type=module > /dev/full`;
  const { status, stderr } = spawnSync("sh", ["-c", node], { input: program(work), encoding: "utf8" });
  return { status, stderr };
}

test.skipIf(process.platform !== "linux").each([
  ["that goes on for a while", `for (let at = 0; at < 4; at += 1) { process.stdout.write("x"); await wait(1); }`],
  ["that says itself that all is well", `process.stdout.write("x"); await wait(1); process.exitCode = 0;`],
  ["that prints only at its end", `process.exitCode = 0; process.stdout.write("x");`],
])("a command %s ends with 1 and one message", (_what, work) => {
  expect(onFullDisk(work)).toEqual({
    status: 1,
    stderr: "The result cannot be written: ENOSPC: no space left on device, write\n",
  });
});

test("a reader that has left is no error", () => {
  const work = `for (let at = 0; at < 4; at += 1) { process.stdout.write("x\\n"); await wait(20); } process.stderr.write("done");`;
  const pipe = `{ "${process.execPath}" --input-type=module 2>&3; echo "code $?" >&3; } 3>&2 | head -1 > /dev/null`;
  const printed = execFileSync("sh", ["-c", `(${pipe}) 2>&1`], { input: program(work), encoding: "utf8" });
  expect(printed).toBe("donecode 0\n");
});
