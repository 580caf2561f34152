import { execFile } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { readFileSync, statSync } from "node:fs";
import net from "node:net";
import path from "node:path";
import tls from "node:tls";
import { promisify } from "node:util";
import pg from "pg";
import { beforeAll, describe, expect, inject, test } from "vitest";
import { libpqUrl } from "../../database/libpq.ts";
import { connectionFor, type Mode } from "../../stack/connections.ts";
import { offeredCertificate } from "../../database/handshake.ts";
import { scramSecret } from "../../database/scram.ts";
import { authority, createCa, type ThrowAwayCa } from "../helpers/throw-away-ca.ts";
import { asSuperuser, clientConfig, containerName, log, open, query, refusal, shell } from "../helpers/connect.ts";
import { stackAuthority } from "../helpers/stack-secrets.ts";

const MODES: Mode[] = ["direct", "transaction", "session"];
const SERVER = { direct: "postgres", transaction: "pgbouncer", session: "pgbouncer" } as const;

/** The client itself gives up: both servers ask for one. */
const NO_PASSWORD = "-: SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string";

let foreign: ThrowAwayCa;
let own: ThrowAwayCa;

beforeAll(async () => {
  foreign = await createCa("foreign CA");
  // The stack's own key, so that a certificate differs from a good one in nothing but the point under test.
  own = authority(await stackAuthority());
});

describe.each(MODES)("a %s connection", (mode) => {
  test("works with certificate and password, over TLS 1.3 to the server", async () => {
    const rows = await query(
      "app_user",
      mode,
      "select current_user as role, current_database() as database, ssl, version from pg_stat_ssl where pid = pg_backend_pid()",
    );
    expect(rows).toEqual([{ role: "app_user", database: "ai_workflow_db", ssl: true, version: "TLSv1.3" }]);
  });

  test("works with a certificate that the stack's authority signed by hand", async () => {
    const certificate = await own.issue({ commonName: "app_user" });
    expect(await query("app_user", mode, "select 1 as one", { certificate })).toEqual([{ one: 1 }]);
  });

  test("works over TLS 1.2, and not over TLS 1.1", async () => {
    const old = { ciphers: "DEFAULT@SECLEVEL=0" };
    expect(
      await query("app_user", mode, "select 1 as one", { ssl: { minVersion: "TLSv1.2", maxVersion: "TLSv1.2" } }),
    ).toEqual([{ one: 1 }]);
    const reason = await refusal(
      open("app_user", mode, { ssl: { ...old, minVersion: "TLSv1", maxVersion: "TLSv1.1" } }),
    );
    expect(reason).toMatch(/alert protocol version|unsupported protocol|wrong version number/i);
  });

  test("is refused in plain text, before the password is asked for", async () => {
    const reason = await refusal(open("app_user", mode, { ssl: false }));
    expect(reason).toMatch(
      mode === "direct" ? /28000: .*pg_hba\.conf rejects connection.*no encryption/ : /08P01: .*SSL required/,
    );
  });

  test("is refused without a client certificate", async () => {
    const reason = await refusal(open("app_user", mode, { certificate: null }));
    expect(reason).toMatch(
      mode === "direct"
        ? /28000: .*connection requires a valid client certificate/
        : /certificate required|ECONNRESET|closed|terminated/i,
    );
  });

  test("is refused with a certificate of a foreign authority", async () => {
    const certificate = await foreign.issue({ commonName: "app_user" });
    expect(await refusal(open("app_user", mode, { certificate }))).toMatch(
      /alert unknown ca|ECONNRESET|closed|terminated/i,
    );
  });

  test("is refused with an expired certificate, and with one that is not valid yet", async () => {
    const since = new Date();
    const expired = await own.issue({ commonName: "app_user", fromDays: -30, toDays: -0.01 });
    expect(await refusal(open("app_user", mode, { certificate: expired }))).toMatch(/alert certificate expired/i);
    const future = await own.issue({ commonName: "app_user", fromDays: 1 / 144, toDays: 30 }); // a clock 10 minutes ahead
    expect(await refusal(open("app_user", mode, { certificate: future }))).toMatch(/alert bad certificate/i);
    // The logs say no more than that: PostgreSQL's reason is a detail, and those are values out of rows too.
    await expect.poll(() => log(containerName(SERVER[mode]), since)).toMatch(/certificate verify failed/);
  });

  test("is refused with a server's certificate", async () => {
    const certificate = await own.issue({ commonName: "app_user", usage: "server" });
    expect(await refusal(open("app_user", mode, { certificate }))).toMatch(
      /alert (unsupported|bad) certificate|ECONNRESET|closed|terminated/i,
    );
  });

  test("is given up by the client when the server's certificate does not carry the host name", async () => {
    expect(await query("app_user", mode, "select 1 as one", { ssl: { servername: "localhost" } })).toEqual([
      { one: 1 },
    ]);
    expect(await refusal(open("app_user", mode, { ssl: { servername: "db.example.org" } }))).toMatch(
      /ERR_TLS_CERT_ALTNAME_INVALID: .*db\.example\.org/,
    );
  });

  test("is given up by the client when the server's certificate is of another authority", async () => {
    expect(await refusal(open("app_user", mode, { ssl: { ca: foreign.certPem } }))).toMatch(
      /unable to verify|self.signed|unable to get/i,
    );
  });

  test("is refused with a wrong password, and without one", async () => {
    expect(await refusal(open("app_user", mode, { password: "wrong" }))).toMatch(
      /^28P01: password authentication failed for user|^08P01: SASL authentication failed$/,
    );
    expect(await refusal(open("app_user", mode, { password: "" }))).toBe(NO_PASSWORD);
  });

  test("is refused to a role that does not exist", async () => {
    const certificate = await own.issue({ commonName: "nobody_here" });
    // The pooler says so, to holders of a certificate only; PostgreSQL does not even tell whether there is such a role.
    const reason = mode === "direct" ? /28000: pg_hba\.conf rejects connection/ : /08P01: no such user/;
    expect(await refusal(open("app_user", mode, { user: "nobody_here", certificate }))).toMatch(reason);
  });

  test("of a superuser is refused, even with its certificate and password, unless it is direct", async () => {
    const { password } = connectionFor(inject("stack").outputs, "postgres", "direct");
    const certificate = await own.issue({ commonName: "postgres" });
    if (mode === "direct") {
      expect(await query("postgres", mode, "select current_user as role", { certificate })).toEqual([
        { role: "postgres" },
      ]);
      expect(await refusal(open("postgres", mode, { certificate: null }))).toMatch(
        /requires a valid client certificate/,
      );
    } else {
      expect(await refusal(open("app_user", mode, { user: "postgres", password, certificate }))).toMatch(
        /28000|08P01|28P01/,
      );
    }
  });

  test("of the owner, who migrates, is refused unless it is direct", async () => {
    const { password } = connectionFor(inject("stack").outputs, "ai_workflow_owner", "direct");
    const certificate = await own.issue({ commonName: "ai_workflow_owner" });
    if (mode === "direct") expect(await query("ai_workflow_owner", mode, "select 1 as one")).toEqual([{ one: 1 }]);
    else
      expect(await refusal(open("app_user", mode, { user: "ai_workflow_owner", password, certificate }))).toMatch(
        /28000|08P01|28P01/,
      );
  });
});

describe("certificate of one role, account of another", () => {
  const passwordOf = (role: "app_user" | "app_readonly") =>
    connectionFor(inject("stack").outputs, role, "direct").password;
  const certificateOf = (role: "app_user" | "app_readonly") => {
    const { sslCert, sslKey } = connectionFor(inject("stack").outputs, role, "direct");
    return { certPem: readFileSync(sslCert, "utf8"), keyPem: readFileSync(sslKey, "utf8") };
  };

  test("is refused by the server even with the right password", async () => {
    const reason = await refusal(open("app_readonly", "direct", { certificate: certificateOf("app_user") }));
    expect(reason).toMatch(/^28P01: /);
    await expect
      .poll(() => log(containerName("postgres")))
      .toMatch(/certificate validation \(clientcert=verify-full\) failed for user "app_readonly": CN mismatch/);
  });

  test("opens nothing at the pooler without the other role's password", async () => {
    const certificate = certificateOf("app_user");
    expect(await refusal(open("app_readonly", "transaction", { certificate, password: passwordOf("app_user") }))).toBe(
      "08P01: SASL authentication failed",
    );
    expect(await refusal(open("app_readonly", "transaction", { certificate, password: "" }))).toBe(NO_PASSWORD);
  });

  // PgBouncer compares a certificate's name with the role only by its "cert" method, which leaves no password to hand
  // on.
  test("is opened by the pooler when the other role's password is known: the limit that docs/security.md states", async () => {
    expect(
      await query("app_readonly", "transaction", "select current_user as role", {
        certificate: certificateOf("app_user"),
      }),
    ).toEqual([{ role: "app_readonly" }]);
  });

  test("of the pooler itself opens nothing from outside its own address", async () => {
    const certificate = await own.issue({ commonName: "pgbouncer" });
    expect(
      await refusal(open("app_user", "direct", { user: "pgbouncer", certificate, password: "x".repeat(32) })),
    ).toMatch(/28000: .*pg_hba\.conf rejects connection/);
  });
});

describe("roles and databases", () => {
  test("PUBLIC may connect to no database, and pg_hba.conf lets roles into their own only", async () => {
    for (const database of ["postgres", "template1"]) {
      expect(await refusal(open("app_user", "direct", { database }))).toMatch(
        /28000: .*pg_hba\.conf rejects connection.*database "(postgres|template1)"/,
      );
    }
    const [row] = await query<{ open: string[] }>(
      "postgres",
      "direct",
      "select coalesce(array_agg(datname::text) filter (where has_database_privilege('public', oid, 'connect')), '{}') as open from pg_database where datname in ('postgres', 'template1', 'ai_workflow_db')",
    );
    expect(row?.open).toEqual([]);
  });

  test("a role whose secret is md5 logs in nowhere with the right password, which a SCRAM secret of the same password lets in", async () => {
    const [before] = await asSuperuser(
      async (admin) => (await admin.query("select rolpassword from pg_authid where rolname = 'app_readonly'")).rows,
    );
    const password = "the-same-password-both-times";
    const store = (secret: string) =>
      asSuperuser((admin) =>
        admin.query("update pg_authid set rolpassword = $1 where rolname = 'app_readonly'", [secret]),
      );
    try {
      await store(scramSecret(password));
      for (const mode of MODES)
        expect(await query("app_readonly", mode, "select 1 as one", { password }), mode).toEqual([{ one: 1 }]);
      await store(`md5${createHash("md5").update(`${password}app_readonly`).digest("hex")}`);
      for (const mode of MODES)
        expect(await refusal(open("app_readonly", mode, { password })), mode).toMatch(
          mode === "direct" ? /28P01/ : /SASL|password|authentication/,
        );
    } finally {
      await asSuperuser((admin) =>
        admin.query("update pg_authid set rolpassword = $1 where rolname = 'app_readonly'", [before.rolpassword]),
      );
    }
    expect(await query("app_readonly", "direct", "select 1 as one")).toEqual([{ one: 1 }]);
  });

  test("every secret in the cluster is SCRAM", async () => {
    expect(
      await query(
        "postgres",
        "direct",
        "select rolname from pg_authid where rolpassword is not null and rolpassword not like 'SCRAM-SHA-256$%'",
      ),
    ).toEqual([]);
    expect(await query("postgres", "direct", "show password_encryption")).toEqual([
      { password_encryption: "scram-sha-256" },
    ]);
  });

  test("a role past its VALID UNTIL is refused through the pooler and direct, and let in again when it is extended", async () => {
    const setUntil = (until: string) =>
      asSuperuser((admin) => admin.query(`alter role app_readonly valid until '${until}'`));
    await setUntil("yesterday");
    try {
      expect(await refusal(open("app_readonly", "direct"))).toMatch(/28P01/);
      // A pooled server connection that is still open must not let it in either.
      for (const mode of ["transaction", "session"] as const)
        expect(await refusal(open("app_readonly", mode)), mode).toBe("08P01: SASL authentication failed");
    } finally {
      await setUntil("infinity");
    }
    for (const mode of MODES) expect(await query("app_readonly", mode, "select 1 as one")).toEqual([{ one: 1 }]);
  });

  test("a hostile search_path at the start of a connection does not reach the lookup of secrets", async () => {
    await asSuperuser(async (admin) => {
      await admin.query("create schema if not exists evil");
      await admin.query(
        "create or replace function evil.lookup(text, out rolname name, out rolpassword text) returns setof record language sql as $$ select 'app_readonly'::name, 'stolen' $$",
      );
      await admin.query(
        "create or replace view evil.pg_authid as select 'app_readonly'::name as rolname, 'stolen'::text as rolpassword",
      );
      await admin.query("grant usage on schema evil to public");
    }, "ai_workflow_db");
    try {
      const options = "-c search_path=evil";
      for (const change of [{ options, password: "stolen" }, { options }])
        expect(await refusal(open("app_readonly", "transaction", change))).toContain(
          "unsupported startup parameter in options: search_path",
        );
      expect(await refusal(open("app_readonly", "transaction", { password: "stolen" }))).toMatch(/SASL/);
      expect(await query("app_readonly", "transaction", "select current_user as role")).toEqual([
        { role: "app_readonly" },
      ]);
    } finally {
      await asSuperuser((admin) => admin.query("drop schema evil cascade"), "ai_workflow_db");
    }
  });

  test("channel binding is offered and works direct, and is not offered by the pooler, which cannot have it", async () => {
    expect(await query("app_user", "direct", "select 1 as one", { enableChannelBinding: true } as object)).toEqual([
      { one: 1 },
    ]);
    expect(await offeredMechanisms("direct")).toEqual(["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]);
    expect(await offeredMechanisms("transaction")).toEqual(["SCRAM-SHA-256"]);
  });

  test("the superuser is refused to everybody on the stack's own network", async () => {
    const { stderr } = await shell(
      "pgbouncer",
      "psql 'host=postgres user=postgres dbname=postgres sslmode=require connect_timeout=5' -c 'select 1'",
    );
    expect(stderr).toMatch(/pg_hba\.conf rejects connection for host "10\..*", user "postgres"/);
  });
});

test("neither server answers anything before TLS but whether it speaks it", async () => {
  for (const mode of ["direct", "transaction"] as const) {
    const { host, port } = clientConfig("app_user", mode);
    const socket = net.connect({ host: host as string, port: port as number });
    await once(socket, "connect");
    socket.write(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])); // SSLRequest
    const [answer] = (await once(socket, "data")) as [Buffer];
    socket.destroy();
    expect(answer.toString("latin1"), mode).toBe("S");
  }
});

test("the URL works as it is in psql, in every mode, by a name that libpq before 15 finds in the certificate", async () => {
  for (const mode of MODES) {
    const connection = connectionFor(inject("stack").outputs, "app_user", mode);
    const url = libpqUrl(connection);
    // It compares a host with DNS names only, never with addresses.
    const { host, port } = connection;
    expect(new X509Certificate((await offeredCertificate(host, port)).raw).checkHost(new URL(url).hostname)).toBe(
      "localhost",
    );
    const { stdout } = await promisify(execFile)("psql", [
      url,
      "-XAtc",
      "select current_user, current_database(), ssl, version from pg_stat_ssl where pid = pg_backend_pid()",
    ]);
    expect(stdout.trim(), mode).toBe("app_user|ai_workflow_db|t|TLSv1.3");
  }
});

test("libpq's URL works as it is in node-postgres, which reads certificates from its parameters", async () => {
  for (const mode of MODES) {
    const client = new pg.Client({
      connectionString: libpqUrl(connectionFor(inject("stack").outputs, "app_user", mode)),
    });
    await client.connect();
    expect((await client.query("select current_user as role")).rows).toEqual([{ role: "app_user" }]);
    await client.end();
  }
});

test("client certificates and keys lie outside the checkout, where only this user reads them", () => {
  const { sslKey } = connectionFor(inject("stack").outputs, "app_user", "direct");
  expect(path.resolve(sslKey).startsWith(path.join(inject("stack").home, "checkout"))).toBe(false);
  expect(statSync(sslKey).mode & 0o777).toBe(0o600);
});

/** Mechanisms of the first SASL message; https://www.postgresql.org/docs/16/protocol-message-formats.html */
async function offeredMechanisms(mode: Mode): Promise<string[]> {
  const { host, port, ssl } = clientConfig("app_user", mode) as {
    host: string;
    port: number;
    ssl: tls.ConnectionOptions;
  };
  const plain = net.connect({ host, port });
  await once(plain, "connect");
  plain.write(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])); // SSLRequest
  await once(plain, "data");
  const socket = tls.connect({ ...ssl, socket: plain });
  await once(socket, "secureConnect");
  const parameters = Buffer.from("user\0app_user\0database\0ai_workflow_db\0\0");
  const head = Buffer.alloc(8);
  head.writeInt32BE(8 + parameters.length, 0);
  head.writeInt32BE(196_608, 4); // protocol 3.0
  socket.write(Buffer.concat([head, parameters]));
  const [answer] = (await once(socket, "data")) as [Buffer];
  socket.destroy();
  // R, length, 10 for SASL, then names that end in NUL
  expect([answer.toString("latin1", 0, 1), answer.readInt32BE(5)]).toEqual(["R", 10]);
  return answer
    .toString("latin1", 9, 1 + answer.readInt32BE(1))
    .split("\0")
    .filter((name) => name !== "");
}
