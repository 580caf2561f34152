import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import path from "node:path";
import { afterAll, beforeEach, describe, expect, test, vi } from "vitest";
import { passphraseFile, stackFolder } from "../../infra/settings/places.ts";
import { parseConfig } from "../../infra/settings/check.ts";
import { backendUrl, isNew, readStateFile, repairAttributes, stateFile } from "../../stack/backend.ts";
import { clearDeadLocks, recordPulumi } from "../../stack/pulumi-lock.ts";
import { isDisposable, makePassphrase, passphraseEnv } from "../../stack/passphrase.ts";
import {
  effectiveSettings,
  ensureStack,
  forgetStack,
  openSession,
  openTemporarySession,
  readState,
} from "../../stack/session.ts";
import { otherDatabaseNames, readSettingsFile } from "../../infra/settings/file.ts";
import { checkAgreement, checkStackConfig, readStackConfig } from "../../stack/settings-file.ts";
import { withStackLock } from "../../stack/lock.ts";

/** A checkout and a home of its own for every test. */
const root = vi.hoisted(() => `${process.env["TMPDIR"] ?? "/tmp"}/aiwdb-cli-stack-${process.pid}`);
vi.mock(import("../../base/versions.ts"), async (original) => ({
  ...(await original()),
  PACKAGE_ROOT: path.join(root, "checkout"),
}));

const checkout = path.join(root, "checkout");
const home = path.join(root, "home");
const backend = path.join(root, "backend");

beforeEach(() => {
  rmSync(root, { recursive: true, force: true });
  for (const folder of [checkout, home, backend]) mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(checkout, "Pulumi.yaml"), "name: ai-workflow-database\nruntime: nodejs\n");
  for (const name of ["PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"]) vi.stubEnv(name, undefined);
  vi.stubEnv("HOME", home);
  for (const name of ["XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"]) vi.stubEnv(name, undefined);
  vi.stubEnv("PULUMI_BACKEND_URL", `file://${backend}`);
});
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(root, { recursive: true, force: true });
});

const settingsFile = (stack: string, text: string) => writeFileSync(path.join(checkout, `Pulumi.${stack}.yaml`), text);

function thrown(
  work: () => unknown,
): Error & { problems?: readonly { subject: string; problem: string; remedy?: string }[] } {
  try {
    work();
  } catch (error) {
    return error as Error;
  }
  throw new Error("nothing was thrown");
}

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

describe("the passphrase", () => {
  test.each([
    ["dev", true],
    ["ci-12", true],
    ["pr-7", true],
    ["prod", false],
    ["staging", false],
    ["dev2", false],
    ["my-ci-1", false],
  ])("of %s may be generated: %s", (stack, disposable) => {
    expect(isDisposable(stack)).toBe(disposable);
  });

  const file = (stack = "dev") => passphraseFile(stack);
  const ownOf = (stack: string) => ({
    PULUMI_CONFIG_PASSPHRASE: undefined,
    PULUMI_CONFIG_PASSPHRASE_FILE: file(stack),
  });

  test("of dev is generated once, long, readable by this user only, and found again", () => {
    expect(passphraseEnv("dev", "none")).toStrictEqual(ownOf("dev"));
    expect(existsSync(file()), "nothing is made before the stack is").toBe(false);
    const before = process.umask(0o000);
    try {
      makePassphrase("dev");
    } finally {
      process.umask(before);
    }
    expect(file().startsWith(home)).toBe(true);
    expect(statSync(file()).mode & 0o777).toBe(0o600);
    expect(statSync(path.dirname(file())).mode & 0o777).toBe(0o700);
    expect(readdirSync(path.dirname(file()))).toEqual(["passphrase"]);
    const text = readFileSync(file(), "utf8");
    expect(text).toMatch(/^[A-Za-z0-9_-]{43}\n$/);
    makePassphrase("dev");
    expect(readFileSync(file(), "utf8")).toBe(text);
    expect(passphraseEnv("dev", "recorded")).toStrictEqual(ownOf("dev"));
  });

  test("is the same for two first runs at once", async () => {
    const script = `import { makePassphrase } from "${path.join(import.meta.dirname, "../../stack/passphrase.ts")}"; makePassphrase("dev");`;
    const run = () => spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: "inherit" });
    const runs = [run(), run(), run()].map((child) => once(child, "exit"));
    const seen = new Set<string>();
    const ended = Promise.all(runs).then(() => true);
    while (!(await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 1, false))])))
      if (existsSync(file())) seen.add(readFileSync(file(), "utf8"));
    seen.add(readFileSync(file(), "utf8"));
    expect(await Promise.all(runs)).toEqual([
      [0, null],
      [0, null],
      [0, null],
    ]);
    expect(seen.size).toBe(1);
  });

  test("that a killed run left empty is made anew", () => {
    mkdirSync(path.dirname(file()), { recursive: true });
    writeFileSync(file(), "");
    makePassphrase("dev");
    expect(readFileSync(file(), "utf8")).toMatch(/^\S{43}\n$/);
  });

  test("differs between stacks", () => {
    makePassphrase("dev");
    makePassphrase("ci-1");
    expect(readFileSync(file(), "utf8")).not.toBe(readFileSync(file("ci-1"), "utf8"));
  });

  test("of prod is demanded, and none is written", () => {
    const error = thrown(() => passphraseEnv("prod", "none"));
    expect(error.message).toMatch(/^Stack "prod" needs a passphrase; nothing has been changed:/);
    expect(error.message).toContain("PULUMI_CONFIG_PASSPHRASE_FILE");
    expect(existsSync(file("prod"))).toBe(false);
  });

  describe("given in the environment for prod", () => {
    beforeEach(() => vi.stubEnv("PULUMI_CONFIG_PASSPHRASE", "given"));

    test("is prod's", () => {
      expect(passphraseEnv("prod", "none")).toEqual({});
    });

    test("is not that of a dev with its own, nor of one that is made now, which any other shell shall open", () => {
      expect(passphraseEnv("dev", "none")).toStrictEqual(ownOf("dev"));
      makePassphrase("dev");
      for (const state of ["recorded", "elsewhere", "none"] as const)
        expect(passphraseEnv("dev", state)).toStrictEqual(ownOf("dev"));
    });

    test("opens a dev that has none: it was made by it, or its state is shared by machines", () => {
      expect(passphraseEnv("dev", "recorded")).toEqual({});
      expect(passphraseEnv("dev", "elsewhere")).toEqual({});
    });
  });

  test("of dev that is gone is named, and none is made that opens nothing", () => {
    const error = thrown(() => passphraseEnv("dev", "recorded"));
    expect(error.message).toMatch(/^The passphrase of stack "dev" is lost; nothing has been changed:/);
    expect(error.problems?.[0]?.subject).toBe(file());
    expect(existsSync(file())).toBe(false);
  });

  test("that is empty is refused for prod", () => {
    vi.stubEnv("PULUMI_CONFIG_PASSPHRASE", "");
    expect(thrown(() => passphraseEnv("prod", "none")).message).toContain(
      "is empty, so the state's secrets would be readable for everybody",
    );
  });

  test("that is given by an empty file is refused for prod", () => {
    const empty = path.join(root, "empty");
    writeFileSync(empty, "\n");
    vi.stubEnv("PULUMI_CONFIG_PASSPHRASE_FILE", empty);
    expect(thrown(() => passphraseEnv("prod", "none")).message).toContain("is empty");
  });

  test("that is given by a file that is not there is refused with its path", () => {
    vi.stubEnv("PULUMI_CONFIG_PASSPHRASE_FILE", "/no/such/file");
    for (const stack of ["prod", "dev"])
      expect(thrown(() => passphraseEnv(stack, "recorded")).message).toContain(
        "PULUMI_CONFIG_PASSPHRASE_FILE: there is no file /no/such/file",
      );
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
    await expect(readState(unreadable)).rejects.toThrow(
      /The state of stack "dev" cannot be read; nothing has been changed:\n- s3:\/\/bucket: error: no answer/,
    );
    await expect(ensureStack(unreadable)).rejects.toThrow("cannot be read");
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

describe("the lock on a stack", () => {
  test("lets one command at a time change it, and names the one that does", async () => {
    let release = () => {};
    const first = withStackLock(
      "dev",
      () => {},
      () => new Promise<void>((resolve) => (release = resolve)),
    );
    await vi.waitFor(() => expect(existsSync(path.join(home, ".local/state/ai-workflow-database/locks"))).toBe(true));
    await expect(
      withStackLock(
        "dev",
        () => {},
        async () => {},
      ),
    ).rejects.toThrow(
      new RegExp(
        `Stack "dev" is in use; nothing has been changed:\\n- lock: held by process ${process.pid} on ${hostname()} since \\d{4}-`,
      ),
    );
    expect(
      await withStackLock(
        "prod",
        () => {},
        async () => "another stack",
      ),
    ).toBe("another stack");
    release();
    await first;
    expect(
      await withStackLock(
        "dev",
        () => {},
        async () => "done",
      ),
    ).toBe("done");
  });

  test("of a run that was killed stops nobody", async () => {
    const lock = path.join(import.meta.dirname, "../../stack/lock.ts");
    const script = `import { withStackLock } from "${lock}"; await withStackLock("dev", () => {}, async () => { console.log("held"); setInterval(() => {}, 1000); await new Promise(() => {}); });`;
    const holder = spawn(process.execPath, ["--input-type=module", "-e", script]);
    await once(holder.stdout, "data");
    await expect(
      withStackLock(
        "dev",
        () => {},
        async () => {},
      ),
    ).rejects.toThrow(`held by process ${holder.pid}`);
    holder.kill("SIGKILL");
    await once(holder, "exit");
    expect(
      await withStackLock(
        "dev",
        () => {},
        async () => "done",
      ),
    ).toBe("done");
  });
});

describe("a settings file", () => {
  test("gives the project's settings without prefix and secrets, and knows how secrets are encrypted", () => {
    settingsFile(
      "dev",
      'config:\n  ai-workflow-database:postgresPort: "25432"\n  other:key: x\n  ai-workflow-database:ownerPassword: { secure: "v1:abc" }\n',
    );
    expect(readSettingsFile("dev")).toMatchObject({ settings: { postgresPort: "25432" }, hasSecretsProvider: false });
    settingsFile("prod", "encryptionsalt: v1:x\nconfig: {}\n");
    expect(readSettingsFile("prod").hasSecretsProvider).toBe(true);
  });

  test("that is missing, empty or has no config means the defaults", () => {
    for (const text of [undefined, "", "# nothing\n", "encryptionsalt: x\n", "config:\n"]) {
      if (text !== undefined) settingsFile("dev", text);
      expect(readStackConfig("dev")).toEqual(parseConfig("dev", {}));
    }
  });

  test.each([
    ["config: [", /Pulumi\.dev\.yaml: is no YAML: .*line 1/s],
    ["- a\n- b\n", /Pulumi\.dev\.yaml: must be a YAML mapping with the key `config`/],
    ["text", /Pulumi\.dev\.yaml: must be a YAML mapping with the key `config`/],
    ["config: text\n", /Pulumi\.dev\.yaml: `config` must be a mapping/],
    ["config:\n  - a\n", /Pulumi\.dev\.yaml: `config` must be a mapping/],
    [
      "config:\n  postgresPort: 1\n  other: 2\n",
      /postgresPort: has no namespace.*Write ai-workflow-database:postgresPort.*- other: has no namespace/s,
    ],
    ["config:\n  ai-workflow-database:postgresPrt: 1\n", /postgresPrt: there is no such setting/],
  ])("that reads %j is refused, and says why", (text, reason) => {
    settingsFile("dev", text);
    const error = thrown(() => readStackConfig("dev"));
    expect(error.name).toBe("ConfigError");
    expect(error.message).toMatch(reason);
  });

  test.each([
    'config:\n  ai-workflow-database:appUserPassword: "in-clear-and-known\n',
    "config:\n  ai-workflow-database:appUserPassword: *in-clear-and-known\n",
    "config:\n  ai-workflow-database:appUserPassword: in-clear-and-known: x\n",
  ])("that is no YAML shows nothing of itself, as a password may stand in it: %j", (text) => {
    settingsFile("dev", text);
    const { message } = thrown(() => readStackConfig("dev"));
    expect(message).toMatch(/Pulumi\.dev\.yaml: is no YAML: /);
    expect(message).not.toContain("in-clear-and-known");
  });

  test("of another stack with another database name stops this one, both files named", () => {
    settingsFile("dev", "config:\n  ai-workflow-database:databaseName: one\n");
    settingsFile("prod", "config:\n  ai-workflow-database:databaseName: two\n");
    const { message } = thrown(() => checkAgreement(readStackConfig("dev")));
    expect(message).toMatch(/Pulumi\.dev\.yaml, databaseName: one/);
    expect(message).toMatch(/Pulumi\.prod\.yaml, databaseName: two/);
  });

  test.each([
    ["config: { 'ai-workflow-database:databaseName': \"two\" } # a comment\n", "two"],
    ["config:\n  ai-workflow-database:databaseName: &name two\n  other:name: *name\n", "two"],
    ["config:\n  ai-workflow-database:databaseName: >-\n    two\n", "two"],
    ["config: {}\n", "ai_workflow_db"],
    ["", "ai_workflow_db"],
    ["config:\n  ai-workflow-database:databaseName: No Name\n", undefined],
    ["config:\n  ai-workflow-database:databaseName:\n", undefined],
    ["config: [", undefined],
  ])("of another stack gives its database's name as YAML means it, and none that is not usable: %j", (text, name) => {
    settingsFile("dev", "config:\n  ai-workflow-database:databaseName: one\n");
    settingsFile("prod", text);
    expect(otherDatabaseNames("dev")).toEqual(name === undefined ? [] : [{ stack: "prod", databaseName: name }]);
  });

  test("lists wrong settings, keys without namespace and another stack's other name in one error", () => {
    settingsFile("dev", "config:\n  postgresPort: 1\n  ai-workflow-database:postgresCpus: many\n");
    settingsFile("prod", "config: { 'ai-workflow-database:databaseName': \"two\" } # a comment\n");
    expect(checkStackConfig("dev").problems.map(({ subject }) => subject)).toEqual([
      "postgresPort",
      "postgresCpus",
      "Pulumi.dev.yaml, databaseName",
      "Pulumi.prod.yaml, databaseName",
    ]);
  });

  test("of another stack with the same name, or one that is broken itself, does not", () => {
    settingsFile("dev", "config:\n  ai-workflow-database:databaseName: one\n");
    settingsFile("prod", "config:\n  ai-workflow-database:databaseName: one\n");
    settingsFile("broken", "config: [");
    expect(() => checkAgreement(readStackConfig("dev"))).not.toThrow();
  });
});

describe("what Pulumi gets", () => {
  const settings = "config:\n  ai-workflow-database:postgresPort: 25432\n";
  const toolchain = { pulumi: { bin: "pulumi" }, env: {} } as never;
  const settingsFor = (stack: string) => effectiveSettings(openSession(stack, toolchain));
  const listing = () => readdirSync(checkout).map((name) => [name, readFileSync(path.join(checkout, name), "utf8")]);

  test("is a copy outside the checkout that keeps the salt Pulumi writes into it, and the checkout is never touched", () => {
    settingsFile("dev", settings);
    for (const name of readdirSync(checkout)) chmodSync(path.join(checkout, name), 0o444);
    const before = listing();
    const copy = settingsFor("dev");
    expect(copy.startsWith(home)).toBe(true);
    expect(readFileSync(copy, "utf8")).toBe(settings);

    writeFileSync(copy, `${settings}encryptionsalt: v1:salt\n`); // as `stack init` does
    expect(readFileSync(settingsFor("dev"), "utf8")).toBe(`${settings}encryptionsalt: v1:salt\n`);

    const changed = settings.replace("25432", "25433");
    chmodSync(path.join(checkout, "Pulumi.dev.yaml"), 0o644);
    settingsFile("dev", changed);
    expect(readFileSync(settingsFor("dev"), "utf8")).toBe(`${changed}encryptionsalt: v1:salt\n`);
    settingsFile("dev", settings);
    expect(listing()).toEqual(before);
  });

  test("is the checkout's own file when that says how secrets are encrypted", () => {
    settingsFile("prod", "secretsprovider: awskms://key\n");
    expect(settingsFor("prod")).toBe(path.join(checkout, "Pulumi.prod.yaml"));
  });

  test("has a passphrase only where secrets are encrypted by one", () => {
    const open = () => openSession("prod", toolchain).env;
    expect(() => open()).toThrow(/needs a passphrase/);
    settingsFile("prod", "secretsprovider: awskms://key\n");
    expect(open()).toMatchObject({ PULUMI_BACKEND_URL: `file://${backend}` });
    expect(open()).not.toHaveProperty("PULUMI_CONFIG_PASSPHRASE_FILE");
    settingsFile("prod", "secretsprovider: passphrase\n");
    expect(() => open()).toThrow(/needs a passphrase/);
    vi.stubEnv("PULUMI_BACKEND_URL", "https://api.pulumi.com");
    expect(open()).toMatchObject({ PULUMI_BACKEND_URL: "https://api.pulumi.com" });
  });

  test("is not the settings file of the stack that the shell was prepared for", () => {
    const env = { PULUMI_OPTION_CONFIG_FILE: "/of/prod.yaml" };
    const toolchainOfShell = { pulumi: { bin: "pulumi" }, env } as never;
    const temporary = openTemporarySession("prod", toolchainOfShell);
    for (const session of [openSession("dev", toolchainOfShell), temporary])
      expect(session.env["PULUMI_OPTION_CONFIG_FILE"]).toBeUndefined();
    temporary.remove();
  });

  test("is not prod's passphrase for a stack with its own", () => {
    vi.stubEnv("PULUMI_CONFIG_PASSPHRASE", "given");
    makePassphrase("dev");
    const env = openSession("dev", { pulumi: { bin: "pulumi" }, env: { ...process.env } } as never).env;
    expect(env["PULUMI_CONFIG_PASSPHRASE"]).toBeUndefined();
    expect(env["PULUMI_CONFIG_PASSPHRASE_FILE"]).toBe(passphraseFile("dev"));
  });
});

test("a preview of a stack that does not exist has a state of its own, which goes with everything in it", () => {
  const session = openTemporarySession("prod", { pulumi: { bin: "pulumi" }, env: {} } as never);
  const folder = session.env["PULUMI_BACKEND_URL"]?.replace("file://", "") ?? "";
  expect(folder.startsWith(home)).toBe(true);
  expect(effectiveSettings(session).startsWith(folder)).toBe(true);
  session.remove();
  expect(existsSync(folder)).toBe(false);
});

describe("a stack that was removed", () => {
  const remove = (stack: string) =>
    forgetStack(openSession(stack, { pulumi: { bin: "true" }, env: process.env } as never));

  test("leaves no record of its runs and no empty folder, where its passphrase was given", async () => {
    vi.stubEnv("PULUMI_CONFIG_PASSPHRASE", "given");
    mkdirSync(stackFolder("qa"), { recursive: true });
    recordPulumi("qa", process.pid, "run");
    await remove("qa");
    expect(existsSync(stackFolder("qa"))).toBe(false);
    expect(readdirSync(path.join(home, ".local/state/ai-workflow-database/locks"))).toEqual([]);
  });

  test("keeps a passphrase that the user has put there, and the earlier states that it opens", async () => {
    mkdirSync(stackFolder("qa"), { recursive: true });
    writeFileSync(passphraseFile("qa"), "of the user");
    const backups = path.join(backend, ".pulumi/backups/ai-workflow-database/qa");
    mkdirSync(backups, { recursive: true });
    await remove("qa");
    expect(readFileSync(passphraseFile("qa"), "utf8")).toBe("of the user");
    expect(existsSync(backups)).toBe(true);
  });
});
