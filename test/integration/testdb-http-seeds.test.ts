import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, closeSync, ftruncateSync, openSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { listDatabases } from "../../testing/databases/by-name.ts";
import { SEED_MAX_BYTES } from "../../testing/pool/seed-file.ts";
import { serverFiles } from "../../testing/description/files.ts";
import { closeTestDatabases, testDatabase } from "../../testing/databases/test-database.ts";
import { httpServer, subjects } from "../helpers/http-server.ts";
import { aiwdb, mustSucceed, until } from "../helpers/testdb.ts";

const NAME = `ci-tg${process.pid}`;
const { call, folder, nothingHeld, take } = httpServer(NAME);

describe("a seed", () => {
  const inFolder = (name: string, content: string | Buffer): string => {
    writeFileSync(path.join(folder, name), content);
    return path.join(folder, name);
  };
  const made: Readonly<Record<string, () => string>> = {
    "a device without end": () => "/dev/zero",
    "another one": () => "/dev/urandom",
    "a device that waits": () => "/dev/tty",
    "a named pipe": () => {
      execFileSync("mkfifo", [path.join(folder, "pipe")]);
      return path.join(folder, "pipe");
    },
    "a directory": () => folder,
    "a socket": () => serverFiles(NAME).socket,
    "a symbolic link to a device": () => {
      symlinkSync("/dev/zero", path.join(folder, "link"));
      return path.join(folder, "link");
    },
    "a symbolic link to itself": () => {
      symlinkSync(path.join(folder, "loop"), path.join(folder, "loop"));
      return path.join(folder, "loop");
    },
    "a file that is not there": () => path.join(folder, "nowhere.sql"),
    "a file that is too large": () => {
      const handle = openSync(path.join(folder, "huge.sql"), "w");
      ftruncateSync(handle, SEED_MAX_BYTES + 1);
      closeSync(handle);
      return path.join(folder, "huge.sql");
    },
    "a file of /proc": () => "/proc/self/status",
    "the memory of the machine": () => "/proc/kcore",
    "the kernel's messages": () => "/proc/kmsg",
    "bytes that are no text": () => inFolder("binary.sql", Buffer.from([0x73, 0xff, 0xfe])),
    "a text with NUL": () => inFolder("nul.sql", "select 1;\0 select 2"),
    "a text of UTF-16": () => inFolder("utf16.sql", Buffer.from("select 1", "utf16le")),
  };

  test.each(Object.entries(made))("that is %s is refused, and others are served", async (_what, make) => {
    const file = make();
    const refused = await take({ seed: file });
    expect([refused.status, refused.body.error.message]).toEqual([
      409,
      expect.stringMatching(/^The seed can not be read\.\n- /),
    ]);
    expect(subjects(refused)).toEqual([file]);
    expect((await call("GET", "/v1/databases")).status).toBe(200);
    await expect(testDatabase({ seed: file })).rejects.toThrow("The seed can not be read.");
  });

  test("is refused in the same words on the command line, where a path may be relative", async () => {
    for (const seed of ["/dev/zero", "nowhere.sql"]) {
      const refused = await aiwdb(["testdb", "create", "--seed", seed]);
      expect([refused.exitCode, refused.stderr]).toEqual([1, expect.stringContaining("The seed can not be read.")]);
    }
  });

  test("that its reader may not open is refused", async () => {
    const file = inFolder("secret.sql", "select 1");
    chmodSync(file, 0o000);
    // Whoever runs as root may open it all the same.
    const { status } = await take({ seed: file });
    expect(status).toBe(process.getuid?.() === 0 ? 201 : 409);
    chownSync(file, process.getuid?.() ?? 0, process.getgid?.() ?? 0);
    chmodSync(file, 0o600);
    for (const { name, state } of await listDatabases(NAME))
      if (state === "taken") await call("DELETE", `/v1/databases/${name}`);
  });

  test("with a path that the server would look for in its own folder is refused, and with NUL", async () => {
    for (const seed of ["seed.sql", "../seed.sql", "./seed.sql", ""]) {
      const refused = await take({ seed });
      expect([refused.status, subjects(refused)]).toEqual([400, ["seed"]]);
    }
    expect((await take({ seed: "/tmp/a\0b" })).status).toBe(400);
    await expect(testDatabase({ seed: "/tmp/a\0b" })).rejects.toThrow("The seed can not be read.");
  });

  test("that is a file, or a link to one, or empty, is run", async () => {
    const file = inFolder(
      "seed.sql",
      "insert into users (username, email, hashed_password) values ('änne', 'anne@example.com', 'x')",
    );
    symlinkSync(file, path.join(folder, "link.sql"));
    for (const seed of [file, path.join(folder, "link.sql"), inFolder("empty.sql", "")]) {
      const taken = await take({ seed });
      expect(taken.status).toBe(201);
      expect((await call("DELETE", `/v1/databases/${taken.body.name}`)).status).toBe(204);
    }
    await nothingHeld();
  });
});

test("a seed that does not end keeps nobody from stopping the server", async () => {
  const seed = path.join(folder, "endless.sql");
  writeFileSync(seed, "select pg_sleep(86400)");
  take({ seed }).catch(() => {}); // it is cut off
  const db = await testDatabase({ role: "postgres", connect: true });
  await until(
    async () =>
      (await db.client!.query("select from pg_stat_activity where query like 'select pg_sleep(86400)%'")).rowCount,
    (count) => count === 1,
  );
  const stopped = await aiwdb(["testdb", "stop"]);
  expect([stopped.exitCode, stopped.stderr]).toEqual([0, ""]);
  await closeTestDatabases();
  mustSucceed(await aiwdb(["testdb", "start", "--engine", "local"]));
});
