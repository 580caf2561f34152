import fc from "fast-check";
import { expect } from "vitest";
import { ConfigError } from "../../base/errors.ts";
import { parseConfig } from "../../infra/settings/check.ts";
import type { StackConfig } from "../../infra/settings/table.ts";

/** Runs a property over those settings that are accepted, and makes sure that there were some. */
export function forAccepted(
  settings: fc.Arbitrary<Record<string, unknown>>,
  property: (config: StackConfig) => void,
): void {
  let accepted = 0;
  fc.assert(
    fc.property(settings, (raw) => {
      let config: StackConfig;
      try {
        config = parseConfig("dev", raw);
      } catch (error) {
        if (error instanceof ConfigError) return;
        throw error;
      }
      accepted += 1;
      property(config);
    }),
    { numRuns: 500 },
  );
  expect(accepted).toBeGreaterThan(40);
}
