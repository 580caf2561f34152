import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test, vi } from "vitest";
import { passphraseFile, stackFolder } from "../../infra/settings/places.ts";
import { recordPulumi } from "../../stack/pulumi-lock.ts";
import { makePassphrase } from "../../stack/passphrase.ts";
import { effectiveSettings, forgetStack, openSession, openTemporarySession } from "../../stack/session.ts";
import { backend, checkout, home, renewForEachTest, settingsFile } from "../helpers/temporary-checkout.ts";

vi.mock(import("../../base/versions.ts"), async (original) => ({
  ...(await original()),
  PACKAGE_ROOT: (await import("../helpers/temporary-checkout.ts")).checkout,
}));
renewForEachTest();

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
    expect(() => open()).toThrow(/^Stack "prod" needs a passphrase; nothing has been changed:/);
    settingsFile("prod", "secretsprovider: awskms://key\n");
    expect(open()).toMatchObject({ PULUMI_BACKEND_URL: `file://${backend}` });
    expect(open()).not.toHaveProperty("PULUMI_CONFIG_PASSPHRASE_FILE");
    settingsFile("prod", "secretsprovider: passphrase\n");
    expect(() => open()).toThrow(/^Stack "prod" needs a passphrase; nothing has been changed:/);
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
