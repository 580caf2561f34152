import type { z } from "zod";
import { CI_DEFAULTS } from "../../infra/settings/profile.ts";
import { roleAccess, roleName } from "../../infra/settings/further-roles.ts";
import { OVERRIDES } from "../../infra/settings/overrides.ts";
import { describedSettings, type Setting } from "./setting.ts";

const TYPES: Readonly<Record<Setting["type"], string>> = {
  integer: "number",
  number: "number",
  boolean: "boolean",
  object: "Record<string, string>",
  array: "string[]",
  text: "string",
  choice: "Profile",
  password: "pulumi.Input<string> | undefined",
};

/** Settings with a type of their own, which says what is in them. */
const OWN_TYPES: Readonly<Record<string, string>> = { roles: "Record<string, FurtherRole>" };

/** infra/settings/stack-settings.ts: the settings as the arguments of a component, with the table's own words. */
export function renderStackSettings(): string {
  return [
    "// Generated from infra/settings/table.ts by `npm run docs`; changes are overwritten.",
    'import type * as pulumi from "@pulumi/pulumi";',
    'import type { FurtherRole } from "./further-roles.ts";',
    'import type { Profile } from "./profile.ts";',
    "",
    "/**",
    " * Every setting of a stack as an argument of `DatabaseStack`.",
    " *",
    " * @throws ConfigError also for settings that are valid one by one but do not fit together",
    " */",
    "export interface StackSettings {",
    ...describedSettings().flatMap((setting) => [
      "  /**",
      ...docLines(setting).map((line) => (line === "" ? "   *" : `   * ${line}`)),
      "   */",
      `  readonly ${setting.name}?: ${OWN_TYPES[setting.name] ?? TYPES[setting.type]};`,
    ]),
    "}",
    "",
  ].join("\n");
}

function docLines(setting: Setting): string[] {
  const [meaning = "", dependsOn] = setting.description
    .replace("the list is below", "docs/configuration.md has the list")
    .split(" Default: ");
  const see = manualOf(setting.name);
  return [
    ...wrapped(meaning),
    "",
    ...wrapped(`@default ${dependsOn === undefined ? defaultOf(setting) : `- ${dependsOn}`}`),
    ...refusals(setting).flatMap((reason) => wrapped(`@throws ConfigError - ${reason}`)),
    ...(see === undefined ? [] : [`@see ${see}`]),
  ];
}

function defaultOf(setting: Setting): string {
  if (setting.type === "password") return "- generated";
  const ofCi = CI_DEFAULTS[setting.name];
  return `${setting.default}${ofCi === undefined ? "" : `; ${ofCi} in a stack of the profile ci`}`;
}

/** What the setting says to values that it refuses. */
function refusals({ name, type, limits, schema }: Setting): string[] {
  if (limits)
    return [`${name} must be a ${type === "integer" ? "whole number" : "number"} from ${limits.join(" to ")}`];
  const says = (value: unknown) => `${name} ${reasonAgainst(schema, value)}`;
  switch (type) {
    case "password":
      return [
        `${name} must be a secret output`,
        ...["", "x".repeat(1_000), "\n".repeat(20)].map((value) => says(value)),
      ];
    case "array":
      return [says(""), `an entry of ${says(["-"])}`];
    case "object":
      if (name === "roles")
        return [
          says(""),
          `a name in ${name} ${reasonAgainst(roleName, "A")}`,
          `a name in ${name} ${reasonAgainst(roleName, "postgres")}`,
          `access ${reasonAgainst(roleAccess, "")}`,
        ];
      return [says(""), `${name} must have no setting that docs/configuration.md does not list`];
    case "text":
      return [says("\n"), ...(name === "databaseName" ? [says("postgres")] : [])];
    default:
      return [says("")];
  }
}

function reasonAgainst(schema: z.ZodType, value: unknown): string {
  const issue = schema.safeParse(value).error?.issues[0];
  const issues = issue?.code === "invalid_union" ? issue.errors.flat() : [issue];
  return issues.find((each) => each?.message.startsWith("must"))?.message ?? issue?.message ?? "";
}

/** Pages of PostgreSQL's manual about settings that the server does not have under another name. */
const PAGES: Readonly<Record<string, string>> = {
  roles: "user-manag.html",
  appUserTemporary: "ddl-priv.html",
  extensions: "contrib.html",
  postgresClientAddresses: "auth-pg-hba-conf.html",
};

/** Where a server's manual has a setting. Most settings have another name there. */
function manualOf(name: string): string | undefined {
  const about = PAGES[name];
  if (about !== undefined) return `https://www.postgresql.org/docs/16/${about}`;
  const under = (setting: keyof typeof OVERRIDES) =>
    setting === name ? "" : Object.entries(OVERRIDES[setting].own).find(([, own]) => own === name)?.[0];
  const [ofPooler, ofServer] = [under("pgbouncerSettings"), under("postgresSettings")];
  if (ofPooler !== undefined) return `https://www.pgbouncer.org/config.html${ofPooler && `#${ofPooler}`}`;
  if (ofServer === undefined) return undefined;
  const page = ofServer === "" ? "runtime-config.html" : "runtime-config-connection.html";
  return `https://www.postgresql.org/docs/16/${page}${ofServer && `#GUC-${ofServer.toUpperCase().replaceAll("_", "-")}`}`;
}

/** Lines of at most 114 characters: with the comment's mark and the indentation these are 120 at most. */
function wrapped(text: string): string[] {
  return text.split(" ").reduce<string[]>((lines, word) => {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > 114) return [...lines, word];
    return [...lines.slice(0, -1), `${last} ${word}`];
  }, []);
}
