import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { passphraseFile } from "../../infra/settings/places.ts";
import { isDisposable, makePassphrase, passphraseEnv } from "../../stack/passphrase.ts";
import { home, renewForEachTest, root, thrown } from "../helpers/temporary-checkout.ts";

vi.mock(import("../../base/versions.ts"), async (original) => ({
  ...(await original()),
  PACKAGE_ROOT: (await import("../helpers/temporary-checkout.ts")).checkout,
}));
renewForEachTest();

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
    expect(thrown(() => passphraseEnv("prod", "none")).message).toContain(
      `PULUMI_CONFIG_PASSPHRASE_FILE: ${empty} is empty, so the state's secrets would be readable for everybody`,
    );
  });

  test("that is given by a file that is not there is refused with its path", () => {
    vi.stubEnv("PULUMI_CONFIG_PASSPHRASE_FILE", "/no/such/file");
    for (const stack of ["prod", "dev"])
      expect(thrown(() => passphraseEnv(stack, "recorded")).message).toContain(
        "PULUMI_CONFIG_PASSPHRASE_FILE: there is no file /no/such/file",
      );
  });
});
