import { execFile } from "node:child_process";
import { X509Certificate } from "node:crypto";
import {
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
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import type { KeyPair } from "../../certs/verify.ts";
import type { Issued } from "../../stack/issue-certificate.ts";
import type { IssuedCertificate } from "../../stack/issued-certificates.ts";
import { connectionFor, type Mode } from "../../stack/connections.ts";
import type { StackStatus } from "../../stack/status/status.ts";
import { open, query, refusal } from "../helpers/connect.ts";
import { openssl } from "../helpers/openssl.ts";
import { environment } from "../helpers/stack-secrets.ts";

const MODES: Mode[] = ["direct", "transaction", "session"];
let folder: string;
beforeAll(() => void (folder = mkdtempSync(path.join(tmpdir(), "aiwdb-issued-"))));
afterAll(() => rmSync(folder, { recursive: true }));

const at = (...names: string[]) => path.join(folder, ...names);
const pairIn = (place: string, role: string, key = at(place, `${role}.key`)): KeyPair => ({
  certPem: readFileSync(at(place, `${role}.crt`), "utf8"),
  keyPem: readFileSync(key, "utf8"),
});

/** Runs `aiwdb certs …` on the stack. */
function certs(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { name, home } = inject("stack");
  return new Promise((resolve) => {
    execFile(
      path.join(home, "checkout/bin/aiwdb"),
      [...args, "--stack", name],
      { env: environment(home) },
      (error, stdout, stderr) => resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
    );
  });
}
const issue = async (...args: string[]): Promise<Issued> => {
  const { code, stdout, stderr } = await certs("certs", "issue", ...args, "--json");
  expect(stderr).toBe("");
  expect(code).toBe(0);
  return JSON.parse(stdout) as Issued;
};

test("a further certificate connects in every mode beside the role's own one, and as no other role", async () => {
  const own = () => readFileSync(connectionFor(inject("stack").outputs, "app_readonly", "direct").sslCert, "utf8");
  const before = own();
  const issued = await issue("app_readonly", "--output", at("anna"));
  expect(issued).toMatchObject({ role: "app_readonly", daysLeft: 89, state: "valid", phase: 0 });
  expect(issued.files).toEqual(["ca.crt", "app_readonly.crt", "app_readonly.key"].map((name) => at("anna", name)));
  expect(readdirSync(at("anna")).map((name) => statSync(at("anna", name)).mode & 0o777)).toEqual([0o600, 0o600, 0o600]);
  expect(statSync(at("anna")).mode & 0o777).toBe(0o700);

  const certificate = pairIn("anna", "app_readonly");
  const ca = readFileSync(at("anna", "ca.crt"), "utf8");
  for (const mode of MODES) {
    expect(await query("app_readonly", mode, "select current_user as role", { certificate, ssl: { ca } })).toEqual([
      { role: "app_readonly" },
    ]);
    expect(await query("app_readonly", mode, "select 1 as one")).toEqual([{ one: 1 }]);
  }
  const serial = "select client_serial::text as serial from pg_stat_ssl where pid = pg_backend_pid()";
  expect(await query("app_readonly", "direct", serial, { certificate })).toEqual([
    { serial: BigInt(`0x${issued.serial}`).toString() },
  ]);
  expect(await refusal(open("app_user", "direct", { certificate }))).toMatch(/^28000|^28P01/);
  expect(own()).toBe(before);
});

test("a signing request's key stays where it is, and its names do not count", async () => {
  const csr = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "w.key", "-out", "w.csr"];
  await openssl(folder, ...csr, "-subj", "/CN=postgres");
  const { files } = await issue("app_user", "--output", at("worker"), "--csr", at("w.csr"), "--days", "0.5");
  expect(files).toEqual([at("worker", "ca.crt"), at("worker", "app_user.crt")]);
  const certificate = pairIn("worker", "app_user", at("w.key"));
  const { validFromDate, validToDate } = new X509Certificate(certificate.certPem);
  expect(validToDate.getTime() - validFromDate.getTime()).toBe(12 * 3_600_000);
  for (const mode of MODES)
    expect(await query("app_user", mode, "select 1 as one", { certificate })).toEqual([{ one: 1 }]);
  expect(await refusal(open("postgres", "direct", { certificate }))).toMatch(/^28000|^28P01/);
});

test("nothing is replaced unless it is told, and all that is in the way is said at once", async () => {
  await issue("app_monitor", "--output", at("twice"));
  writeFileSync(at("no.csr"), "not a request");
  const again = ["certs", "issue", "app_monitor", "--output", at("twice")];
  const refused = await certs(...again, "--csr", at("no.csr"));
  expect(refused.code).toBe(2);
  expect(refused.stderr).toContain(`${at("twice", "ca.crt")}: is there already`);
  expect(refused.stderr).toContain(`${at("twice", "app_monitor.crt")}: is there already`);
  expect(refused.stderr).toContain("--csr: ");
  const first = pairIn("twice", "app_monitor");
  expect((await certs(...again, "--overwrite")).code).toBe(0);
  const second = pairIn("twice", "app_monitor");
  expect(second.certPem).not.toBe(first.certPem);
  // The first one is still good: nobody can take one certificate back.
  for (const certificate of [first, second])
    expect(await query("app_monitor", "direct", "select 1 as one", { certificate })).toEqual([{ one: 1 }]);
});

test.each([
  ["a role without a certificate", ["pgbouncer"], /ROLE/i],
  ["a life that no certificate may have", ["app_user", "--days", "5000"], /--days: must be at most 3650/],
  ["a life that is no number", ["app_user", "--days", "long"], /--days: must be a number/],
  ["a request that is not there", ["app_user", "--csr", "/nowhere"], /--csr: \/nowhere is not there/],
])("%s is refused, and nothing is written", async (_what, args, message) => {
  const { code, stderr } = await certs("certs", "issue", ...args, "--output", at("refused"));
  expect(code).toBe(2);
  expect(stderr).toMatch(message);
  expect(readdirSync(folder)).not.toContain("refused");
});

test("--overwrite writes through no link, and into no folder of the file's name", async () => {
  mkdirSync(at("links", "app_user.key"), { recursive: true });
  writeFileSync(at("precious"), "precious");
  symlinkSync(at("precious"), at("links", "ca.crt"));
  const { code, stderr } = await certs("certs", "issue", "app_user", "--output", at("links"), "--overwrite");
  expect(code).toBe(2);
  expect(stderr).toContain(`${at("links", "app_user.key")}: is no file of this user's`);
  expect(stderr).toContain(`${at("links", "ca.crt")}: is no file of this user's`);
  expect(readFileSync(at("precious"), "utf8")).toBe("precious");
  expect(readdirSync(at("links")).toSorted()).toEqual(["app_user.key", "ca.crt"]);
});

test("a folder inside the stack's own is refused, by whatever link it is named", async () => {
  const own = path.dirname(connectionFor(inject("stack").outputs, "app_user", "direct").sslCert);
  symlinkSync(own, at("own"));
  const { code, stderr } = await certs("certs", "issue", "app_user", "--output", at("own", "new"));
  expect(code).toBe(2);
  expect(stderr).toContain("--output: is the folder of the stack's own certificates");
});

test("the stack's own folder is refused", async () => {
  const own = path.dirname(connectionFor(inject("stack").outputs, "app_user", "direct").sslCert);
  const { code, stderr } = await certs("certs", "issue", "app_user", "--output", own, "--overwrite");
  expect(code).toBe(2);
  expect(stderr).toContain("--output: is the folder of the stack's own certificates");
});

test("what was issued is listed, and `status` names it", async () => {
  const { serial } = await issue("app_user", "--output", at("listed"), "--days", "2");
  const { issued } = JSON.parse((await certs("certs", "list", "--json")).stdout) as { issued: IssuedCertificate[] };
  expect(issued.find((each) => each.serial === serial)).toMatchObject({
    role: "app_user",
    daysLeft: 1,
    state: "valid",
  });
  expect((await certs("certs", "list")).stdout).toMatch(new RegExp(`^app_user  ${serial}  .*1 days left$`, "m"));
  const status = JSON.parse((await certs("status", "--json")).stdout) as StackStatus;
  expect(status.certificates).toContainEqual(
    expect.objectContaining({ name: `issued app_user ${serial}`, daysLeft: 1 }),
  );
});
