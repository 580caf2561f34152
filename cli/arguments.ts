import type { ArgsDef } from "citty";

/** Arguments every command on a stack has. */
export const stackArguments = {
  stack: {
    type: "string",
    alias: "s",
    default: "dev",
    description: "Stack: dev, prod, or one of your own",
    valueHint: "NAME",
  },
  json: { type: "boolean", default: false, description: "Print the result as JSON on stdout" },
} as const satisfies ArgsDef;
