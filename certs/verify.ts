import { createPrivateKey, X509Certificate } from "node:crypto";

/** One certificate with its key, as PEM text. */
export interface KeyPair {
  readonly certPem: string;
  readonly keyPem: string;
}

/**
 * What is wrong with a certificate, its key and its authority; empty if they can be used together now.
 *
 * Checked: well-formed PEM without carriage returns, key matches, signed by one of the authorities, inside its life.
 *
 * @param caPem certificates of one or more authorities
 * @param now null: its life is not looked at
 */
export function certificateProblems(pair: KeyPair, caPem: string, now: Date | null = new Date()): string[] {
  const texts = { certificate: pair.certPem, key: pair.keyPem, authority: caPem };
  const problems = Object.entries(texts)
    .filter(([, pem]) => pem.includes("\r"))
    .map(([what]) => `the ${what} has carriage returns`);
  const cert = attempt(() => new X509Certificate(pair.certPem));
  const key = attempt(() => createPrivateKey(pair.keyPem));
  const authorities = attempt(() => certificatesOf(caPem));
  if (!cert) problems.push("the certificate is no complete PEM certificate");
  if (!key) problems.push("the key is no complete PEM private key");
  if (!authorities) problems.push("the authority is no complete PEM certificate");
  if (!cert) return problems;
  const { validFromDate: from, validToDate: to } = cert;
  if (key && !cert.checkPrivateKey(key)) problems.push("key and certificate do not belong together");
  if (authorities && !isSignedBy(authorities, cert)) problems.push("the certificate was not signed by the authority");
  if (now && now < from) problems.push(`the certificate is not valid before ${from.toISOString()}`);
  if (now && now > to) problems.push(`the certificate expired on ${to.toISOString()}`);
  return problems;
}

/** Each certificate of a PEM text, in its order. @throws Error when one is cut off, or there is none */
export function certificatesOf(pem: string): X509Certificate[] {
  const blocks = pem.split(/(?=-----BEGIN CERTIFICATE-----)/).filter((text) => text.trim() !== "");
  if (blocks.length === 0) throw new Error("no certificate");
  return blocks.map((text) => new X509Certificate(text));
}

/** Serial number of a certificate, upper-case hexadecimal, as a TLS peer shows it. */
export function serialOf(certPem: string): string {
  return new X509Certificate(certPem).serialNumber;
}

/**
 * A life in days as whole hours, which is what certificates are given. Never shorter, since renewal counts the days.
 */
export function lifeInHours(days: number): number {
  return Math.ceil(days * 24);
}

/** Whether one of the authorities signed a certificate. */
export function isSignedBy(authorities: readonly X509Certificate[], certificate: X509Certificate): boolean {
  return authorities.some((ca) => certificate.checkIssued(ca) && certificate.verify(ca.publicKey));
}

/**
 * Why a leaf made now cannot live for `validityDays`; undefined if it can.
 *
 * @param authorityEnd end of the authority's life, RFC 3339
 */
export function outlivesAuthority(validityDays: number, authorityEnd: string, now = Date.now()): string | undefined {
  const daysLeft = (Date.parse(authorityEnd) - now) / 86_400_000;
  if (lifeInHours(validityDays) / 24 <= daysLeft) return undefined;
  return (
    `certLeafValidityDays: ${validityDays} days outlive the certificate authority, which ends on ${authorityEnd} (in ${Math.floor(daysLeft)} days). ` +
    "Replace the authority with `aiwdb up --rotate-authority` (docs/operations.md), or lower certLeafValidityDays."
  );
}

function attempt<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch {
    return undefined; // the caller names what could not be read
  }
}
