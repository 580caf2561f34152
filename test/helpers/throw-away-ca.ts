import "../../certs/reflect-metadata.ts";
import { createPrivateKey, type KeyObject, webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";
import type { KeyPair } from "../../certs/verify.ts";

const MS_PER_DAY = 86_400_000;
const CURVE = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

type CryptoKey = webcrypto.CryptoKey;

x509.cryptoProvider.set(webcrypto as never);

export interface LeafOptions {
  readonly commonName: string;
  readonly usage?: "client" | "server";
  readonly dnsNames?: readonly string[];
  /** Days from now; negative for the past. @default −1 to 30 */
  readonly fromDays?: number;
  readonly toDays?: number;
}

/** An authority that signs whatever a test needs, also certificates that the real one refuses to sign. */
export interface ThrowAwayCa extends KeyPair {
  issue(options: LeafOptions): Promise<KeyPair>;
}

export async function createCa(commonName = "throw-away CA"): Promise<ThrowAwayCa> {
  const keys = await webcrypto.subtle.generateKey(CURVE, true, ["sign", "verify"]);
  const now = Date.now();
  const cert = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${commonName}, O=ai-workflow-database`,
    serialNumber: serial(),
    notBefore: new Date(now - 400 * MS_PER_DAY),
    notAfter: new Date(now + 3_650 * MS_PER_DAY),
    keys,
    signingAlgorithm: CURVE,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return authority({ certPem: `${cert.toString("pem")}\n`, keyPem: await toPem(keys.privateKey) });
}

/** An authority made from a key, such as the key in a stack's state. */
export function authority(pair: KeyPair): ThrowAwayCa {
  const ca = new x509.X509Certificate(pair.certPem);
  return {
    ...pair,
    async issue({ commonName, usage = "client", dnsNames = [], fromDays = -1, toDays = 30 }) {
      const keys = await webcrypto.subtle.generateKey(CURVE, true, ["sign", "verify"]);
      const signingKey = await importKey(createPrivateKey(pair.keyPem));
      const cert = await x509.X509CertificateGenerator.create({
        subject: [{ CN: [commonName] }],
        issuer: ca.subjectName,
        serialNumber: serial(),
        notBefore: new Date(Date.now() + fromDays * MS_PER_DAY),
        notAfter: new Date(Date.now() + toDays * MS_PER_DAY),
        publicKey: keys.publicKey,
        signingKey,
        signingAlgorithm: signingKey.algorithm.name === "ECDSA" ? { name: "ECDSA", hash: "SHA-384" } : CURVE,
        extensions: [
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
          new x509.ExtendedKeyUsageExtension([
            usage === "client" ? x509.ExtendedKeyUsage.clientAuth : x509.ExtendedKeyUsage.serverAuth,
          ]),
          await x509.AuthorityKeyIdentifierExtension.create(ca),
          ...(dnsNames.length > 0
            ? [new x509.SubjectAlternativeNameExtension(dnsNames.map((value) => ({ type: "dns" as const, value })))]
            : []),
        ],
      });
      return { certPem: `${cert.toString("pem")}\n`, keyPem: await toPem(keys.privateKey) };
    },
  };
}

async function importKey(key: KeyObject): Promise<CryptoKey> {
  const der = key.export({ type: "pkcs8", format: "der" });
  const namedCurve = key.asymmetricKeyDetails?.namedCurve === "secp384r1" ? "P-384" : "P-256";
  return webcrypto.subtle.importKey("pkcs8", der, { name: "ECDSA", namedCurve }, true, ["sign"]);
}

async function toPem(key: CryptoKey): Promise<string> {
  return `${x509.PemConverter.encode(await webcrypto.subtle.exportKey("pkcs8", key), "PRIVATE KEY")}\n`;
}

function serial(): string {
  return Buffer.from([1, ...webcrypto.getRandomValues(new Uint8Array(15))]).toString("hex");
}
