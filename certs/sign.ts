import "./reflect-metadata.ts";
import { createPrivateKey, createPublicKey, webcrypto } from "node:crypto";
import type { PublicKeyType, X509Certificate } from "@peculiar/x509";
import type { KeyPair } from "./verify.ts";

// Not by a declaration: in the bundle those of other packages are carried out before all code of our own.
const x509 = await import("@peculiar/x509");

const CURVE = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const CURVES: Readonly<Record<string, string>> = { prime256v1: "P-256", secp384r1: "P-384" };
/** RSA keys with fewer bits are refused: https://www.openssl.org/docs/man3.0/man3/SSL_CTX_set_security_level.html */
const RSA_BITS = 2048;

x509.cryptoProvider.set(webcrypto as never);

/** From when to when a certificate is valid. */
export interface Life {
  readonly notBefore: Date;
  readonly notAfter: Date;
}

interface Leaf extends Life {
  readonly commonName: string;
  readonly usage: "client" | "server";
  readonly publicKey: PublicKeyType;
  /** Hosts by which clients reach a server. */
  readonly hosts?: readonly { readonly type: "dns" | "ip"; readonly value: string }[];
}

/** A key that a certificate is about or that signs one: ECDSA P-256. */
export function newKeys() {
  return webcrypto.subtle.generateKey(CURVE, true, ["sign", "verify"]);
}

/** Makes an authority's own certificate. It signs leaf certificates only (path length 0). PEM. */
export async function selfSign(commonName: string, keys: webcrypto.CryptoKeyPair, life: Life): Promise<string> {
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${commonName}`,
    serialNumber: serial(),
    ...life,
    signingAlgorithm: CURVE,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return pem(certificate);
}

/** Signs a certificate for a key. PEM. */
export async function signLeaf(signer: KeyPair, { commonName, usage, publicKey, hosts, ...life }: Leaf) {
  const authority = new x509.X509Certificate(signer.certPem);
  const certificate = await x509.X509CertificateGenerator.create({
    subject: [{ CN: [commonName] }, { O: ["ai-workflow-database"] }],
    issuer: authority.subjectName,
    serialNumber: serial(),
    ...life,
    signingAlgorithm: CURVE,
    publicKey,
    signingKey: await signingKey(signer.keyPem),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([
        usage === "client" ? x509.ExtendedKeyUsage.clientAuth : x509.ExtendedKeyUsage.serverAuth,
      ]),
      await x509.AuthorityKeyIdentifierExtension.create(authority),
      ...(hosts ? [new x509.SubjectAlternativeNameExtension([...hosts])] : []),
    ],
  });
  return pem(certificate);
}

/**
 * The public key in a certificate signing request (PKCS #10, PEM). Nothing else of the request counts: names and uses
 * are the signer's business.
 *
 * @returns the key, or why the request cannot be used
 */
export async function keyOfRequest(requestPem: string): Promise<{ publicKey: PublicKeyType } | { problem: string }> {
  const request = await readRequest(requestPem);
  if (request === undefined)
    return { problem: "is no certificate signing request (PKCS #10 in PEM) with a good signature" };
  const { publicKey } = request;
  const key = createPublicKey(publicKey.toString("pem"));
  const { namedCurve = "", modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  const isStrong =
    (key.asymmetricKeyType === "ec" && Object.hasOwn(CURVES, namedCurve)) ||
    (key.asymmetricKeyType === "rsa" && modulusLength >= RSA_BITS);
  if (isStrong) return { publicKey };
  return { problem: `has another key than ECDSA P-256, ECDSA P-384 or RSA with at least ${RSA_BITS} bits` };
}

async function readRequest(requestPem: string) {
  try {
    const request = new x509.Pkcs10CertificateRequest(requestPem);
    return (await request.verify()) ? request : undefined;
  } catch {
    return undefined; // the caller says that it is none
  }
}

/** A private key as PEM (PKCS #8). */
export async function privateKeyPem(key: webcrypto.CryptoKey): Promise<string> {
  return `${x509.PemConverter.encode(await webcrypto.subtle.exportKey("pkcs8", key), "PRIVATE KEY")}\n`;
}

function signingKey(keyPem: string): Promise<webcrypto.CryptoKey> {
  const key = createPrivateKey(keyPem);
  const namedCurve = CURVES[key.asymmetricKeyDetails?.namedCurve ?? ""] ?? CURVE.namedCurve;
  const der = key.export({ type: "pkcs8", format: "der" });
  return webcrypto.subtle.importKey("pkcs8", der, { name: "ECDSA", namedCurve }, false, ["sign"]);
}

function pem(certificate: X509Certificate): string {
  return `${certificate.toString("pem")}\n`;
}

function serial(): string {
  return Buffer.from([1, ...webcrypto.getRandomValues(new Uint8Array(15))]).toString("hex");
}
