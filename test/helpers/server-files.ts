import { parseConfig } from "../../infra/settings/check.ts";

/** Settings of a small stack: everything has its default. */
export const dev = parseConfig("dev", { postgresPort: 25_432, pgbouncerPort: 26_432 });
/** Settings of a large stack, with overrides that need quoting. */
export const prod = parseConfig("prod", {
  postgresMemoryMiB: 4_096,
  postgresCpus: 4,
  postgresMaxConnections: 100,
  networkSubnet: "10.213.7.0/28",
  postgresClientAddresses: ["192.0.2.7", "10.20.0.0/16"],
  pgbouncerMemoryMiB: 256,
  postgresSettings: { work_mem: "24MB", log_line_prefix: String.raw`it's \n %m ` },
  pgbouncerSettings: { log_connections: true },
});

/**
 * Reads postgresql.conf as the server does: the last of equal names wins.
 * https://www.postgresql.org/docs/16/config-setting.html
 */
export function readConf(text: string): Record<string, string> {
  const settings: Record<string, string> = {};
  for (const line of text.split("\n").filter((each) => each !== "" && !each.startsWith("#"))) {
    const [, name = "", quoted = ""] = /^([a-z0-9_.]+) = '((?:[^'\\]|''|\\.)*)'$/s.exec(line) ?? [];
    if (name === "") throw new Error(`no setting: ${line}`);
    settings[name] = quoted.replaceAll(/''|\\(.)/gs, (_, escaped: string | undefined) => escaped ?? "'");
  }
  return settings;
}

/** Reads an ini file's lines as PgBouncer does: sections, and everything behind the first = and its blanks. */
export function readIni(text: string): Record<string, Record<string, string>> {
  const sections: Record<string, Record<string, string>> = {};
  let section: Record<string, string> = {};
  for (const line of text.split("\n").filter((each) => each.trim() !== "" && !each.startsWith(";"))) {
    const header = /^\[(.*)\]$/.exec(line)?.[1];
    if (header !== undefined) {
      section = sections[header] = {};
      continue;
    }
    const [, name = "", value = ""] = /^([^=]+?)\s*=\s*(.*)$/s.exec(line) ?? [];
    section[name] = value;
  }
  return sections;
}
