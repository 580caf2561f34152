import { randomBytes } from "node:crypto";
import type { ResourceType } from "../resource.ts";

/** 192 bits from the system's generator, as 32 characters that need no quoting in URLs, SQL or files. */
function generate(): string {
  return randomBytes(24).toString("base64url");
}

/**
 * A generated password, output `password` (secret). A new one whenever the input `version` changes.
 */
export const password: ResourceType = {
  create: async () => ({ id: "generated", outputs: { password: generate() } }),
  update: async () => ({ password: generate() }),
};
