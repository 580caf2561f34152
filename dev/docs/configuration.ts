import { EXTENSIONS, REFUSED_EXTENSIONS } from "../../database/access/extensions.ts";
import { PROJECT } from "../../infra/settings/names.ts";
import { OVERRIDES, type OverridesSetting } from "../../infra/settings/overrides.ts";
import { describedSettings, type Setting } from "./setting.ts";

/** docs/configuration.md: every setting, made from infra/settings/table.ts so that it cannot say anything else. */
export function renderConfiguration(): string {
  const rows = describedSettings().map(
    (setting) =>
      `| \`${setting.name}\` | ${typeOf(setting)} | ${defaultOf(setting)} | ${escape(setting.description)} |`,
  );
  return [
    "# Settings",
    "",
    "<!-- Generated from infra/settings/table.ts by `npm run docs`; changes are overwritten. -->",
    "",
    `In \`Pulumi.<stack>.yaml\` each key is written as \`${PROJECT}:<key>\`. \`npx aiwdb pulumi --stack <stack> -- config set …\` writes it:`,
    "",
    "| What | What follows `config set` |",
    "| --- | --- |",
    `| a setting | \`${PROJECT}:<key> <value>\` |`,
    `| a password, which it asks for | \`--secret ${PROJECT}:<key>\` |`,
    `| one of a list | \`--path '${PROJECT}:<key>[0]' <value>\` |`,
    `| one of an object | \`--path '${PROJECT}:<key>["<name>"]' <value>\` |`,
    `| a field of one of an object of objects, as of \`roles\` | \`--path '${PROJECT}:<key>["<name>"].<field>' <value>\` |`,
    "",
    "A password in clear is refused. All problems of a file are reported at once, before anything is created. The values in `postgresSettings` and",
    "`pgbouncerSettings` are the servers' own: a server that refuses one says why, and goes on with its old settings.",
    "",
    "| Setting | Type | Default | Meaning |",
    "| --- | --- | --- | --- |",
    ...rows,
    "",
    ...extensions(),
    ...overridable("postgresSettings", "PostgreSQL", "https://www.postgresql.org/docs/16/runtime-config.html"),
    ...overridable("pgbouncerSettings", "PgBouncer", "https://www.pgbouncer.org/config.html"),
  ].join("\n");
}

/** The extensions that a stack may have, and those that are refused with a reason. */
function extensions(): string[] {
  return [
    "## What `extensions` may have",
    "",
    "All of them come with PostgreSQL 16. [Why these](security.md#extensions).",
    "",
    "| Extension | What for |",
    "| --- | --- |",
    ...Object.entries(EXTENSIONS).map(([name, purpose]) => `| \`${name}\` | ${purpose} |`),
    "",
    "Others are refused:",
    "",
    "| Extension | Why not |",
    "| --- | --- |",
    ...REFUSED_EXTENSIONS.map(([names, why]) => `| ${names.map((name) => `\`${name}\``).join(", ")} | ${why} |`),
    "",
  ];
}

/** The names that an object of a server's settings may have. */
function overridable(setting: OverridesSetting, server: string, manual: string): string[] {
  const names = [...OVERRIDES[setting].overridable].sort().map((name) => `\`${name}\``);
  return [`## What \`${setting}\` may have`, "", `[${server}'s own settings](${manual}): ${names.join(", ")}.`, ""];
}

function typeOf({ type, limits }: Setting): string {
  const name = type === "choice" || type === "password" ? "text" : type;
  return limits ? `${name}, ${limits.join(" to ")}` : name;
}

function defaultOf(setting: Setting): string {
  if (setting.type === "password") return "generated";
  return setting.default === undefined ? "–" : `\`${setting.default}\``;
}

function escape(text: string): string {
  return text.replaceAll("|", "\\|");
}
