import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";

/**
 * PostgreSQL's own default.
 *
 * @see https://www.postgresql.org/docs/16/runtime-config-connection.html#GUC-SCRAM-ITERATIONS
 */
export const SCRAM_ITERATIONS = 4_096;

/**
 * The secret that PostgreSQL stores for a password (`SCRAM-SHA-256$…`). Statements carry it instead of the password, so
 * that no log has the password. The password must be printable ASCII: other text would need SASLprep first.
 *
 * @see https://www.postgresql.org/docs/16/catalog-pg-authid.html and RFC 5802, section 3
 */
export function scramSecret(password: string, iterations = SCRAM_ITERATIONS, salt = randomBytes(16)): string {
  const salted = pbkdf2Sync(password, salt, iterations, 32, "sha256");
  const clientKey = createHmac("sha256", salted).update("Client Key").digest();
  const storedKey = createHash("sha256").update(clientKey).digest();
  const serverKey = createHmac("sha256", salted).update("Server Key").digest();
  return `SCRAM-SHA-256$${iterations}:${salt.toString("base64")}$${storedKey.toString("base64")}:${serverKey.toString("base64")}`;
}

/** Whether a password is the one that a stored secret was made from. False for an md5 secret, and for none. */
export function matchesScramSecret(password: string, secret: string): boolean {
  const [, iterations, salt] = /^SCRAM-SHA-256\$(\d+):([^$]+)\$/.exec(secret) ?? [];
  if (iterations === undefined || salt === undefined) return false;
  return scramSecret(password, Number(iterations), Buffer.from(salt, "base64")) === secret;
}
