import "./reflect-metadata.ts";
import { webcrypto } from "node:crypto";
import type { X509Certificate } from "@peculiar/x509";
import type { KeyPair } from "../../certs/verify.ts";

// Not by a declaration: in the bundle those of other packages are carried out before all code of our own.
const x509 = await import("@peculiar/x509");

const CURVE = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
/** Longer than any run of a suite, and no longer than a forgotten server should be usable: 7 days. */
const LIFE_MS = 7 * 86_400_000;

x509.cryptoProvider.set(webcrypto as never);

/**
 * Makes an authority for one server for tests, of the same kind as a stack's: ECDSA P-256, server and client
 * certificates apart. Its key is never written anywhere.
 *
 * @param lifeMs of every certificate, in milliseconds. @default 7 days
 */
export async function createTestAuthority(name: string, lifeMs: number = LIFE_MS) {
  const keys = await webcrypto.subtle.generateKey(CURVE, true, ["sign", "verify"]);
  const notBefore = new Date(Date.now() - 60_000); // clocks of containers may differ a little
  const notAfter = new Date(Date.now() + lifeMs);
  const common = () => ({ serialNumber: serial(), notBefore, notAfter, signingAlgorithm: CURVE });
  const authority = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=ai-workflow-database ${name} CA`,
    ...common(),
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const issue = async (commonName: string, usage: "client" | "server"): Promise<KeyPair> => {
    const own = await webcrypto.subtle.generateKey(CURVE, true, ["sign", "verify"]);
    const names = [
      { type: "dns", value: "localhost" },
      { type: "ip", value: "127.0.0.1" },
      { type: "ip", value: "::1" },
    ] as const;
    const certificate = await x509.X509CertificateGenerator.create({
      subject: [{ CN: [commonName] }],
      issuer: authority.subjectName,
      ...common(),
      publicKey: own.publicKey,
      signingKey: keys.privateKey,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([
          usage === "client" ? x509.ExtendedKeyUsage.clientAuth : x509.ExtendedKeyUsage.serverAuth,
        ]),
        await x509.AuthorityKeyIdentifierExtension.create(authority),
        ...(usage === "server" ? [new x509.SubjectAlternativeNameExtension([...names])] : []),
      ],
    });
    return { certPem: pem(certificate), keyPem: await toPem(own.privateKey) };
  };
  return {
    certPem: pem(authority),
    /** A client certificate whose common name is a role. */
    client: (role: string) => issue(role, "client"),
    /** A server certificate for loopback. */
    server: (commonName: string) => issue(commonName, "server"),
  };
}

function pem(certificate: X509Certificate): string {
  return `${certificate.toString("pem")}\n`;
}

async function toPem(key: webcrypto.CryptoKey): Promise<string> {
  return `${x509.PemConverter.encode(await webcrypto.subtle.exportKey("pkcs8", key), "PRIVATE KEY")}\n`;
}

function serial(): string {
  return Buffer.from([1, ...webcrypto.getRandomValues(new Uint8Array(15))]).toString("hex");
}
