import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { beforeAll, describe, expect, inject, test } from "vitest";
import { containerName, docker, log, query, refusal, open } from "../helpers/connect.ts";
import { exportStack } from "../helpers/stack-secrets.ts";

/** Every secret of the real stack, in the forms in which it could be written somewhere. */
let secrets: Map<string, string>;

beforeAll(async () => {
  const { resources } = await exportStack(true);
  secrets = new Map();
  const add = (name: string, value: string) => {
    secrets.set(name, value);
    secrets.set(`${name} in base64`, Buffer.from(value).toString("base64"));
  };
  for (const { type, urn, outputs } of resources) {
    const name = urn.split("::").at(-1) ?? urn;
    const plain = (property: string): string | undefined => {
      const value = outputs?.[property] as { plaintext?: string } | string | undefined;
      return typeof value === "object" ? (JSON.parse(value.plaintext ?? "null") as string) : value;
    };
    if (type === "aiwdb:index:Password") add(name, plain("password") ?? "");
    if (type === "tls:index/privateKey:PrivateKey") {
      // The first full line of the key's body: PEM is re-wrapped and escaped in many ways, a line of it is not.
      for (const property of ["privateKeyPem", "privateKeyPemPkcs8"])
        add(`${name} ${property}`, plain(property)?.split("\n")[1] ?? "");
    }
  }
});

/** Names of secrets that stand in a text. */
const found = (text: string): string[] =>
  [...secrets].filter(([, value]) => text.includes(value)).map(([name]) => name);

test("there are secrets to look for: six passwords and ten keys, none of them empty", () => {
  const names = [...secrets.keys()].filter((name) => !name.endsWith("base64"));
  expect(names.filter((name) => name.includes("password"))).toHaveLength(6);
  expect(names.filter((name) => name.includes("privateKey"))).toHaveLength(2 * 10);
  for (const [name, value] of secrets) expect(value.length, name).toBeGreaterThan(24);
  expect(found([...secrets.values()].join(" "))).toHaveLength(secrets.size);
});

describe("no password and no private key stands in clear in", () => {
  test("an export of the state without --show-secrets", async () => {
    const { text } = await exportStack(false);
    expect(found(text)).toEqual([]);
    expect(text).not.toMatch(/BEGIN (EC |RSA )?PRIVATE KEY/);
    expect(text).toContain("ciphertext");
  });

  test("the statement statistics, which the monitoring role may read", async () => {
    const rows = await query<{ query: string }>("app_monitor", "direct", "select query from pg_stat_statements");
    expect(rows.length).toBeGreaterThan(0);
    expect(found(rows.map((row) => row.query).join("\n"))).toEqual([]);
    expect(await query("app_monitor", "direct", "show pg_stat_statements.track_utility")).toEqual([
      { "pg_stat_statements.track_utility": "off" },
    ]);
  });

  test("any file of the state on disk, backups and history included", () => {
    const backend = path.join(inject("stack").home, "backend");
    const files = readdirSync(backend, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    expect(files.length).toBeGreaterThan(2);
    for (const file of files) {
      const text = readFileSync(path.join(file.parentPath, file.name), "utf8");
      expect([file.name, ...found(text)]).toEqual([file.name]);
      expect(text).not.toMatch(/BEGIN (EC |RSA )?PRIVATE KEY/);
    }
  });

  test("the checkout the stack was brought up from", () => {
    const checkout = path.join(inject("stack").home, "checkout");
    const files = readdirSync(checkout, { recursive: true, withFileTypes: true }).filter(
      (entry) => entry.isFile() && !entry.parentPath.includes("node_modules"),
    );
    for (const file of files)
      expect([file.name, ...found(readFileSync(path.join(file.parentPath, file.name), "utf8"))]).toEqual([file.name]);
  });

  test("what `up` printed", () => {
    expect(inject("stack").log).toContain("healthy");
    expect(found(inject("stack").log)).toEqual([]);
  });

  test.each(["postgres", "pgbouncer", "maintenance"] as const)(
    "the log of the %s container, after logins that failed and statements with errors",
    async (service) => {
      await refusal(open("app_user", "direct", { password: "wrong" }));
      await refusal(open("app_user", "transaction", { password: "wrong" }));
      await refusal(query("app_user", "transaction", "select no_such_column"));
      const text = await log(containerName(service));
      expect(text.length).toBeGreaterThan(service === "maintenance" ? 10 : 100);
      expect(found(text)).toEqual([]);
      expect(text).not.toMatch(/BEGIN (EC |RSA )?PRIVATE KEY|SCRAM-SHA-256\$\d/);
    },
  );

  test.each(["postgres", "pgbouncer", "maintenance"] as const)(
    "what the engine tells of the %s container: environment, labels, command, mounts",
    async (service) => {
      const info = await docker().getContainer(containerName(service)).inspect();
      expect(found(JSON.stringify(info))).toEqual([]);
      // A path in the volume, whose file holds the password.
      const environment = (info.Config.Env ?? []).filter((each) => each !== "PGPASSFILE=/etc/postgresql/pgpass");
      expect(environment.join("\n")).not.toMatch(/PASSWORD|SECRET|PGPASS/i);
    },
  );

  test.each(["postgres", "pgbouncer", "maintenance"] as const)(
    "the %s image's history and configuration",
    async (service) => {
      const { Image } = await docker().getContainer(containerName(service)).inspect();
      const image = docker().getImage(Image);
      expect(found(JSON.stringify([await image.history(), await image.inspect()]))).toEqual([]);
    },
  );

  test("the statements the server remembers, and its table of running ones", async () => {
    const rows = await query(
      "postgres",
      "direct",
      "select query from pg_stat_statements union all select query from pg_stat_activity",
      { database: "ai_workflow_db" },
    );
    expect(rows.length).toBeGreaterThan(10);
    expect(found(JSON.stringify(rows))).toEqual([]);
  });

  test("the table of this machine's processes", () => {
    const commandLines = readdirSync("/proc")
      .filter((entry) => /^\d+$/.test(entry))
      .map((pid) => {
        try {
          return readFileSync(`/proc/${pid}/cmdline`, "utf8");
        } catch {
          return ""; // it ended meanwhile
        }
      })
      .join("\n");
    expect(commandLines).toContain(process.execPath);
    expect(found(commandLines)).toEqual([]);
  });
});
