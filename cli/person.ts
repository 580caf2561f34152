import type { Output } from "../base/output.ts";
import type { Caller } from "../stack/caller.ts";
import { display } from "../stack/pulumi-run.ts";
import { confirm } from "./confirm.ts";

/** The person at the command line, who sees what Pulumi does and may be asked. */
export function person({ progress, warn }: Output, json: boolean): Caller {
  return {
    progress,
    warn,
    ask: confirm,
    isAtTerminal: process.stdin.isTTY && process.stdout.isTTY,
    pulumi: (session, args, unsaid) => display(session, args, json, unsaid),
  };
}
