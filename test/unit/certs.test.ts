import { createPrivateKey, generateKeyPairSync, X509Certificate } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { certificateProblems, lifeInHours, outlivesAuthority, serialOf, type KeyPair } from "../../certs/verify.ts";
import { authority, createCa, type ThrowAwayCa } from "../helpers/throw-away-ca.ts";

let ca: ThrowAwayCa;
let other: ThrowAwayCa;
let good: KeyPair;

beforeAll(async () => {
  ca = await createCa();
  other = await createCa(); // of the same name: only the signature tells them apart
  good = await ca.issue({ commonName: "app_user" });
});

test("finds nothing wrong with a certificate of the authority, its key and its time", () => {
  expect(certificateProblems(good, ca.certPem)).toEqual([]);
});

describe("names what is wrong when", () => {
  test("the certificate expired, with the day", async () => {
    const expired = await ca.issue({ commonName: "app_user", fromDays: -30, toDays: -1 });
    const [problem, ...more] = certificateProblems(expired, ca.certPem);
    expect(problem).toBe(
      `the certificate expired on ${new X509Certificate(expired.certPem).validToDate.toISOString()}`,
    );
    expect(more).toEqual([]);
  });

  test("the certificate is not valid yet, with the day", async () => {
    const future = await ca.issue({ commonName: "app_user", fromDays: 1, toDays: 30 });
    expect(certificateProblems(future, ca.certPem)).toEqual([
      `the certificate is not valid before ${new X509Certificate(future.certPem).validFromDate.toISOString()}`,
    ]);
  });

  test("its last second is over, and not a second before", () => {
    const end = new X509Certificate(good.certPem).validToDate;
    expect(certificateProblems(good, ca.certPem, end)).toEqual([]);
    expect(certificateProblems(good, ca.certPem, new Date(end.getTime() + 1_000))).toHaveLength(1);
  });

  test("another authority signed it, even one of the same name", () => {
    expect(certificateProblems(good, other.certPem)).toEqual(["the certificate was not signed by the authority"]);
  });

  test("none of several authorities signed it, and not if any of them did", () => {
    expect(certificateProblems(good, other.certPem + ca.certPem)).toEqual([]);
    expect(certificateProblems(good, ca.certPem + other.certPem)).toEqual([]);
    expect(certificateProblems(good, other.certPem + other.certPem)).toEqual([
      "the certificate was not signed by the authority",
    ]);
    expect(certificateProblems(good, ca.certPem + other.certPem.slice(0, 200))).toEqual([
      "the authority is no complete PEM certificate",
    ]);
  });

  test("the key belongs to another certificate", async () => {
    const second = await ca.issue({ commonName: "app_user" });
    expect(certificateProblems({ ...good, keyPem: second.keyPem }, ca.certPem)).toEqual([
      "key and certificate do not belong together",
    ]);
  });

  test.each([
    ["certPem", "the certificate is no complete PEM certificate"],
    ["keyPem", "the key is no complete PEM private key"],
  ] as const)("%s is cut off", (part, problem) => {
    const cut = good[part].slice(0, Math.floor(good[part].length / 2));
    expect(certificateProblems({ ...good, [part]: cut }, ca.certPem)).toEqual([problem]);
  });

  test("the authority is cut off", () => {
    expect(certificateProblems(good, ca.certPem.slice(0, 200))).toEqual([
      "the authority is no complete PEM certificate",
    ]);
  });

  test.each(["certPem", "keyPem"] as const)("%s is empty", (part) => {
    expect(certificateProblems({ ...good, [part]: "" }, ca.certPem)).toHaveLength(1);
  });

  test("lines end in carriage returns", () => {
    const crlf = (text: string) => text.replaceAll("\n", "\r\n");
    expect(certificateProblems({ certPem: crlf(good.certPem), keyPem: crlf(good.keyPem) }, crlf(ca.certPem))).toEqual([
      "the certificate has carriage returns",
      "the key has carriage returns",
      "the authority has carriage returns",
    ]);
  });

  test("the chain stands in the wrong order", () => {
    expect(certificateProblems({ ...good, certPem: ca.certPem + good.certPem }, ca.certPem)).toContain(
      "key and certificate do not belong together",
    );
  });

  test("several things are wrong at once", async () => {
    const expired = await other.issue({ commonName: "app_user", fromDays: -3, toDays: -1 });
    expect(certificateProblems({ certPem: expired.certPem, keyPem: good.keyPem }, ca.certPem)).toHaveLength(3);
  });
});

test("never repeats a key in what it says", () => {
  const secret = good.keyPem.split("\n")[1] ?? "no key";
  for (const keyPem of [
    good.keyPem.slice(0, 150),
    good.keyPem.replaceAll("\n", "\r\n"),
    `${good.keyPem.slice(0, 100)}#`,
  ]) {
    expect(certificateProblems({ ...good, keyPem }, ca.certPem).join("\n")).not.toContain(secret);
  }
});

test("reads the serial number as a TLS peer shows it", () => {
  expect(serialOf(good.certPem)).toMatch(/^01[0-9A-F]{30}$/);
});

test("takes leaf keys under an authority of P-384", async () => {
  const keys = generateKeyPairSync("ec", { namedCurve: "P-384" });
  const p384 = keys.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  expect(createPrivateKey(p384).asymmetricKeyDetails?.namedCurve).toBe("secp384r1");
  // A certificate over another key than the signer's is refused, whatever the curve.
  const leaf = await authority({ certPem: ca.certPem, keyPem: p384 }).issue({ commonName: "app_user" });
  expect(certificateProblems(leaf, ca.certPem)).toEqual(["the certificate was not signed by the authority"]);
});

test.each([
  [90, 2_160],
  [0.125, 3],
  [0.05, 2],
  [0.06, 2],
  [1.01, 25],
])("a life of %s days is %s whole hours, never shorter than what renewal counts with", (days, hours) => {
  expect(lifeInHours(days)).toBe(hours);
  expect(lifeInHours(days) / 24).toBeGreaterThanOrEqual(days);
});

describe("a leaf that is to live for 90 days", () => {
  const now = Date.parse("2026-01-01T00:00:00Z");
  const end = (days: number) => new Date(now + days * 86_400_000).toISOString();

  test("may end together with its authority", () => {
    expect(outlivesAuthority(90, end(90), now)).toBeUndefined();
  });

  test("is refused when its authority ends before, with both ends and what to do", () => {
    expect(outlivesAuthority(90, end(89.5), now)).toBe(
      "certLeafValidityDays: 90 days outlive the certificate authority, which ends on 2026-03-31T12:00:00.000Z (in 89 days). " +
        "Replace the authority with `aiwdb up --rotate-authority` (docs/operations.md), or lower certLeafValidityDays.",
    );
    expect(outlivesAuthority(90, end(-1), now)).toContain("(in -1 days)");
  });
});
