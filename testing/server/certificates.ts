import { newKeys, privateKeyPem, selfSign, signLeaf } from "../../certs/sign.ts";
import type { KeyPair } from "../../certs/verify.ts";

/** Longer than any run of a suite, and no longer than a forgotten server should be usable: 7 days. */
const LIFE_MS = 7 * 86_400_000;

/**
 * Makes an authority for one server for tests, of the same kind as a stack's: ECDSA P-256, server and client
 * certificates apart. Its key is never written anywhere.
 *
 * @param lifeMs of every certificate, in milliseconds. @default 7 days
 */
export async function createTestAuthority(name: string, lifeMs: number = LIFE_MS) {
  const keys = await newKeys();
  const notBefore = new Date(Date.now() - 60_000); // clocks of containers may differ a little
  const life = { notBefore, notAfter: new Date(Date.now() + lifeMs) };
  const signer: KeyPair = {
    certPem: await selfSign(`ai-workflow-database ${name} CA`, keys, life),
    keyPem: await privateKeyPem(keys.privateKey),
  };
  const hosts = [
    { type: "dns", value: "localhost" },
    { type: "ip", value: "127.0.0.1" },
    { type: "ip", value: "::1" },
  ] as const;
  const issue = async (commonName: string, usage: "client" | "server"): Promise<KeyPair> => {
    const { publicKey, privateKey } = await newKeys();
    const leaf = { commonName, usage, publicKey, ...(usage === "server" ? { hosts } : {}), ...life };
    return { certPem: await signLeaf(signer, leaf), keyPem: await privateKeyPem(privateKey) };
  };
  return {
    certPem: signer.certPem,
    /** A client certificate whose common name is a role. */
    client: (role: string) => issue(role, "client"),
    /** A server certificate for loopback. */
    server: (commonName: string) => issue(commonName, "server"),
  };
}
