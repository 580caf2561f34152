import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { run } from "../../base/run.ts";

test("a program that fails is named with its exit code and the end of its output", async () => {
  await expect(run("sh", ["-c", "echo said; echo wrong >&2; exit 3"])).rejects.toThrow(
    /ended with exit code 3\.\n.*wrong/s,
  );
  await expect(run("there-is-no-such-program", [])).rejects.toThrow("spawn there-is-no-such-program ENOENT");
  await expect(run("sleep", ["10"], { timeoutMs: 50 })).rejects.toThrow("did not end within 0.05 s");
});

test("a process without a file descriptor left says so, and goes on", () => {
  const script = `
    import { closeSync, openSync } from "node:fs";
    import { run } from ${JSON.stringify(new URL("../../base/run.ts", import.meta.url).href)};
    const open = [];
    try { for (;;) open.push(openSync("/dev/null")); } catch {}
    const failed = await run("true", []).catch((error) => error);
    open.forEach(closeSync);
    console.log(failed.name, failed.message);`;
  const limited = ["-c", 'ulimit -n 64; exec "$@"', "sh", process.execPath, "--input-type=module", "-e", script];
  expect(execFileSync("sh", limited, { encoding: "utf8" })).toBe("ToolError true: spawn true EMFILE.\n");
});
