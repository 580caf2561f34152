import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import path from "node:path";
import { describe, expect, test, vi } from "vitest";
import { clearDeadLocks } from "../../stack/pulumi-lock.ts";
import { withStackLock } from "../../stack/lock.ts";
import { backend, home, renewForEachTest, root, thrown } from "../helpers/temporary-checkout.ts";

vi.mock(import("../../base/versions.ts"), async (original) => ({
  ...(await original()),
  PACKAGE_ROOT: (await import("../helpers/temporary-checkout.ts")).checkout,
}));
renewForEachTest();

describe("a lock", () => {
  const lock = (pid: number, host = hostname()) => {
    const folder = path.join(backend, ".pulumi/locks/organization/ai-workflow-database/dev");
    mkdirSync(folder, { recursive: true });
    const file = path.join(folder, "lock.json");
    writeFileSync(
      file,
      JSON.stringify({ pid, username: "somebody", hostname: host, timestamp: "2026-01-01T00:00:00Z" }),
    );
    writeFileSync(`${file}.attrs`, "{}");
    return file;
  };

  test("of a process that is gone is removed, and the user hears of it", async () => {
    const child = spawn(process.execPath, ["-e", ""]);
    await once(child, "exit");
    const file = lock(child.pid ?? 0);
    const warnings: string[] = [];
    clearDeadLocks("dev", (line) => warnings.push(line));
    expect([existsSync(file), existsSync(`${file}.attrs`)]).toEqual([false, false]);
    expect(warnings).toEqual([
      `the last run on stack "dev" (process ${child.pid}) was cut off; continuing from where it stopped`,
    ]);
  });

  test("of a process at work stops the command and names its holder", async () => {
    writeFileSync(path.join(root, "pulumi"), "#!/bin/sh\necho started\nread -r _\n", { mode: 0o755 });
    const pulumi = spawn(path.join(root, "pulumi"));
    await once(pulumi.stdout, "data");
    try {
      const file = lock(pulumi.pid ?? 0);
      const error = thrown(() => clearDeadLocks("dev", () => {}));
      expect(error.message).toContain('Stack "dev" is in use; nothing has been changed:');
      expect(error.message).toContain(
        `held by process ${pulumi.pid} of somebody on ${hostname()} since 2026-01-01T00:00:00Z`,
      );
      expect(existsSync(file)).toBe(true);
    } finally {
      pulumi.stdin.end();
      await once(pulumi, "exit");
    }
  });

  test("whose number another program got meanwhile is removed too", () => {
    const file = lock(process.pid);
    clearDeadLocks("dev", () => {});
    expect(existsSync(file)).toBe(false);
  });

  test("of another machine is never removed, whatever runs here", () => {
    const file = lock(2 ** 22 + 1, "another-machine");
    expect(thrown(() => clearDeadLocks("dev", () => {})).message).toContain("on another-machine");
    expect(existsSync(file)).toBe(true);
  });

  test("of another stack, or none at all, stops nobody", () => {
    lock(2 ** 22 + 1, "another-machine");
    const warnings: string[] = [];
    clearDeadLocks("prod", (line) => warnings.push(line));
    vi.stubEnv("PULUMI_BACKEND_URL", "s3://bucket");
    clearDeadLocks("dev", (line) => warnings.push(line));
    expect(warnings).toEqual([]);
  });
});

describe("the lock on a stack", () => {
  const locked = <T>(stack: string, work: () => Promise<T>) => withStackLock(stack, () => {}, work);

  test("lets one command at a time change it, and names the one that does", async () => {
    let release = () => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    let first: Promise<void> = held;
    // The lock's folder is there a moment before the lock is held.
    await new Promise<void>((begun) => {
      first = locked("dev", () => {
        begun();
        return held;
      });
    });
    expect(existsSync(path.join(home, ".local/state/ai-workflow-database/locks"))).toBe(true);
    await expect(locked("dev", async () => {})).rejects.toThrow(
      new RegExp(
        `Stack "dev" is in use; nothing has been changed:\\n- lock: held by process ${process.pid} on ${hostname()} since \\d{4}-`,
      ),
    );
    expect(await locked("prod", async () => "another stack")).toBe("another stack");
    release();
    await first;
    expect(await locked("dev", async () => "done")).toBe("done");
  });

  test("of a run that was killed stops nobody", async () => {
    const lock = path.join(import.meta.dirname, "../../stack/lock.ts");
    const script = `import { withStackLock } from "${lock}"; await withStackLock("dev", () => {}, async () => { console.log("held"); setInterval(() => {}, 1000); await new Promise(() => {}); });`;
    const holder = spawn(process.execPath, ["--input-type=module", "-e", script]);
    await once(holder.stdout, "data");
    await expect(locked("dev", async () => {})).rejects.toThrow(`held by process ${holder.pid}`);
    holder.kill("SIGKILL");
    await once(holder, "exit");
    expect(await locked("dev", async () => "done")).toBe("done");
  });
});
