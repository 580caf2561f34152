import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import path from "node:path";
import { afterAll, beforeEach, describe, expect, test, vi } from "vitest";
import { passphraseFile } from "../../infra/local-files.ts";
import { parseConfig } from "../../infra/config.ts";
import { backendUrl, clearDeadLocks, readStateFile, repairAttributes, stateFile } from "../../cli/stack/backend.ts";
import { isDisposable, passphraseEnv } from "../../cli/stack/passphrase.ts";
import { effectiveSettings, openSession, openTemporarySession } from "../../cli/stack/session.ts";
import { checkAgreement, readSettingsFile, readStackConfig } from "../../cli/stack/settings-file.ts";

/** A checkout and a home of its own for every test. */
const root = vi.hoisted(() => `${process.env["TMPDIR"] ?? "/tmp"}/aiwdb-cli-stack-${process.pid}`);
vi.mock(import("../../toolchain/versions.ts"), async (original) => ({
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
    expect([stateFile("dev"), readStateFile("dev")]).toEqual([undefined, undefined]);
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

  test("gives its resources, none for a stack that was only initialized, and undefined for one that never was", () => {
    expect(readStateFile("dev")).toBeUndefined();
    write(JSON.stringify({ version: 3, checkpoint: { latest: null } }));
    expect(readStateFile("dev")).toEqual([]);
    write(whole);
    expect(readStateFile("dev")).toEqual([{ urn: "urn:1", type: "t" }]);
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
    expect(readStateFile("dev")).toHaveLength(1);
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

  test("of dev is generated once, long, readable by this user only, and found again", () => {
    const before = process.umask(0o000);
    let env: Record<string, string>;
    try {
      env = passphraseEnv("dev");
    } finally {
      process.umask(before);
    }
    const file = passphraseFile("dev");
    expect(env).toEqual({ PULUMI_CONFIG_PASSPHRASE_FILE: file });
    expect(file.startsWith(home)).toBe(true);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(path.dirname(file)).mode & 0o777).toBe(0o700);
    const text = readFileSync(file, "utf8");
    expect(text).toMatch(/^[A-Za-z0-9_-]{43}\n$/);
    expect(passphraseEnv("dev")).toEqual(env);
    expect(readFileSync(file, "utf8")).toBe(text);
  });

  test("differs between stacks", () => {
    passphraseEnv("dev");
    passphraseEnv("ci-1");
    expect(readFileSync(passphraseFile("dev"), "utf8")).not.toBe(readFileSync(passphraseFile("ci-1"), "utf8"));
  });

  test("of prod is demanded, and none is written", () => {
    const error = thrown(() => passphraseEnv("prod"));
    expect(error.message).toMatch(/^Stack "prod" needs a passphrase; nothing has been changed:/);
    expect(error.message).toContain("PULUMI_CONFIG_PASSPHRASE_FILE");
    expect(existsSync(passphraseFile("prod"))).toBe(false);
  });

  test("that is given is taken, for any stack", () => {
    vi.stubEnv("PULUMI_CONFIG_PASSPHRASE", "given");
    expect([passphraseEnv("prod"), passphraseEnv("dev")]).toEqual([{}, {}]);
    expect(existsSync(passphraseFile("dev"))).toBe(false);
  });

  test("that is empty is refused for prod and taken for dev", () => {
    vi.stubEnv("PULUMI_CONFIG_PASSPHRASE", "");
    expect(thrown(() => passphraseEnv("prod")).message).toContain(
      "is empty, so the state's secrets would be readable for everybody",
    );
    expect(passphraseEnv("dev")).toEqual({});
  });

  test("that is given by an empty file is refused for prod", () => {
    const file = path.join(root, "empty");
    writeFileSync(file, "\n");
    vi.stubEnv("PULUMI_CONFIG_PASSPHRASE_FILE", file);
    expect(thrown(() => passphraseEnv("prod")).message).toContain("is empty");
  });

  test("that is given by a file that is not there is refused with its path", () => {
    vi.stubEnv("PULUMI_CONFIG_PASSPHRASE_FILE", "/no/such/file");
    expect(thrown(() => passphraseEnv("dev")).message).toContain(
      "PULUMI_CONFIG_PASSPHRASE_FILE: there is no file /no/such/file",
    );
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

  test("of another stack with another database name stops this one, both files named", () => {
    settingsFile("dev", "config:\n  ai-workflow-database:databaseName: one\n");
    settingsFile("prod", "config:\n  ai-workflow-database:databaseName: two\n");
    const { message } = thrown(() => checkAgreement(readStackConfig("dev")));
    expect(message).toMatch(/Pulumi\.dev\.yaml, databaseName: one/);
    expect(message).toMatch(/Pulumi\.prod\.yaml, databaseName: two/);
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
    expect(open()).toEqual({ PULUMI_BACKEND_URL: `file://${backend}` });
    settingsFile("prod", "secretsprovider: passphrase\n");
    expect(() => open()).toThrow(/needs a passphrase/);
    vi.stubEnv("PULUMI_BACKEND_URL", "https://api.pulumi.com");
    expect(open()).toEqual({ PULUMI_BACKEND_URL: "https://api.pulumi.com" });
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
