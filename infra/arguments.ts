import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import { checkConfig, configError, type Remedies } from "./settings/check.ts";
import { SECRET_SETTINGS, settings, type SecretSetting, type StackConfig } from "./settings/table.ts";

const text = z.string("must be text");

/** Arguments of a `DatabaseStack` that are no settings. */
const FURTHER = z.object({
  stack: text,
  clientDirectory: z.union([text, z.custom(isLater)], "must be a folder's path"),
  migrationsFolder: text.optional(),
  adopt: z.array(text, "must be a list of names").optional(),
  resetPasswords: z.boolean("must be true or false").optional(),
  stateIdentity: text.optional(),
  rotateAuthority: text.optional(),
  rotateCertificates: text.optional(),
});

const IN_PROGRAM: Remedies = {
  set: () => "Correct it in the program.",
  remove: () => "Remove it from the program, or see docs/configuration.md.",
};

const IN_CLEAR = {
  problem: "is a password in clear in the program",
  remedy: 'Give a secret output: `new pulumi.Config().requireSecret("…")`.',
};

/**
 * Checks what a program gives a `DatabaseStack`, as `aiwdb` checks a settings file.
 *
 * @throws ConfigError listing every problem: unknown names, wrong types, impossible sums, passwords in clear
 */
export function parseArguments(args: object): StackConfig {
  const given = Object.entries(args).filter(([, value]) => value !== undefined) as [string, unknown][];
  const further = FURTHER.safeParse(Object.fromEntries(given));
  const stack = String((args as { stack?: unknown }).stack ?? "");
  const { config, problems } = checkConfig(
    stack,
    Object.fromEntries(given.filter(([name]) => !Object.hasOwn(FURTHER.shape, name) && !isSecretSetting(name))),
    IN_PROGRAM,
  );
  const wrong = (further.error?.issues ?? []).map(({ path, message }) => ({
    subject: path.join("."),
    problem: message,
    remedy: IN_PROGRAM.set(path),
  }));
  const inClear = given.filter(([name, value]) => isSecretSetting(name) && !isLater(value));
  const all = [...wrong, ...inClear.map(([subject]) => ({ subject, ...IN_CLEAR })), ...problems];
  if (all.length > 0) throw configError(stack, all);
  return config;
}

/** A value that the program gets later, and that may be secret until then. */
function isLater(value: unknown): boolean {
  return pulumi.Output.isInstance(value) || value instanceof Promise;
}

function isSecretSetting(name: string): name is SecretSetting {
  return (SECRET_SETTINGS as readonly string[]).includes(name);
}

/** A password that was given, checked as soon as it is known. It is secret whatever the program says. */
export function givenPassword(
  stack: string,
  name: SecretSetting,
  password: pulumi.Input<string>,
): pulumi.Output<string> {
  return pulumi.secret(password).apply((value) => checkPassword(stack, name, value));
}

/** @throws ConfigError with the reason, and never the password */
export function checkPassword(stack: string, name: SecretSetting, password: string): string {
  const { error } = settings[name].safeParse(password);
  if (error === undefined) return password;
  throw configError(
    stack,
    error.issues.map(({ message }) => ({ subject: name, problem: message, remedy: "Give another one." })),
  );
}
