import { z } from "zod";
import { SECRET_SETTINGS, settings } from "../../infra/settings/table.ts";
import { PROJECT } from "../../infra/settings/names.ts";
import { OVERRIDES, type OverridesSetting } from "../../infra/settings/overrides.ts";

interface Limits {
  readonly minimum?: number;
  readonly maximum?: number;
  readonly enum?: readonly unknown[];
  readonly pattern?: string;
  readonly type?: string;
}

/** docs/configuration.md: every setting, made from infra/settings/table.ts so that it cannot say anything else. */
export function renderConfiguration(): string {
  const rows = (Object.entries(settings) as [string, z.ZodType][]).map(([key, schema]) => {
    const limits = z.toJSONSchema(schema, { io: "output", unrepresentable: "any" }) as Limits;
    const type = typeof schema.safeParse(undefined).data === "boolean" ? "boolean" : typeOf(limits);
    return `| \`${key}\` | ${type} | ${defaultOf(key, schema)} | ${escape(schema.description ?? "")} |`;
  });
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
    "",
    "A password in clear is refused. All problems of a file are reported at once, before anything is created. The values in `postgresSettings` and",
    "`pgbouncerSettings` are the servers' own: a server that refuses one says why, and goes on with its old settings.",
    "",
    "| Setting | Type | Default | Meaning |",
    "| --- | --- | --- | --- |",
    ...rows,
    "",
    ...overridable("postgresSettings", "PostgreSQL", "https://www.postgresql.org/docs/16/runtime-config.html"),
    ...overridable("pgbouncerSettings", "PgBouncer", "https://www.pgbouncer.org/config.html"),
  ].join("\n");
}

/** The names that an object of a server's settings may have. */
function overridable(setting: OverridesSetting, server: string, manual: string): string[] {
  const names = [...OVERRIDES[setting].overridable].sort().map((name) => `\`${name}\``);
  return [`## What \`${setting}\` may have`, "", `[${server}'s own settings](${manual}): ${names.join(", ")}.`, ""];
}

function typeOf({ type, minimum, maximum }: Limits): string {
  const name =
    type === "integer" || type === "number" || type === "boolean" || type === "object" || type === "array"
      ? type
      : "text";
  return minimum !== undefined && maximum !== undefined ? `${name}, ${minimum} to ${maximum}` : name;
}

function defaultOf(key: string, schema: z.ZodType): string {
  if ((SECRET_SETTINGS as readonly string[]).includes(key)) return "generated";
  const parsed = schema.safeParse(undefined);
  return parsed.success && parsed.data !== undefined ? `\`${JSON.stringify(parsed.data)}\`` : "–";
}

function escape(text: string): string {
  return text.replaceAll("|", "\\|");
}
