import { parseConfig } from "../../infra/settings/check.ts";
import { ConfigError, type Problem } from "../../base/errors.ts";

/** What a stack's settings are refused with. */
export function refusal(stack: string, raw: Record<string, unknown>): ConfigError {
  try {
    parseConfig(stack, raw);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error(`accepted: ${JSON.stringify(raw)}`);
}

/** What is wrong with settings, one by one. */
export function problemsOf(raw: Record<string, unknown>, stack = "dev"): readonly Problem[] {
  return refusal(stack, raw).problems;
}
