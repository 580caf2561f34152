import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { parse, YAMLParseError } from "yaml";
import { ConfigError, type Problem } from "../../base/errors.ts";
import { configError, type NamedStack } from "./check.ts";
import { PROJECT } from "./names.ts";
import { settingsPath, stacksWithSettings } from "./places.ts";
import { settings } from "./table.ts";

// The program loads this module only when it compares database names itself: the YAML parser takes 30 ms of a preview.

/** Contents of a `Pulumi.<stack>.yaml`. */
export interface SettingsFile {
  readonly path: string;
  readonly text: string;
  /** Settings of this project without their prefix; secrets left out. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Whether the file says how the stack's secrets are encrypted. */
  readonly hasSecretsProvider: boolean;
  /** Who encrypts them: `passphrase`, or the address of a key at a cloud provider. */
  readonly secretsProvider: string | undefined;
  /** Keys that are no setting of anything. */
  readonly problems: readonly Problem[];
}

/** @throws ConfigError if the file is no YAML or not of the form Pulumi wants */
export function readSettingsFile(stack: string): SettingsFile {
  const file = settingsPath(stack);
  const text = existsSync(file) ? readFileSync(file, "utf8") : "config: {}\n";
  const refuse = (problem: string) => configError(stack, [{ subject: path.basename(file), problem }]);
  let document: Record<string, unknown>;
  try {
    document = (parse(text) as Record<string, unknown> | null) ?? {};
  } catch (error) {
    throw refuse(`is no YAML: ${whereInYaml(error)}`);
  }
  if (!isMapping(document)) throw refuse("must be a YAML mapping with the key `config`");
  const config = document["config"] ?? {};
  if (!isMapping(config)) throw refuse("`config` must be a mapping of settings and values");
  const foreign = Object.keys(config).filter((key) => !key.includes(":"));
  return {
    path: file,
    text,
    settings: Object.fromEntries(
      Object.entries(config)
        .filter(([key, value]) => key.startsWith(`${PROJECT}:`) && !isSecret(value))
        .map(([key, value]) => [key.slice(PROJECT.length + 1), value]),
    ),
    hasSecretsProvider: ["encryptionsalt", "secretsprovider", "encryptedkey"].some((key) => key in document),
    secretsProvider: typeof document["secretsprovider"] === "string" ? document["secretsprovider"] : undefined,
    problems: foreign.map((key) => ({
      subject: key,
      problem: "has no namespace",
      remedy: `Write ${PROJECT}:${key} in ${path.basename(file)}.`,
    })),
  };
}

/** The place and kind of an error, without the parser's words: they quote the file, which may hold a password. */
function whereInYaml(error: unknown): string {
  if (!(error instanceof YAMLParseError)) return "it cannot be read";
  const start = error.linePos?.[0];
  return `${error.code}${start ? ` at line ${start.line}, column ${start.col}` : ""}`;
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isSecret(value: unknown): boolean {
  return isMapping(value) && "secure" in value;
}

/**
 * The line that Pulumi adds for a passphrase. It is searched in the text, because a file is no YAML if Pulumi was
 * killed while writing it.
 */
export function saltLine(text: string): string | undefined {
  return /^encryptionsalt:.*$/m.exec(text)?.[0];
}

/**
 * Database names of the other stacks that have a settings file in the checkout. A file or a name that is not usable is
 * left out, since that stack's own commands report it.
 */
export function otherDatabaseNames(stack: string): NamedStack[] {
  return stacksWithSettings().flatMap((other) => {
    if (other === stack) return [];
    const { success, data } = settings.databaseName.safeParse(givenDatabaseName(other));
    return success ? [{ stack: other, databaseName: data }] : [];
  });
}

/** `null`, which is no name, for a file that is not usable. */
function givenDatabaseName(stack: string): unknown {
  try {
    return readSettingsFile(stack).settings["databaseName"];
  } catch (error) {
    if (error instanceof ConfigError) return null;
    throw error;
  }
}
