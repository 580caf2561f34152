import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { parse, YAMLParseError } from "yaml";
import { type StackConfig } from "../infra/settings/table.ts";
import {
  checkConfig,
  checkStacksAgree,
  configError,
  plainPasswords,
  type CheckedConfig,
} from "../infra/settings/check.ts";
import { PROJECT } from "../infra/settings/names.ts";
import { otherDatabaseNames, withChosenAddresses } from "../infra/settings/local-files.ts";
import { PACKAGE_ROOT } from "../base/versions.ts";
import { UserError, type Problem } from "../base/errors.ts";

/** Contents of a `Pulumi.<stack>.yaml`. */
export interface SettingsFile {
  readonly path: string;
  readonly text: string;
  /** Settings of this project without their prefix; secrets left out. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Whether the file says how the stack's secrets are encrypted. */
  readonly hasSecretsProvider: boolean;
  /** Keys that are no setting of anything. */
  readonly problems: readonly Problem[];
}

/** The file of a stack in the checkout; a stack without one has the defaults. */
export function settingsPath(stack: string): string {
  return path.join(PACKAGE_ROOT, `Pulumi.${stack}.yaml`);
}

/** @throws ConfigError if the file is no YAML or not of the form Pulumi wants */
export function readSettingsFile(stack: string): SettingsFile {
  const file = settingsPath(stack);
  const text = existsSync(file) ? readFileSync(file, "utf8") : "config: {}\n";
  let document: Record<string, unknown>;
  try {
    document = (parse(text) as Record<string, unknown> | null) ?? {};
  } catch (error) {
    throw configError(stack, [{ subject: path.basename(file), problem: `is no YAML: ${whereInYaml(error)}` }]);
  }
  if (typeof document !== "object" || Array.isArray(document)) {
    throw configError(stack, [
      { subject: path.basename(file), problem: "must be a YAML mapping with the key `config`" },
    ]);
  }
  const config = (document["config"] ?? {}) as Record<string, unknown>;
  if (typeof config !== "object" || Array.isArray(config)) {
    throw configError(stack, [
      { subject: path.basename(file), problem: "`config` must be a mapping of settings and values" },
    ]);
  }
  const foreign = Object.keys(config).filter((key) => !key.includes(":"));
  const settings = Object.fromEntries(
    Object.entries(config)
      .filter(([key, value]) => key.startsWith(`${PROJECT}:`) && !isSecret(value))
      .map(([key, value]) => [key.slice(PROJECT.length + 1), value]),
  );
  const problems = foreign.map((key) => ({
    subject: key,
    problem: "has no namespace",
    remedy: `Write ${PROJECT}:${key} in ${path.basename(file)}.`,
  }));
  const hasSecretsProvider = ["encryptionsalt", "secretsprovider", "encryptedkey"].some((key) => key in document);
  return { path: file, text, settings, hasSecretsProvider, problems };
}

/** The place and kind of an error, without the parser's words: they quote the file, which may hold a password. */
function whereInYaml(error: unknown): string {
  if (!(error instanceof YAMLParseError)) return "it cannot be read";
  const start = error.linePos?.[0];
  return `${error.code}${start ? ` at line ${start.line}, column ${start.col}` : ""}`;
}

function isSecret(value: unknown): boolean {
  return typeof value === "object" && value !== null && "secure" in value;
}

/** @throws ConfigError listing every problem of the stack's settings */
export function readStackConfig(stack: string): StackConfig {
  const { config, problems } = checkSettings(stack);
  if (problems.length > 0) throw configError(stack, problems);
  return config;
}

function checkSettings(stack: string): CheckedConfig {
  const file = readSettingsFile(stack);
  const { config, problems } = checkConfig(stack, withChosenAddresses(stack, file.settings));
  return { config, problems: [...file.problems, ...plainPasswords(stack, Object.keys(file.settings)), ...problems] };
}

/** The settings and what is wrong with them, also that another stack's database has another name. */
export function checkStackConfig(stack: string): CheckedConfig {
  const { config, problems } = checkSettings(stack);
  try {
    checkAgreement(config);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { config, problems: [...problems, ...error.problems] };
  }
  return { config, problems };
}

/**
 * Checks that every stack with a file in the checkout has the same database name as this one.
 *
 * @throws ConfigError naming each file and its name
 */
export function checkAgreement(config: StackConfig): void {
  checkStacksAgree([config, ...otherDatabaseNames(config.stack).filter(({ stack }) => isUsable(stack))]);
}

/** Whether a stack's settings can be used; if not, its own commands say so. */
function isUsable(stack: string): boolean {
  try {
    return checkSettings(stack).problems.length === 0;
  } catch (error) {
    if (error instanceof UserError) return false;
    throw error;
  }
}
