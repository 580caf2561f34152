import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test, vi } from "vitest";
import { passphraseFile } from "../../infra/settings/places.ts";
import { backendUrl, isNew, readStateFile, recorded, repairAttributes, stateFile } from "../../stack/backend.ts";
import { ensureStack, openSession, readState } from "../../stack/session.ts";
import { backend, checkout, home, renewForEachTest, root, thrown } from "../helpers/temporary-checkout.ts";

vi.mock(import("../../base/versions.ts"), async (original) => ({
  ...(await original()),
  PACKAGE_ROOT: (await import("../helpers/temporary-checkout.ts")).checkout,
}));
renewForEachTest();

describe("the backend", () => {
  test("is the environment's, else Pulumi.yaml's, else a private folder of this user's", () => {
    expect(backendUrl()).toBe(`file://${backend}`);
    vi.stubEnv("PULUMI_BACKEND_URL", undefined);
    const own = path.join(home, ".local/state/ai-workflow-database/pulumi");
    expect(backendUrl()).toBe(`file://${own}`);
    expect(statSync(own).mode & 0o777).toBe(0o700);
    writeFileSync(path.join(checkout, "Pulumi.yaml"), "name: x\nbackend: { url: s3://bucket }\n");
    expect(backendUrl()).toBe("s3://bucket");
  });

  test("has a state file only where it is a folder, also one below the home folder or the checkout", () => {
    expect(stateFile("dev")).toBe(path.join(backend, ".pulumi/stacks/ai-workflow-database/dev.json"));
    vi.stubEnv("PULUMI_BACKEND_URL", "s3://bucket");
    expect([stateFile("dev"), readStateFile("dev")]).toEqual([undefined, { kind: "elsewhere" }]);
    vi.stubEnv("PULUMI_BACKEND_URL", "file://./state");
    expect(stateFile("dev")).toBe(path.join(checkout, "state/.pulumi/stacks/ai-workflow-database/dev.json"));
  });
});

describe("the state file", () => {
  const write = (text: string, file = stateFile("dev") ?? "") => {
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text);
    return file;
  };
  const whole = JSON.stringify({ version: 3, checkpoint: { latest: { resources: [{ urn: "urn:1", type: "t" }] } } });

  test("gives its resources, none for a stack that was only initialized, and tells that from one that never was", () => {
    expect(readStateFile("dev")).toEqual({ kind: "none" });
    write(JSON.stringify({ version: 3, checkpoint: { latest: null } }));
    expect(readStateFile("dev")).toEqual({ kind: "recorded", resources: [] });
    write(whole);
    expect(readStateFile("dev")).toEqual({ kind: "recorded", resources: [{ urn: "urn:1", type: "t" }] });
  });

  test("may say by null that it has no resources and no operations", () => {
    expect(recorded({ resources: null, pending_operations: null })).toEqual({ kind: "recorded", resources: [] });
  });

  test("cut in half names itself and the command that puts the last good backup back", () => {
    const file = write(whole.slice(0, whole.length / 2));
    write(whole, `${file}.bak`);
    const error = thrown(() => readStateFile("dev"));
    expect(error.name).toBe("StateError");
    expect(error.message).toMatch(/^The state of stack "dev" cannot be read; nothing has been changed:/);
    expect(error.problems).toEqual([
      {
        subject: file,
        problem: "is cut off or is no JSON",
        remedy: `Put the last good one back, then run the command again: cp '${file}.bak' '${file}'`,
      },
    ]);
    expect(readFileSync(file, "utf8")).toBe(whole.slice(0, whole.length / 2));
    execFileSync("sh", ["-c", /cp .*$/m.exec(error.problems?.[0]?.remedy ?? "")?.[0] ?? "false"]);
    expect(readStateFile("dev")).toMatchObject({ kind: "recorded", resources: [{}] });
  });

  test("cut in half together with its backup falls back to the newest whole one of the updates before", () => {
    const file = write("{");
    write("{", `${file}.bak`);
    const backups = path.join(backend, ".pulumi/backups/ai-workflow-database/dev");
    write(whole, path.join(backups, "dev.100.json"));
    write(whole, path.join(backups, "dev.200.json"));
    write("{", path.join(backups, "dev.300.json"));
    expect(thrown(() => readStateFile("dev")).problems?.[0]?.remedy).toContain(
      `cp '${path.join(backups, "dev.200.json")}' '${file}'`,
    );
  });

  test("without any readable backup names the way that keeps the data", () => {
    write("");
    expect(thrown(() => readStateFile("dev")).problems?.[0]?.remedy).toContain("--reset-passwords");
  });
});

describe("an attribute file that is no JSON", () => {
  const write = (text: string) => {
    const file = `${stateFile("other")}.attrs`;
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text);
    return file;
  };

  test("is removed, also when the run that wrote it was killed only now", () => {
    const file = write("");
    repairAttributes();
    expect(existsSync(file)).toBe(false);
  });

  test("is waited for while another run writes it", async () => {
    const file = write("");
    const writer = spawn("sh", ["-c", 'sleep 0.1; [ -e "$1" ] && printf "{}" > "$1"', "sh", file]);
    const ended = once(writer, "exit");
    repairAttributes();
    await ended;
    expect(readFileSync(file, "utf8")).toBe("{}");
  });
});

describe("a state that is no folder's", () => {
  const calls = () => readFileSync(path.join(root, "calls"), "utf8").trim().split("\n");
  /** A session on a `pulumi` that answers each command with what stands in a file of its name. */
  const session = (answers: Record<string, { exitCode?: number; stdout?: string; stderr?: string }>) => {
    vi.stubEnv("PULUMI_BACKEND_URL", "s3://bucket");
    const bin = path.join(root, "pulumi");
    const cases = Object.entries(answers).map(
      ([command, { exitCode = 0, stdout = "", stderr = "" }]) =>
        `"${command} "*) printf %s '${stdout}'; printf %s '${stderr}' >&2; exit ${exitCode};;`,
    );
    writeFileSync(bin, `#!/bin/sh\necho "$*" >>'${root}/calls'\ncase "$* " in\n${cases.join("\n")}\nesac\nexit 9\n`, {
      mode: 0o755,
    });
    return openSession("dev", { pulumi: { bin }, env: { PATH: process.env["PATH"] } } as never);
  };
  const resources = [
    { urn: "urn:1", type: "pulumi:pulumi:Stack" },
    { urn: "urn:2", type: "docker:index/container:Container", id: "abc" },
  ];

  test("is Pulumi's export, so that a stack which is up is not taken for a new one", async () => {
    const state = await readState(
      session({ "stack export": { stdout: JSON.stringify({ deployment: { resources } }) } }),
    );
    expect(state).toEqual({ kind: "recorded", resources });
    expect(isNew(state)).toBe(false);
    expect(calls()).toEqual(["stack export --non-interactive --stack dev"]);
  });

  test("has no resources while the stack is only initialized", async () => {
    const state = await readState(session({ "stack export": { stdout: JSON.stringify({ deployment: {} }) } }));
    expect(state).toEqual({ kind: "recorded", resources: [] });
    expect(isNew(state)).toBe(true);
  });

  const failed = { exitCode: 1, stderr: "error: no answer" };

  test("is none only if the list of stacks says so", async () => {
    const list = JSON.stringify([{ name: "organization/ai-workflow-database/prod" }]);
    const state = await readState(session({ "stack export": failed, "stack ls": { stdout: list } }));
    expect(state).toEqual({ kind: "none" });
  });

  test.each([
    ["the backend does not answer", failed],
    ["the stack is there and cannot be exported", { stdout: '[{"name":"organization/ai-workflow-database/dev"}]' }],
  ])("is unknown where %s, and nothing goes on", async (_why, list) => {
    const unreadable = session({ "stack export": failed, "stack ls": list });
    const refusal =
      /^The state of stack "dev" cannot be read; nothing has been changed:\n- s3:\/\/bucket: error: no answer/;
    await expect(readState(unreadable)).rejects.toThrow(refusal);
    await expect(ensureStack(unreadable)).rejects.toThrow(refusal);
    expect(calls().join()).not.toContain("init");
    expect(existsSync(passphraseFile("dev"))).toBe(false);
  });

  test("is not made where the settings file has secrets of another passphrase, and what to do is said", async () => {
    const settings = "config: {}\nencryptionsalt: v1:c2FsdA==:v1:bm9uY2U=:dGV4dA==\n";
    writeFileSync(path.join(checkout, "Pulumi.dev.yaml"), settings);
    const made = ensureStack(
      session({
        "stack export": failed,
        "stack ls": { stdout: "[]" },
        "stack init": {
          exitCode: 255,
          stderr: "error: could not create secrets manager for new stack: incorrect passphrase",
        },
      }),
    );
    await expect(made).rejects.toThrow("- Pulumi.dev.yaml: was encrypted with another passphrase");
    await expect(made).rejects.toThrow("`npx aiwdb pulumi --stack dev -- config set --secret …`");
  });
});
