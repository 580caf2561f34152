import { hash } from "node:crypto";
import { sqlTokens } from "./lexer.ts";

/**
 * A checksum of what SQL text says: SHA-256, in hexadecimal, of its tokens.
 *
 * Comments and white space between tokens don't count; everything else does, including letter case and the text inside
 * strings and function bodies.
 */
export function semanticChecksum(sql: string): string {
  // PostgreSQL's text has no NUL, so no token has one. Different lists of tokens never join to the same text.
  return hash("sha256", sqlTokens(sql).join("\0"), "hex");
}
