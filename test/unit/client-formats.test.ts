import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CLIENT_FORMATS, clientForm } from "../../database/client-formats.ts";
import type { Connection } from "../../database/connection.ts";
import { libpqUrl } from "../../database/libpq.ts";
import { PRINTABLE } from "../helpers/passwords.ts";

const connection = (password: string): Connection => ({
  host: "127.0.0.1",
  port: 6432,
  database: "ai_workflow_db",
  user: "app_user",
  password,
  sslRootCert: "/home/ada b/certs/ca.crt",
  sslCert: "/home/ada b/certs/app_user.crt",
  sslKey: "/home/ada b/certs/app_user.key",
});
const PASSWORD = ` a\\b"c';d=`;
const FILES =
  "sslmode=verify-full&sslrootcert=/home/ada%20b/certs/ca.crt&sslcert=/home/ada%20b/certs/app_user.crt&sslkey=/home/ada%20b/certs/app_user.key";
const LOGIN = "app_user:%20a%5Cb%22c%27%3Bd%3D@localhost:6432/ai_workflow_db";

describe("a connection in the form that a driver takes", () => {
  test.each(["libpq", "asyncpg", "node-postgres", "go", "rust"] as const)("%s is libpq's URL", (format) => {
    const url = `postgresql://${LOGIN}?${FILES}`;
    expect(clientForm(connection(PASSWORD), format)).toEqual({ url, text: url });
  });

  test("sqlalchemy names the driver that takes the certificates", () => {
    const url = `postgresql+psycopg://${LOGIN}?${FILES}`;
    expect(clientForm(connection(PASSWORD), "sqlalchemy")).toEqual({ url, text: url });
  });

  test("jdbc has the password apart from the URL, which exceptions and logs have", () => {
    const url = `jdbc:postgresql://localhost:6432/ai_workflow_db?${FILES}&pemKeyAlgorithm=EC`;
    expect(clientForm(connection(PASSWORD), "jdbc")).toEqual({
      url,
      text: `jdbcUrl=${url}\nusername=app_user\npassword=\\ a\\\\b"c';d=`,
    });
  });

  test("postgres.js is a module, and its URL has no certificates", () => {
    expect(clientForm(connection(PASSWORD), "postgres.js")).toEqual({
      url: `postgresql://${LOGIN}`,
      text: `import { readFileSync } from "node:fs";
import postgres from "postgres";

export const sql = postgres({
  host: "localhost",
  port: 6432,
  database: "ai_workflow_db",
  username: "app_user",
  password: " a\\\\b\\"c';d=",
  ssl: {
    host: "localhost",
    ca: readFileSync("/home/ada b/certs/ca.crt"),
    cert: readFileSync("/home/ada b/certs/app_user.crt"),
    key: readFileSync("/home/ada b/certs/app_user.key"),
  },
});`,
    });
  });

  test("dotnet quotes what is more than a word", () => {
    const url =
      `Host=localhost;Port=6432;Database=ai_workflow_db;Username=app_user;Password=" a\\b""c';d=";SSL Mode=VerifyFull;` +
      `Root Certificate="/home/ada b/certs/ca.crt";SSL Certificate="/home/ada b/certs/app_user.crt";SSL Key="/home/ada b/certs/app_user.key"`;
    expect(clientForm(connection(PASSWORD), "dotnet")).toEqual({ url, text: url });
  });

  test("is that of the server's own host where it is not loopback", () => {
    for (const format of CLIENT_FORMATS) {
      const { text } = clientForm({ ...connection(PASSWORD), host: "192.0.2.7" }, format);
      expect(text).toContain("192.0.2.7");
      expect(text).not.toContain("localhost");
    }
  });
});

test("any password reads back by the rules of properties, of JavaScript and of connection strings", () => {
  const passwords = fc.string({ unit: fc.constantFrom(...PRINTABLE), minLength: 20, maxLength: 128 });
  fc.assert(
    fc.property(passwords, (password) => {
      const of = (format: "jdbc" | "postgres.js" | "dotnet") => clientForm(connection(password), format).text;
      // Space before a value is no part of it, and a backslash takes what follows as it is.
      const property = /^password=[ ]*(.*)$/m.exec(of("jdbc"))?.[1];
      expect(property?.replaceAll(/\\(.)/g, "$1")).toBe(password);
      const literal = /^ {2}password: (.*),$/m.exec(of("postgres.js"))?.[1];
      expect(JSON.parse(literal ?? "")).toBe(password); // JSON is a part of JavaScript
      const quoted = /;Password=(?:"((?:[^"]|"")*)"|([^;"]*));SSL Mode/.exec(of("dotnet"));
      expect(quoted?.[1]?.replaceAll('""', '"') ?? quoted?.[2]).toBe(password);
      expect(clientForm(connection(password), "jdbc").url).not.toContain(encodeURIComponent(password));
      expect(libpqUrl(connection(password))).toBe(clientForm(connection(password), "libpq").url);
    }),
  );
});
