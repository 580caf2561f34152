import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { keyOfRequest, newKeys, privateKeyPem, selfSign, signLeaf } from "../../certs/sign.ts";
import { certificateProblems, type KeyPair } from "../../certs/verify.ts";
import { openssl as run } from "../helpers/openssl.ts";

let folder: string;
let signer: KeyPair;
const life = { notBefore: new Date("2026-01-01T00:00:00Z"), notAfter: new Date("2126-01-01T00:00:00Z") };
const openssl = (...args: string[]) => run(folder, ...args);

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "aiwdb-sign-"));
  const keys = await newKeys();
  signer = { certPem: await selfSign("a CA", keys, life), keyPem: await privateKeyPem(keys.privateKey) };
  writeFileSync(path.join(folder, "ca.crt"), signer.certPem);
});
afterAll(() => rmSync(folder, { recursive: true }));

/** A request that openssl makes, of a key that it makes. */
async function request(...kind: string[]): Promise<string> {
  await openssl(
    "req",
    "-new",
    "-newkey",
    ...kind,
    "-nodes",
    "-keyout",
    "own.key",
    "-out",
    "own.csr",
    "-subj",
    "/CN=postgres",
  );
  return readFileSync(path.join(folder, "own.csr"), "utf8");
}

describe("a client certificate", () => {
  test("is one that openssl takes for a client and for nothing else, with the key of the one who asked", async () => {
    const { publicKey, privateKey } = await newKeys();
    const certPem = await signLeaf(signer, { commonName: "app_user", usage: "client", publicKey, ...life });
    expect(certificateProblems({ certPem, keyPem: await privateKeyPem(privateKey) }, signer.certPem)).toEqual([]);
    expect(new X509Certificate(certPem)).toMatchObject({ subject: "CN=app_user\nO=ai-workflow-database", ca: false });
    writeFileSync(path.join(folder, "own.crt"), certPem);
    const verify = ["verify", "-x509_strict", "-CAfile", "ca.crt"];
    expect(await openssl(...verify, "-purpose", "sslclient", "own.crt")).toBe("own.crt: OK\n");
    await expect(openssl(...verify, "-purpose", "sslserver", "own.crt")).rejects.toThrow(
      /(unsupported|unsuitable) certificate purpose/,
    );
  });

  test("has a serial number of its own", async () => {
    const { publicKey } = await newKeys();
    const sign = () => signLeaf(signer, { commonName: "app_user", usage: "client", publicKey, ...life });
    const serials = [await sign(), await sign()].map((pem) => new X509Certificate(pem).serialNumber);
    expect(new Set(serials).size).toBe(2);
  });

  test("is signed by an authority of P-384 too", async () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });
    writeFileSync(path.join(folder, "p384.key"), privateKey.export({ type: "sec1", format: "pem" }));
    await openssl("req", "-x509", "-key", "p384.key", "-out", "p384.crt", "-subj", "/CN=p384", "-days", "30000");
    const [certPem, keyPem] = ["p384.crt", "p384.key"].map((name) => readFileSync(path.join(folder, name), "utf8"));
    const authority = { certPem: certPem ?? "", keyPem: keyPem ?? "" };
    const { publicKey } = await newKeys();
    const leaf = await signLeaf(authority, { commonName: "app_user", usage: "client", publicKey, ...life });
    expect(new X509Certificate(leaf).verify(new X509Certificate(authority.certPem).publicKey)).toBe(true);
  });
});

describe("a signing request", () => {
  test.each([
    ["ECDSA P-256", ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]],
    ["ECDSA P-384", ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"]],
    ["RSA", ["rsa:2048"]],
  ])("of %s gives its key and not its name", async (_kind, kind) => {
    const found = await keyOfRequest(await request(...kind));
    if ("problem" in found) throw new Error(found.problem);
    const certPem = await signLeaf(signer, { commonName: "app_user", usage: "client", ...found, ...life });
    expect(new X509Certificate(certPem).subject).toBe("CN=app_user\nO=ai-workflow-database");
    const keyPem = readFileSync(path.join(folder, "own.key"), "utf8");
    expect(certificateProblems({ certPem, keyPem }, signer.certPem)).toEqual([]);
  });

  test.each([
    ["a short RSA key", () => request("rsa:1024"), /another key than/],
    ["an RSA-PSS key", () => request("rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"), /another key than/],
    [
      "another curve",
      () => request("ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"),
      /another key than|no certificate/,
    ],
    ["a certificate", () => signer.certPem, /is no certificate signing request/],
    ["a private key", () => signer.keyPem, /is no certificate signing request/],
    ["nothing", () => "", /is no certificate signing request/],
    [
      "a signature that is another one's",
      async () => forged(await request("ec", "-pkeyopt", "ec_paramgen_curve:P-256")),
      /signature/,
    ],
  ])("with %s is refused", async (_what, make, problem) => {
    expect(await keyOfRequest(await make())).toEqual({ problem: expect.stringMatching(problem) });
  });
});

/** The request with its last bits turned: they belong to the signature. */
function forged(pem: string): string {
  const der = Buffer.from(pem.replaceAll(/-----.*-----/g, ""), "base64");
  der.writeUInt8(der.readUInt8(der.length - 3) ^ 0xff, der.length - 3);
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return ["-----BEGIN CERTIFICATE REQUEST-----", ...lines, "-----END CERTIFICATE REQUEST-----", ""].join("\n");
}
