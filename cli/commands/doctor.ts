import { defineCommand } from "citty";
import { engineNames } from "../../infra/names.ts";
import { diagnose, type Part } from "../../toolchain/diagnosis.ts";
import { ToolError, UserError } from "../../toolchain/errors.ts";
import type { PortNeed } from "../../toolchain/machine.ts";
import { createOutput } from "../output.ts";
import { readStackConfig } from "../stack/settings-file.ts";

/** The ports a stack publishes on this machine, and the containers that may hold them. */
export function portNeeds(stack: string): PortNeed[] {
  const config = readStackConfig(stack);
  const names = engineNames(stack);
  return [
    { subject: "postgresPort", host: "127.0.0.1", port: config.postgresPort, container: names.postgres },
    {
      subject: "pgbouncerPort",
      host: config.pgbouncerPublishAddress,
      port: config.pgbouncerPort,
      container: names.pgbouncer,
    },
  ];
}

function table(parts: readonly Part[]): string[] {
  const rows = parts.map(({ part, version, way, where }) => [part, version, way, where]);
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

export default defineCommand({
  meta: {
    name: "doctor",
    description: "Show every tool with its version and how it was come by; check ports, disk, clock and versions",
  },
  args: {
    stack: {
      type: "string",
      alias: "s",
      default: "dev",
      description: "Stack whose ports are checked",
      valueHint: "name",
    },
    json: { type: "boolean", default: false, description: "Print JSON" },
  },
  async run({ args }) {
    const output = createOutput({ json: args.json });
    let ports: PortNeed[] = [];
    const unusable: UserError["problems"][number][] = [];
    try {
      ports = portNeeds(args.stack);
    } catch (error) {
      // Settings that can't be read are one more finding; the tools are shown all the same.
      if (!(error instanceof UserError)) throw error;
      unusable.push(...error.problems);
    }
    const { parts, problems } = await diagnose(ports);
    const all = [...unusable, ...problems];
    for (const line of table(parts)) output.text(line);
    if (all.length > 0) throw new ToolError(`${all.length === 1 ? "1 problem" : `${all.length} problems`} found:`, all);
    output.text("No problems found.");
    output.json({ parts, problems: all });
  },
});
