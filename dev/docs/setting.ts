import { z } from "zod";
import { SECRET_SETTINGS, settings, type SettingName } from "../../infra/settings/table.ts";

/** A setting of infra/settings/table.ts as the generated pages and types show it. */
export interface Setting {
  readonly name: SettingName;
  readonly type: "integer" | "number" | "boolean" | "object" | "array" | "text" | "choice" | "password";
  /** Limits of a number, in the unit that the name says. */
  readonly limits: readonly [minimum: number, maximum: number] | undefined;
  /** As JSON; undefined where there is none, or it depends on the stack. */
  readonly default: string | undefined;
  readonly description: string;
  readonly schema: z.ZodType;
}

interface JsonSchema {
  readonly minimum?: number;
  readonly maximum?: number;
  readonly enum?: readonly unknown[];
  readonly type?: string;
}

/** Every setting, in the table's order. */
export function describedSettings(): Setting[] {
  return (Object.entries(settings) as [SettingName, z.ZodType][]).map(([name, schema]) => {
    const json = z.toJSONSchema(schema, { io: "output", unrepresentable: "any" }) as JsonSchema;
    const byDefault = schema.safeParse(undefined);
    const { minimum, maximum } = json;
    return {
      name,
      type: typeOf(name, json, byDefault.data),
      limits: minimum !== undefined && maximum !== undefined ? [minimum, maximum] : undefined,
      default: byDefault.success && byDefault.data !== undefined ? JSON.stringify(byDefault.data) : undefined,
      description: schema.description ?? "",
      schema,
    };
  });
}

function typeOf(name: SettingName, { type, enum: choices }: JsonSchema, byDefault: unknown): Setting["type"] {
  if ((SECRET_SETTINGS as readonly string[]).includes(name)) return "password";
  // A flag may also be written as text, so its JSON schema has no single type.
  if (typeof byDefault === "boolean") return "boolean";
  if (choices !== undefined) return "choice";
  return type === "integer" || type === "number" || type === "object" || type === "array" ? type : "text";
}
