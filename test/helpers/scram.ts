import { createHash, createHmac, pbkdf2Sync } from "node:crypto";

/** The proof that a client sends, by RFC 5802, section 3. */
export function clientProof(given: string, salt: Buffer, iterations: number, authMessage: string): Buffer {
  const clientKey = createHmac("sha256", pbkdf2Sync(given, salt, iterations, 32, "sha256"))
    .update("Client Key")
    .digest();
  const signature = createHmac("sha256", createHash("sha256").update(clientKey).digest()).update(authMessage).digest();
  return Buffer.from(clientKey.map((byte, index) => byte ^ (signature[index] ?? 0)));
}

/** Whether a server that knows only the stored secret accepts a proof. */
export function proves(secret: string, authMessage: string, proof: Buffer): boolean {
  const storedKey = Buffer.from(secret.split("$")[2]?.split(":")[0] ?? "", "base64");
  const signature = createHmac("sha256", storedKey).update(authMessage).digest();
  const clientKey = Buffer.from(proof.map((byte, index) => byte ^ (signature[index] ?? 0)));
  return createHash("sha256").update(clientKey).digest().equals(storedKey);
}
