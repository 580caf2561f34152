import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { describe, expect, inject, test } from "vitest";
import { connectionFor, type Mode } from "../../stack/connections.ts";
import { query, shell } from "../helpers/connect.ts";

/** What is left of forward secrecy with authenticated encryption where a server has an ECDSA key. */
const TAKEN = ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"];
const SIDE_BY_SIDE = 4;

const run = promisify(execFile);

/** Everything OpenSSL prints of one handshake; the server's words and its own are told apart by the alert. */
async function handshake(mode: Mode, args: readonly string[], input = ""): Promise<string> {
  const { host, port, sslRootCert, sslCert, sslKey } = connectionFor(inject("stack").outputs, "app_user", mode);
  const files = ["-CAfile", sslRootCert, "-cert", sslCert, "-key", sslKey];
  const all = ["s_client", "-starttls", "postgres", "-connect", `${host}:${port}`, ...files, ...args];
  const done = run("openssl", all, { timeout: 20_000 });
  done.child.stdin?.on("error", () => {}); // it may have ended by then
  done.child.stdin?.end(input);
  // A refused handshake is its failure, with the same output.
  const { stdout, stderr } = await done.catch((error: { stdout: string; stderr: string }) => error);
  return stdout + stderr;
}

/** The cipher both sides agreed on; undefined where the server answered with an alert. */
async function agreed(mode: Mode, args: readonly string[]): Promise<string | undefined> {
  const output = await handshake(mode, args);
  const cipher = /Cipher is (\S+)/.exec(output)?.[1];
  if (cipher !== undefined && cipher !== "(NONE)") return cipher;
  if (!/alert (handshake failure|protocol version)/.test(output))
    throw new Error(`the server was not asked:\n${output}`);
  return undefined;
}

/** Ciphers that this OpenSSL can offer in TLS 1.2, weak ones included. */
async function known(): Promise<string[]> {
  const { stdout } = await run("openssl", ["ciphers", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]);
  return stdout
    .trim()
    .split(":")
    .filter((name) => !name.startsWith("TLS_"));
}

describe.each(["direct", "transaction"] as const)("a %s connection", (mode) => {
  test("takes three of all the ciphers there are in TLS 1.2: those with forward secrecy and authenticated encryption", async () => {
    const ciphers = await known();
    const taken: string[] = [];
    const rest = [...ciphers];
    await Promise.all(
      Array.from({ length: SIDE_BY_SIDE }, async () => {
        for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
          // Without a key or a user of their own they would not be offered.
          const needs = name.includes("PSK") ? ["-psk", "1a2b"] : name.includes("SRP") ? ["-srpuser", "nobody"] : [];
          if ((await agreed(mode, ["-tls1_2", "-cipher", `${name}:@SECLEVEL=0`, ...needs])) === name) taken.push(name);
        }
      }),
    );
    expect(ciphers.length).toBeGreaterThan(50);
    expect(taken.sort()).toEqual(TAKEN);
  });

  test("chooses the same cipher whatever order the client prefers", async () => {
    const chosen = await Promise.all(
      [TAKEN, TAKEN.toReversed()].map((order) => agreed(mode, ["-tls1_2", "-cipher", order.join(":")])),
    );
    expect(new Set(chosen).size).toBe(1);
  });

  test("takes TLS 1.3's suites that OpenSSL offers by itself, and not the truncated ones", async () => {
    const suites = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
    for (const suite of suites) expect(await agreed(mode, ["-tls1_3", "-ciphersuites", suite])).toBe(suite);
    expect(await agreed(mode, ["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_8_SHA256"])).toBeUndefined();
  });

  test("refuses TLS 1.0 and 1.1 with every cipher", async () => {
    for (const version of ["-tls1", "-tls1_1"])
      expect(await agreed(mode, [version, "-cipher", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]), version).toBeUndefined();
  });

  test("refuses curves below 256 bits, compression and a second handshake inside a connection", async () => {
    expect(await agreed(mode, ["-tls1_2", "-groups", "secp224r1"])).toBeUndefined();
    expect(await agreed(mode, ["-tls1_2", "-groups", "prime256v1"])).toBe("ECDHE-ECDSA-AES256-GCM-SHA384");
    const output = await handshake(mode, ["-tls1_2", "-comp"], "R\n");
    expect(output).toMatch(/Compression: NONE/);
    expect(output).toMatch(/RENEGOTIATING[^]*no renegotiation/);
  });
});

// A resumed session's certificate is not looked at again: the limit that docs/security.md states.
test("a session that the pooler lets a client resume ends with a reload, as every renewal of certificates makes it", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), "openssl-"));
  const file = path.join(folder, "session");
  // In TLS 1.2 the ticket is part of the handshake.
  const seen = async (args: readonly string[]) =>
    /^(New|Reused), TLSv1\.2/m.exec(await handshake("transaction", ["-tls1_2", ...args]))?.[1];
  try {
    expect(await seen(["-sess_out", file])).toBe("New");
    expect(await seen(["-sess_in", file])).toBe("Reused");
    const console = "psql -XAtq -h /run/pgbouncer -p 6432 -U pgbouncer -d pgbouncer -c reload";
    expect((await shell("pgbouncer", console)).exitCode).toBe(0);
    expect(await seen(["-sess_in", file])).toBe("New");
    expect(await seen(["-sess_out", file])).toBe("New");
  } finally {
    rmSync(folder, { recursive: true });
  }
  expect(await handshake("direct", ["-tls1_2"])).not.toMatch(/TLS session ticket:/);
});

test("the pooler offers the server the same ciphers as it takes from clients, and PostgreSQL has them in its settings", async () => {
  const rows = await query<{ key: string; value: string }>("app_monitor", "transaction", "show config", {
    database: "pgbouncer",
  });
  const value = (name: string) => rows.find(({ key }) => key === name)?.value;
  const [row] = await query<{ ssl_ciphers: string }>("app_monitor", "direct", "show ssl_ciphers");
  expect(row?.ssl_ciphers).toBe("ECDHE+AESGCM:ECDHE+CHACHA20");
  expect([value("client_tls_ciphers"), value("server_tls_ciphers")]).toEqual([row?.ssl_ciphers, row?.ssl_ciphers]);
  expect(
    await query("app_user", "transaction", "select version, cipher from pg_stat_ssl where pid = pg_backend_pid()"),
  ).toEqual([{ version: "TLSv1.3", cipher: "TLS_AES_256_GCM_SHA384" }]);
});
