import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { changedProperties, UNKNOWN } from "../../infra/provider/resource.ts";
import type { RotationState } from "../../certs/rotation.ts";
import { authorityRotation as authorityRotationType } from "../../infra/provider/resources/authority-rotation.ts";
import { clientFiles as clientFilesType } from "../../infra/provider/resources/client-files.ts";
import { databaseBaseline as databaseBaselineType } from "../../infra/provider/resources/database-baseline.ts";
import { migrations as migrationsType } from "../../infra/provider/resources/migrations.ts";
import { password as passwordType } from "../../infra/provider/resources/password.ts";
import { isDue, renewal as renewalType } from "../../infra/provider/resources/renewal.ts";
import { scramSecretResource as scramSecretType } from "../../infra/provider/resources/scram-secret.ts";
import { superuserPassword as superuserPasswordType } from "../../infra/provider/resources/superuser-password.ts";
import { pairProblems, volumeFiles as volumeFilesType } from "../../infra/provider/resources/volume-files.ts";
import { scramSecret } from "../../database/scram.ts";
import { called, recorder, type Called, type Properties } from "../helpers/provider.ts";
import { createCa } from "../helpers/throw-away-ca.ts";

const quiet = recorder();
const authorityRotation = called(authorityRotationType);
const clientFiles = called(clientFilesType);
const databaseBaseline = called(databaseBaselineType);
const migrations = called(migrationsType);
const password = called(passwordType);
const renewal = called(renewalType);
const scramSecretResource = called(scramSecretType);
const superuserPassword = called(superuserPasswordType);
const volumeFiles = called(volumeFilesType);

describe("a generated password", () => {
  test("has 32 characters that need no quoting in URLs, SQL or files, and is never the same twice", async () => {
    const passwords = new Set<string>();
    for (let run = 0; run < 200; run += 1) {
      const { outputs } = await password.create({ version: 1 }, quiet);
      expect(outputs?.["password"]).toMatch(/^[A-Za-z0-9_-]{32}$/);
      passwords.add(outputs?.["password"]);
    }
    expect(passwords.size).toBe(200);
  });

  test("is replaced by another one when its version rises", async () => {
    const { outputs } = await password.create({ version: 1 }, quiet);
    const after = await password.update("generated", { version: 1, ...outputs }, { version: 2 }, quiet);
    expect((after as Properties)["password"]).toMatch(/^[A-Za-z0-9_-]{32}$/);
    expect((after as Properties)["password"]).not.toBe(outputs?.["password"]);
  });
});

describe("certificate renewal", () => {
  const start = Date.parse("2026-01-01T00:00:00Z");
  const day = 86_400_000;

  beforeEach(() => {
    vi.useFakeTimers({ now: start });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  test("happens once in each window when `up` runs daily for two years, and no certificate ever runs out", async () => {
    const inputs = { validityDays: 90, renewBeforeDays: 30 };
    let state: Properties = { ...inputs, ...(await renewal.create(inputs, quiet)).outputs };
    const renewedOn: number[] = [];
    for (let today = 1; today <= 730; today += 1) {
      vi.setSystemTime(start + today * day);
      expect(Date.now()).toBeLessThan(Date.parse(state["issuedAt"]) + 90 * day);
      const { changed } = await renewal.diff!(state, inputs, quiet);
      if (changed.length === 0) continue;
      state = { ...state, ...((await renewal.update("renewal", state, inputs, quiet)) as Properties) };
      renewedOn.push(today);
    }
    expect(renewedOn).toEqual(Array.from({ length: 12 }, (_, index) => (index + 1) * 60));
    expect(state["generation"]).toBe(13);
  });

  test("happens in time when `up` runs only once in the window, on its last day", async () => {
    const inputs = { validityDays: 90, renewBeforeDays: 30 };
    const state = { ...inputs, ...(await renewal.create(inputs, quiet)).outputs };
    vi.setSystemTime(start + 89.9 * day);
    expect((await renewal.diff!(state, inputs, quiet)).changed).toEqual(["renewBeforeDays"]);
  });

  test("is due from the first moment of the window, and not a millisecond before", () => {
    const issued = new Date(start).toISOString();
    expect(isDue(issued, 90, 30, start + 60 * day - 1)).toBe(false);
    expect(isDue(issued, 90, 30, start + 60 * day)).toBe(true);
  });

  test("happens at once when certificates are to live shorter, or when it is forced, and then not again", async () => {
    const inputs = { validityDays: 90, renewBeforeDays: 30 };
    const state = { ...inputs, ...(await renewal.create(inputs, quiet)).outputs };
    expect((await renewal.diff!(state, { ...inputs, validityDays: 30, renewBeforeDays: 10 }, quiet)).changed).toEqual([
      "validityDays",
    ]);
    expect((await renewal.diff!(state, { ...inputs, force: "2" }, quiet)).changed).toEqual(["force"]);
    const forced = {
      ...state,
      force: "2",
      ...((await renewal.update("renewal", state, { ...inputs, force: "2" }, quiet)) as Properties),
    };
    expect(await renewal.diff!(forced, { ...inputs, force: "2" }, quiet)).toEqual({ changed: [] });
  });

  test("is refused at preview when its certificates would outlive the authority, and nothing is while none is issued", async () => {
    const authorityEnd = new Date(start + 100 * day).toISOString();
    const inputs = { validityDays: 90, renewBeforeDays: 30, hosts: ["a"], authorityEnd };
    const state = { ...inputs, ...(await renewal.create(inputs, quiet)).outputs };
    const refusal = /90 days outlive the certificate authority.*--rotate-authority/;
    expect(await renewal.check!(inputs, {}, quiet)).toEqual([]);
    vi.setSystemTime(start + 50 * day); // 50 days are left to the authority, and the certificates are not due
    expect(await renewal.diff!(state, inputs, quiet)).toEqual({ changed: [] });
    expect(await renewal.check!(inputs, inputs, quiet)).toEqual([]);
    expect(await renewal.check!(inputs, {}, quiet)).toEqual([
      { property: "validityDays", reason: expect.stringMatching(refusal) },
    ]);
    for (const news of [
      { ...inputs, hosts: ["a", "b"] },
      { ...inputs, force: "2" },
    ])
      expect(() => renewal.diff!(state, news, quiet)).toThrow(refusal);
    vi.setSystemTime(start + 61 * day);
    expect(() => renewal.diff!(state, inputs, quiet)).toThrow(refusal);
    // The run that brings the new authority in is not held up by it.
    expect(await renewal.diff!(state, { ...inputs, hold: true }, quiet)).toEqual({ changed: [] });
    expect((await renewal.diff!(state, { ...inputs, authorityEnd: UNKNOWN }, quiet)).changed).toContain("authorityEnd");
    const longer = { ...inputs, authorityEnd: new Date(start + 3_650 * day).toISOString() };
    expect((await renewal.diff!(state, longer, quiet)).changed).toEqual(["renewBeforeDays", "authorityEnd"]);
  });

  test("does not happen only because a host, or an authority, is another one: those sign anew with the same keys", async () => {
    const inputs = { validityDays: 90, renewBeforeDays: 30 };
    const { outputs } = await renewal.create(inputs, quiet);
    const news = { ...inputs, hosts: ["a"], authorityEnd: new Date(start + 3_650 * day).toISOString() };
    expect((await renewal.diff!({ ...inputs, ...outputs }, news, quiet)).changed).toEqual(["hosts", "authorityEnd"]);
    expect(await renewal.update("renewal", { ...inputs, ...outputs }, news, quiet)).toEqual(outputs);
  });

  test("does not happen only because the window was made smaller", async () => {
    const inputs = { validityDays: 90, renewBeforeDays: 30 };
    const state = { ...inputs, ...(await renewal.create(inputs, quiet)).outputs };
    vi.setSystemTime(start + 65 * day);
    expect(await renewal.diff!(state, { ...inputs, renewBeforeDays: 10 }, quiet)).toEqual({ changed: [] });
  });
});

describe("the rotation of the authority", () => {
  const phases = async (count: number): Promise<RotationState[]> => {
    let state: Properties = (await authorityRotation.create({}, quiet)).outputs ?? {};
    const seen = [state];
    for (let phase = 1; phase <= count; phase += 1) {
      const inputs = { step: String(phase) };
      state = { ...state, ...inputs, ...((await authorityRotation.update("id", state, inputs, quiet)) as Properties) };
      expect(await authorityRotation.diff!(state, inputs, quiet)).toEqual({ changed: [] });
      seen.push(state);
    }
    return seen as unknown as RotationState[];
  };

  test("trusts a new one, then signs with it, then drops the old one, and can do so again and again", async () => {
    const seen = await phases(6);
    expect(seen.map(({ phase, signer, trusted }) => [phase, signer, ...trusted].join(" "))).toEqual([
      "0 first first",
      "1 first first second",
      "2 second second first",
      "0 second second",
      "1 second second first",
      "2 first first second",
      "0 first first",
    ]);
  });

  test("makes a new key only in the place that nobody trusts, and only when it is taken into use", async () => {
    const seen = await phases(12);
    for (const [index, now] of seen.entries()) {
      const before = seen[index - 1];
      if (!before) continue;
      for (const [place, generation] of [
        ["first", "firstGeneration"],
        ["second", "secondGeneration"],
      ] as const) {
        const isNew = now[generation] !== before[generation];
        expect(isNew).toBe(now.phase === 1 && place !== before.signer);
        if (isNew) expect(before.trusted).not.toContain(place);
      }
      // Neighbours have what signs in common, on both sides.
      expect(now.trusted).toContain(before.signer);
      expect(before.trusted.includes(now.signer)).toBe(true);
    }
  });

  test("tells in a preview what it will do, so that nothing else shows as changed", async () => {
    const created = (await authorityRotation.create({}, quiet)).outputs as Properties;
    expect(authorityRotation.plan!({}, {})).toEqual(created);
    const step = { step: "1" };
    expect(authorityRotation.plan!(created, step)).toEqual(await authorityRotation.update("id", created, step, quiet));
    const state = { validityDays: 90, renewBeforeDays: 30, generation: 3, issuedAt: new Date().toISOString() };
    expect(renewal.plan!({}, {})).toEqual({ generation: 1 });
    expect(renewal.plan!(state, { ...state, hosts: ["a"] })).toEqual({ generation: 3 });
    expect(renewal.plan!(state, { ...state, force: "2" })).toEqual({ generation: 4 });
  });

  test("goes on only when it is told to", async () => {
    expect(await authorityRotation.diff!({ step: "1", phase: 1 }, { step: "1" }, quiet)).toEqual({ changed: [] });
    expect(await authorityRotation.diff!({ step: "1", phase: 1 }, { step: "2" }, quiet)).toEqual({ changed: ["step"] });
  });
});

describe("client files", () => {
  let parent: string;
  let directory: string;
  const files = { "ca.crt": "authority\n", "app_user.crt": "certificate\n", "app_user.key": "key\n" };
  const state = () => ({ directory, files });
  /** The names that clients use. */
  const visible = (folder: string) =>
    readdirSync(folder)
      .filter((name) => !name.startsWith("."))
      .sort();
  const writePlain = async (all: Record<string, string>) => {
    mkdirSync(directory, { recursive: true });
    for (const [name, content] of Object.entries(all)) writeFileSync(path.join(directory, name), content);
  };

  beforeEach(() => {
    parent = mkdtempSync(path.join(tmpdir(), "client-files-"));
    directory = path.join(parent, "stack", "certs");
  });
  afterEach(() => {
    rmSync(parent, { recursive: true });
  });

  test("are written so that only this user may read them, whatever the umask", async () => {
    const before = process.umask(0o000);
    try {
      await clientFiles.create(state(), quiet);
    } finally {
      process.umask(before);
    }
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    for (const [name, content] of Object.entries(files)) {
      expect(statSync(path.join(directory, name)).mode & 0o777, name).toBe(0o600);
      expect(readFileSync(path.join(directory, name), "utf8")).toBe(content);
    }
    expect(visible(directory)).toEqual(Object.keys(files).sort());
  });

  test("close a folder that was open to others before", async () => {
    mkdirSync(directory, { recursive: true });
    chmodSync(directory, 0o755);
    await clientFiles.create(state(), quiet);
    expect(statSync(directory).mode & 0o777).toBe(0o700);
  });

  test("are replaced as a whole: who has the old one open reads the old one to its end", async () => {
    await clientFiles.create(state(), quiet);
    const before = statSync(path.join(directory, "app_user.key")).ino;
    await clientFiles.update(
      directory,
      state(),
      { directory, files: { ...files, "app_user.key": "new key\n" } },
      quiet,
    );
    expect(statSync(path.join(directory, "app_user.key")).ino).not.toBe(before);
    expect(readFileSync(path.join(directory, "app_user.key"), "utf8")).toBe("new key\n");
    expect(statSync(path.join(directory, "app_user.key")).mode & 0o777).toBe(0o600);
  });

  test("keep the old ones, and leave nothing half written, when one cannot be replaced", async () => {
    await clientFiles.create({ directory, files: { "ca.crt": "old\n" } }, quiet);
    mkdirSync(path.join(directory, "app_user.key")); // a rename onto a folder fails
    const before = readdirSync(directory).sort();
    await expect(
      clientFiles.update(
        directory,
        { directory, files: { "ca.crt": "old\n" } },
        { directory, files: { "app_user.key": "key\n" } },
        quiet,
      ),
    ).rejects.toThrow(/app_user\.key is a folder/);
    expect(readdirSync(directory).sort()).toEqual(before);
    expect(visible(directory)).toEqual(["app_user.key", "ca.crt"]);
    expect(readFileSync(path.join(directory, "ca.crt"), "utf8")).toBe("old\n");
  });

  const versioned = (serial: number): Record<string, string> =>
    Object.fromEntries(
      Array.from({ length: 20 }, (_, role) => [
        [`role${role}.crt`, `${serial}`],
        [`role${role}.key`, `${serial}`],
      ]).flat() as [string, string][],
    );
  const sameVersion = (serials: string[]) => new Set(serials).size === 1;

  test.each([
    ["by the release before", (all: Record<string, string>) => writePlain(all)],
    ["by this one", (all: Record<string, string>) => clientFiles.create({ directory, files: all }, quiet)],
  ])(
    "that were written %s are replaced together: no reader finds a certificate beside another one's key",
    async (_, make) => {
      await make(versioned(1));
      const names = Object.keys(versioned(1));
      let serial = 1;
      // Reads of one turn of the event loop see what the writer had done at one moment.
      const seen: string[][] = [];
      const written = new AbortController();
      const look = (async () => {
        while (!written.signal.aborted) {
          seen.push(names.map((name) => readFileSync(path.join(directory, name), "utf8")));
          await new Promise((resolve) => setImmediate(resolve));
        }
      })();
      for (; serial < 5; serial++)
        await clientFiles.update(
          directory,
          { directory, files: versioned(serial) },
          { directory, files: versioned(serial + 1) },
          quiet,
        );
      written.abort();
      await look;
      expect(seen.filter((serials) => !sameVersion(serials)).length).toBeLessThanOrEqual(4); // one a switch: it may fall into a read
      expect(readdirSync(directory).filter((name) => name.startsWith(".version-"))).toHaveLength(1);
      expect(readFileSync(path.join(directory, "role0.key"), "utf8")).toBe("5");
    },
  );

  test("of a write that was cut off are removed by the next one", async () => {
    await clientFiles.create(state(), quiet);
    mkdirSync(path.join(directory, ".version-cut"));
    writeFileSync(path.join(directory, ".version-cut", "app_user.key"), "never in force\n");
    symlinkSync(".version-cut", path.join(directory, ".next-.current"));
    await clientFiles.update(
      directory,
      state(),
      { directory, files: { ...files, "app_user.key": "new key\n" } },
      quiet,
    );
    expect(readFileSync(path.join(directory, "app_user.key"), "utf8")).toBe("new key\n");
    expect(readdirSync(directory).filter((name) => /cut|next/.test(name))).toEqual([]);
  });

  test("show a change when one is missing or was edited, and are written again", async () => {
    await clientFiles.create(state(), quiet);
    expect(await clientFiles.diff!(state(), state(), quiet)).toEqual({ changed: [] });
    rmSync(path.join(directory, "ca.crt"));
    expect(await clientFiles.diff!(state(), state(), quiet)).toEqual({ changed: ["files"] });
    await clientFiles.update(directory, state(), state(), quiet);
    expect(await clientFiles.diff!(state(), state(), quiet)).toEqual({ changed: [] });
    writeFileSync(path.join(directory, "app_user.crt"), "edited\n");
    expect(await clientFiles.diff!(state(), state(), quiet)).toEqual({ changed: ["files"] });
  });

  test("are not looked for in a preview that does not know them yet", async () => {
    const unknown = { directory, files: { "ca.crt": UNKNOWN } };
    expect(await clientFiles.diff!(unknown, unknown, quiet)).toEqual({ changed: [] });
  });

  test("show in a refresh that they are gone", async () => {
    await clientFiles.create(state(), quiet);
    expect(await clientFiles.read!(directory, state(), quiet)).toEqual(state());
    rmSync(path.join(directory, "ca.crt"));
    expect(await clientFiles.read!(directory, state(), quiet)).toEqual({ directory, files: {} });
  });

  test("go when a role goes, when the folder moves, and when the stack goes", async () => {
    await clientFiles.create(state(), quiet);
    const fewer = { directory, files: { "ca.crt": "authority\n" } };
    await clientFiles.update(directory, state(), fewer, quiet);
    expect(visible(directory)).toEqual(["ca.crt"]);
    const moved = { ...fewer, directory: path.join(parent, "moved") };
    await clientFiles.update(directory, fewer, moved, quiet);
    expect([existsSync(directory), visible(moved.directory)]).toEqual([false, ["ca.crt"]]);
    await clientFiles.delete!(moved.directory, moved, quiet);
    expect(existsSync(moved.directory)).toBe(false);
  });

  test("leave a file of the user's own, and its folder, when the stack goes", async () => {
    await clientFiles.create(state(), quiet);
    writeFileSync(path.join(directory, "mine.txt"), "mine");
    await clientFiles.delete!(directory, state(), quiet);
    expect(readdirSync(directory)).toEqual(["mine.txt"]);
    await clientFiles.delete!(
      path.join(parent, "never-there"),
      { directory: path.join(parent, "never-there"), files },
      quiet,
    );
  });
});

describe("migrations as a resource", () => {
  const olds = {
    connection: { database: "db" },
    folder: "migrations",
    migrations: ["0001_a", "0002_b"],
    checksums: { "0001_a": "aa", "0002_b": "bb" },
  };
  const more = {
    ...olds,
    migrations: [...olds.migrations, "0003_c"],
    checksums: { ...olds.checksums, "0003_c": "cc" },
  };

  test("are unchanged when nothing changed", async () => {
    const report = recorder();
    expect(await migrations.check!(olds, olds, report)).toEqual([]);
    expect(await migrations.diff!(olds, olds, report)).toEqual({ changed: [], replaces: [] });
    expect(report.lines).toEqual([]);
  });

  // What the preview says about them: migration-preview.test.ts.
  test("are changed when one is pending", async () => {
    expect(await migrations.check!(more, olds, quiet)).toEqual([]);
    expect(await migrations.diff!(olds, more, quiet)).toEqual({ changed: ["migrations"], replaces: [] });
  });

  test("stop the preview with the name of an applied file whose SQL changed", async () => {
    const edited = { ...more, checksums: { ...more.checksums, "0002_b": "other" } };
    expect(await migrations.check!(edited, olds, quiet)).toEqual([
      {
        property: "0002_b",
        reason: expect.stringMatching(/changed after it had been applied.*Restore the file.*new migration/s),
      },
    ]);
  });

  test("stop the preview when the phase was lowered or a file vanished, naming what the database already has", async () => {
    const lowered = { ...olds, migrations: ["0001_a"], checksums: { "0001_a": "aa" } };
    expect(await migrations.check!(lowered, more, quiet)).toEqual([
      {
        property: "migrations",
        reason: expect.stringMatching(
          /already has 0002_b, 0003_c.*rolloutPhase was lowered or files were removed.*aiwdb rollback/s,
        ),
      },
    ]);
  });

  test("tell of a changed and of a missing file at once", async () => {
    const both = { ...olds, migrations: ["0001_a"], checksums: { "0001_a": "other" } };
    expect((await migrations.check!(both, olds, quiet)).map(({ property }) => property)).toEqual([
      "0001_a",
      "migrations",
    ]);
  });

  test("take any files for a stack that has none yet, and wait where the names are not known", async () => {
    expect(await migrations.check!(more, {}, quiet)).toEqual([]);
    expect(await migrations.check!({ ...more, migrations: UNKNOWN }, olds, quiet)).toEqual([]);
  });

  test("accept the checksum of a file that a refresh found applied without one", async () => {
    const adopted = { ...olds, checksums: { "0001_a": "aa" } };
    expect(await migrations.check!(olds, adopted, quiet)).toEqual([]);
  });

  test("do not change when only the folder does, take a new password over, and are made anew in another database", async () => {
    expect((await migrations.diff!(olds, { ...olds, folder: "/another/clone" }, quiet)).changed).toEqual([]);
    // Without it the state would keep a password that a refresh cannot log in with.
    const renewed = { ...olds, connection: { database: "db", password: "new" } };
    expect(await migrations.diff!(olds, renewed, quiet)).toEqual({ changed: ["connection"], replaces: [] });
    expect(await migrations.update("db", olds, renewed, quiet)).toBeUndefined(); // and connects to nothing
    expect(await migrations.diff!(olds, { ...olds, connection: { database: "other" } }, quiet)).toEqual({
      changed: ["connection"],
      replaces: ["connection"],
    });
    expect((await migrations.diff!(olds, { ...olds, connection: UNKNOWN }, quiet)).changed).toEqual([]);
  });
});

describe("files in a volume", () => {
  const inputs = {
    volume: "v",
    image: "i:1",
    uid: 999,
    files: { "postgresql.conf": { content: "a", mode: 0o600 } },
    service: "postgres",
    container: "c",
    restartKey: "k",
    host: "127.0.0.1",
    port: 1,
  };

  test("show a change of contents, and of the image whose server has to take them", async () => {
    expect(await volumeFiles.diff!(inputs, { ...inputs }, quiet)).toEqual({ changed: [], replaces: [] });
    expect(await volumeFiles.diff!(inputs, { ...inputs, image: "i:2" }, quiet)).toEqual({
      changed: ["image"],
      replaces: [],
    });
    const changed = { ...inputs, files: { "postgresql.conf": { content: "b", mode: 0o600 } } };
    expect(await volumeFiles.diff!(inputs, changed, quiet)).toEqual({ changed: ["files"], replaces: [] });
    expect(await volumeFiles.diff!(inputs, { ...inputs, volume: "w" }, quiet)).toEqual({
      changed: ["volume"],
      replaces: ["volume"],
    });
  });

  test("are refused before anything is touched when key and certificate do not belong together", async () => {
    const ca = await createCa();
    const [one, two] = [await ca.issue({ commonName: "a" }), await ca.issue({ commonName: "b" })];
    const mixed = {
      ...inputs,
      files: {
        "tls/ca.crt": { content: ca.certPem, mode: 0o600 },
        "tls/server.crt": { content: one.certPem, mode: 0o600 },
        "tls/server.key": { content: two.keyPem, mode: 0o600 },
      },
    };
    const refusal = expect.objectContaining({
      name: "StateError",
      message:
        "Certificates that cannot be used; nothing has been replaced:\n- files.tls/server.key: key and certificate do not belong together",
    });
    await expect(volumeFiles.update("v", inputs, mixed, quiet)).rejects.toEqual(refusal);
    await expect(volumeFiles.create(mixed, quiet)).rejects.toEqual(refusal);
  });
});

test("a pair in force that has expired stands in nobody's way, and is still held against the authorities", async () => {
  const [ca, next] = [await createCa("old"), await createCa("new")];
  const expired = await ca.issue({ commonName: "a", fromDays: -90, toDays: -1 });
  const files = (caPem: string, { certPem, keyPem } = expired) =>
    Object.fromEntries(
      Object.entries({ "tls/ca.crt": caPem, "tls/server.crt": certPem, "tls/server.key": keyPem }).map(
        ([name, content]) => [name, { content, mode: 0o600 }],
      ),
    );
  const reasons = (...args: Parameters<typeof pairProblems>) => pairProblems(...args).map(({ reason }) => reason);
  const before = files(ca.certPem);
  expect(reasons(before)).toEqual([expect.stringContaining("expired on")]);
  // The first phase of a new authority changes nothing but who is trusted.
  expect(reasons(files(ca.certPem + next.certPem), before)).toEqual([]);
  expect(reasons(files(next.certPem), before)).toEqual(["the certificate was not signed by the authority"]);
  const other = await ca.issue({ commonName: "a", fromDays: -90, toDays: -1 });
  expect(reasons(files(ca.certPem, other), before)).toEqual([expect.stringContaining("expired on")]);
});

describe("the superuser's password", () => {
  const connection = { host: "h", port: 1, user: "postgres", password: "one" };
  const inputs = { container: "c", volume: "v", connection };

  test("is set again when it changes or when the connection is not known yet, and when what hides it in logs did", async () => {
    const { version } = await currentVersion(superuserPassword);
    const state = { ...inputs, version };
    expect(await superuserPassword.diff!(state, inputs, quiet)).toEqual({ changed: [] });
    expect(
      await superuserPassword.diff!(state, { ...inputs, connection: { ...connection, password: "two" } }, quiet),
    ).toEqual({ changed: ["connection"] });
    expect(await superuserPassword.diff!(state, { ...inputs, connection: UNKNOWN }, quiet)).toEqual({
      changed: ["connection"],
    });
    expect(await superuserPassword.diff!(inputs, inputs, quiet)).toEqual({ changed: ["version"] });
  });

  test("leaves the server's address known in previews, so that nothing behind it looks changed", () => {
    expect(superuserPassword.plan!({}, inputs)).toEqual({ readyHost: "h", readyPort: 1 });
    expect(superuserPassword.plan!({}, { ...inputs, connection: UNKNOWN })).toEqual({});
  });
});

describe("what the server stores for a password", () => {
  const { create, update } = scramSecretResource;

  test("is made with a salt of its own and stays while password and iterations do", async () => {
    const inputs = { password: "one", iterations: 64 };
    const { outputs } = await create(inputs, quiet);
    expect(outputs?.["secret"]).toMatch(/^SCRAM-SHA-256\$64:[A-Za-z0-9+/]{22}==\$/);
    expect((await create(inputs, quiet)).outputs).not.toEqual(outputs);
    // No `diff` of its own: the provider's, which compares inputs.
    expect(scramSecretResource.diff).toBeUndefined();
    const state = { ...inputs, ...outputs };
    expect(changedProperties(state, inputs)).toEqual([]);
    expect(changedProperties(state, { ...inputs, password: "two" })).toEqual(["password"]);
    expect(changedProperties(state, { ...inputs, iterations: 65 })).toEqual(["iterations"]);
  });

  test("is another one that the new password proves after a change", async () => {
    const olds = { password: "one", iterations: 64, secret: scramSecret("one", 64) };
    const after = (await update("made", olds, { password: "two", iterations: 64 }, quiet)) as Properties;
    const salt = Buffer.from(/:([^$]+)\$/.exec(after["secret"])?.[1] ?? "", "base64");
    expect(proves(after["secret"], "message", clientProof("two", salt, 64, "message"))).toBe(true);
    expect(proves(after["secret"], "message", clientProof("one", salt, 64, "message"))).toBe(false);
  });
});

describe("the database baseline", () => {
  test("is applied again when the roles change or when its own statements did, and with a new password", async () => {
    const { version } = await currentVersion(databaseBaseline);
    const inputs = { connection: { password: "one" }, owner: "o", caller: "c", roles: ["a"] };
    const state = { ...inputs, version };
    expect(await databaseBaseline.diff!(state, inputs, quiet)).toEqual({ changed: [] });
    expect(await databaseBaseline.diff!(state, { ...inputs, connection: { password: "two" } }, quiet)).toEqual({
      changed: ["connection"],
    });
    expect(await databaseBaseline.diff!(state, { ...inputs, connection: UNKNOWN }, quiet)).toEqual({ changed: [] });
    expect((await databaseBaseline.diff!(state, { ...inputs, roles: ["a", "b"] }, quiet)).changed).toEqual(["roles"]);
    expect((await databaseBaseline.diff!({ ...state, version: version - 1 }, inputs, quiet)).changed).toEqual([
      "version",
    ]);
  });
});

/** The version that `diff` is content with. */
async function currentVersion(type: Called): Promise<{ version: number }> {
  for (let version = 1; version < 100; version += 1) {
    if ((await type.diff!({ version }, {}, quiet)).changed.length === 0) return { version };
  }
  throw new Error("no version is current");
}

describe("a SCRAM secret", () => {
  test("has PostgreSQL's format and the keys of RFC 7677's example", () => {
    // https://www.postgresql.org/docs/16/catalog-pg-authid.html
    expect(scramSecret("pencil", 4_096, Buffer.from("W22ZaJ0SNY7soEsUEjb6gQ==", "base64"))).toBe(
      "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
    );
  });

  test("accepts the proof of RFC 7677's exchange, and the server's signature follows from it", () => {
    const secret = scramSecret("pencil", 4_096, Buffer.from("W22ZaJ0SNY7soEsUEjb6gQ==", "base64"));
    const authMessage =
      "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    expect(proves(secret, authMessage, Buffer.from("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "base64"))).toBe(
      true,
    );
    const serverKey = Buffer.from(secret.split(":").at(-1) ?? "", "base64");
    expect(createHmac("sha256", serverKey).update(authMessage).digest("base64")).toBe(
      "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    );
  });

  test("accepts a client that knows the password and refuses one that does not", () => {
    fc.assert(
      fc.property(
        fc.string({ minLength: 1, unit: "grapheme-ascii" }),
        fc.string({ minLength: 1, unit: "grapheme-ascii" }),
        (right, guess) => {
          const salt = randomBytes(16);
          const secret = scramSecret(right, 64, salt);
          expect(proves(secret, "message", clientProof(right, salt, 64, "message"))).toBe(true);
          expect(proves(secret, "message", clientProof(guess, salt, 64, "message"))).toBe(guess === right);
        },
      ),
      { numRuns: 50 },
    );
  });

  test("has another salt each time and shows nothing of the password", () => {
    const secrets = [scramSecret("tr0ub4dor"), scramSecret("tr0ub4dor")];
    expect(secrets[0]).not.toBe(secrets[1]);
    for (const secret of secrets) {
      expect(secret).toMatch(/^SCRAM-SHA-256\$4096:[A-Za-z0-9+/]{22}==\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$/);
      expect(secret).not.toContain("tr0ub4dor");
    }
  });
});

/** What a client sends. RFC 5802 section 3 */
function clientProof(given: string, salt: Buffer, iterations: number, authMessage: string): Buffer {
  const clientKey = createHmac("sha256", pbkdf2Sync(given, salt, iterations, 32, "sha256"))
    .update("Client Key")
    .digest();
  const signature = createHmac("sha256", createHash("sha256").update(clientKey).digest()).update(authMessage).digest();
  return Buffer.from(clientKey.map((byte, index) => byte ^ (signature[index] ?? 0)));
}

/** What a server does with it, knowing only the stored secret. */
function proves(secret: string, authMessage: string, proof: Buffer): boolean {
  const storedKey = Buffer.from(secret.split("$")[2]?.split(":")[0] ?? "", "base64");
  const signature = createHmac("sha256", storedKey).update(authMessage).digest();
  const clientKey = Buffer.from(proof.map((byte, index) => byte ^ (signature[index] ?? 0)));
  return createHash("sha256").update(clientKey).digest().equals(storedKey);
}

describe("changed inputs", () => {
  test("are found whatever the order of keys, and only where values differ", () => {
    expect(changedProperties({ a: { x: 1, y: [1, 2] }, b: 1 }, { b: 1, a: { y: [1, 2], x: 1 } })).toEqual([]);
    expect(changedProperties({ a: { x: 1, y: [1, 2] }, b: 1 }, { a: { x: 1, y: [2, 1] }, b: 2 }, ["b"])).toEqual(["a"]);
    expect(changedProperties({}, { a: 1 })).toEqual(["a"]);
  });
});
