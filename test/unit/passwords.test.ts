import { execFileSync } from "node:child_process";
import fc from "fast-check";
import pg from "pg";
import { describe, expect, test } from "vitest";
import { shellLines } from "../../cli/commands/env.ts";
import { libpqEnvironment, libpqUrl, pgpassLine } from "../../database/libpq.ts";
import { parseConfig } from "../../infra/settings/check.ts";
import type { Connection } from "../../database/connection.ts";
import { PRINTABLE, printablePassword } from "../helpers/passwords.ts";

const connection = (password: string): Connection => ({
  host: "127.0.0.1",
  port: 6432,
  database: "ai_workflow_db",
  user: "app_user",
  password,
  sslRootCert: "/certs/ca.crt",
  sslCert: "/certs/app_user.crt",
  sslKey: "/certs/app_user.key",
});

/** What settings take as a password. */
const passwords = fc.oneof(
  fc.string({ unit: fc.constantFrom(...PRINTABLE), minLength: 20, maxLength: 128 }),
  fc.constantFrom(...PRINTABLE).map(printablePassword),
);

test("a password of every printable character has each of them once, and each begins and ends one", () => {
  const all = [...PRINTABLE].map(printablePassword);
  for (const password of all) expect([...password].toSorted().join("")).toBe(PRINTABLE);
  expect(new Set(all.map((password) => password[0])).size).toBe(95);
  expect(new Set(all.map((password) => password.at(-1))).size).toBe(95);
});

describe("any password of printable ASCII", () => {
  test("is taken by the settings as it is", () => {
    fc.assert(
      fc.property(passwords, (password) => {
        expect(parseConfig("dev", { appUserPassword: password }).appUserPassword).toBe(password);
      }),
    );
  });

  test("reads back from the URL, by node-postgres and by libpq's rule of percent signs", () => {
    fc.assert(
      fc.property(passwords, (password) => {
        const url = libpqUrl(connection(password)).replace(/\?.*/, ""); // behind it are files that are not here
        expect(new pg.Client({ connectionString: url })).toMatchObject({ user: "app_user", password });
        const encoded = /^postgresql:\/\/app_user:([^@]*)@localhost:6432\/ai_workflow_db$/.exec(url)?.[1] ?? "";
        expect(encoded).toMatch(/^([A-Za-z0-9._~-]|%[0-9A-F]{2})*$/);
        expect(encoded.replaceAll(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))).toBe(
          password,
        );
      }),
    );
  });

  test("reads back from .pgpass by libpq's rule: a backslash takes what follows as it is, a colon ends the field", () => {
    fc.assert(
      fc.property(passwords, (password) => {
        const line = pgpassLine("app_user", password);
        expect(line.endsWith("\n")).toBe(true);
        const fields = [...line.slice(0, -1).matchAll(/((?:[^\\:]|\\.)*)(?::|$)/g)].map(([, field = ""]) => field);
        expect(fields.slice(0, 4)).toEqual(["*", "*", "*", "app_user"]);
        expect(fields[4]?.replaceAll(/\\(.)/g, "$1")).toBe(password);
      }),
    );
  });

  test("reads back from the environment that a shell has evaluated", () => {
    const given = [...PRINTABLE].map(printablePassword);
    const script = given.flatMap((password) => [
      ...shellLines(libpqEnvironment(connection(password))),
      `printf '%s\\n' "$PGPASSWORD"`,
    ]);
    const read = execFileSync("sh", ["-euc", script.join("\n")], { encoding: "utf8" });
    expect(read.split("\n").slice(0, -1)).toEqual(given);
  });
});
