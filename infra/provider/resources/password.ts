import { randomBytes } from "node:crypto";
import { byTheSame, type ResourceType } from "../resource.ts";

export interface PasswordInputs {
  readonly version: number;
}

export interface PasswordOutputs {
  /** Secret. */
  readonly password: string;
}

/** 192 bits from the system's generator, as 32 characters that need no quoting in URLs, SQL or files. */
function generate(): string {
  return randomBytes(24).toString("base64url");
}

/** A generated password. A new one whenever `version` changes. */
export const password: ResourceType<PasswordInputs, PasswordOutputs> = {
  ...byTheSame(
    () => "generated",
    async () => ({ password: generate() }),
  ),
};
