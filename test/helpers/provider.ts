import type { Reporter } from "../../infra/provider/resource.ts";

/** Remembers what a resource told the user. */
export function recorder(): Reporter & { readonly lines: string[] } {
  const lines: string[] = [];
  return {
    lines,
    status: (message) => lines.push(message),
    info: (message) => lines.push(message),
    warn: (message) => lines.push(message),
  };
}
