import type { z } from "zod";
import { ConfigError, type Problem } from "../../base/errors.ts";
import { type Addresses, derivedAddresses, isNetworkAddress } from "./addresses.ts";
import { directConnections, pooledFurtherRoles, roleSums } from "./further-roles.ts";
import { connectionShare, listeners, LOOKUP_CONNECTIONS, poolerConnections } from "./listeners.ts";
import { PROJECT, STACK_NAME, STANDARD_DATABASE_NAME } from "./names.ts";
import { refusedOverrides } from "./overrides.ts";
import { CI_DEFAULTS, EPHEMERAL_LIFE_HOURS, ephemeralKind, profileOf } from "./profile.ts";
import { schema, SECRET_SETTINGS, type SettingName, type Settings, settings, type StackConfig } from "./table.ts";

/**
 * Connections that PostgreSQL keeps for superusers. The package leaves PostgreSQL's own default.
 *
 * https://www.postgresql.org/docs/16/runtime-config-connection.html#GUC-SUPERUSER-RESERVED-CONNECTIONS
 */
export const SUPERUSER_RESERVED_CONNECTIONS = 3;

/** Connections that the pooler leaves free for direct clients: migrations, backups, psql, monitoring. */
export const DIRECT_CONNECTIONS = 10;

/** What app_user's statements may take where `protect` is on and no setting says otherwise. */
const PROTECTED_STATEMENT_TIMEOUT_SEC = 120;

/**
 * Checks a stack's settings and fills in their defaults.
 *
 * @param raw values by key, as they stand in the stack's file; keys without the prefix `ai-workflow-database:`
 * @throws ConfigError listing every problem: unknown keys, wrong types and settings that do not fit together
 */
export function parseConfig(stack: string, raw: Readonly<Record<string, unknown>>): StackConfig {
  const { config, problems } = checkConfig(stack, raw);
  if (problems.length > 0) throw configError(stack, problems);
  return config;
}

/** A stack's settings and all their problems. A setting that cannot be used has its default here. */
export interface CheckedConfig {
  readonly config: StackConfig;
  readonly problems: readonly Problem[];
}

/** Texts that tell a person how to correct a setting. */
export interface Remedies {
  /** @param path the setting's name, then the keys and indexes that lead to a part of its value */
  set(path: readonly PropertyKey[]): string;
  /** @param key one that no setting has */
  remove(key: string): string;
}

/**
 * Checks a stack's settings like `parseConfig`, but returns the problems. Callers add problems that they find
 * themselves.
 *
 * @param remedies by default those for the stack's file; a program that gives the settings has others
 */
export function checkConfig(
  stack: string,
  raw: Readonly<Record<string, unknown>>,
  remedies: Remedies = remediesInFile(stack),
): CheckedConfig {
  const problems: Problem[] = [];
  if (!STACK_NAME.test(stack)) {
    problems.push({
      subject: `stack "${stack}"`,
      problem:
        "a stack's name becomes part of container names: 1 to 30 characters of a-z, 0-9 and -, beginning with a letter",
      remedy: "Choose another name with --stack.",
    });
  }
  const profile = profileOf(stack, raw["profile"]);
  const all = profile === "ci" ? { ...CI_DEFAULTS, ...raw } : raw;
  const parsed = schema.safeParse(all);
  const issues = parsed.error?.issues ?? [];
  problems.push(...issues.flatMap((issue) => toProblems(issue, remedies)));
  // The sums use all settings that can be read: a typing error in one setting must not hide a mistake in others.
  const unusable = new Set(issues.flatMap(({ path }) => (path[0] === undefined ? [] : [String(path[0])])));
  const usable = Object.fromEntries(
    Object.entries(all).filter(([key]) => Object.hasOwn(settings, key) && !unusable.has(key)),
  );
  const config = parsed.data ?? schema.parse(usable);
  problems.push(
    // `config` has the default of a setting that can't be read. A sum with it would not be about the user's values.
    ...impossible(config, stack).filter((problem) => !problem.settings.some((setting) => unusable.has(setting))),
    ...refusedOverrides("postgresSettings", config.postgresSettings),
    ...refusedOverrides("pgbouncerSettings", config.pgbouncerSettings),
  );
  return {
    config: {
      ...config,
      stack,
      profile: profileOf(stack, config.profile) as StackConfig["profile"],
      expiresAfterHours: config.expiresAfterHours ?? EPHEMERAL_LIFE_HOURS[ephemeralKind(stack) ?? ""] ?? 0,
      postgresMaxConnections: maxConnections(config),
      appUserStatementTimeoutSec:
        config.appUserStatementTimeoutSec ?? (config.protect ? PROTECTED_STATEMENT_TIMEOUT_SEC : 0),
      ...addressesOf(config, stack),
    },
    problems,
  };
}

/**
 * One problem for each password that stands in a stack's file as plain text.
 *
 * @param keys names of the settings that the file has without encryption
 */
export function plainPasswords(stack: string, keys: Iterable<string>): Problem[] {
  const given = new Set(keys);
  return SECRET_SETTINGS.filter((key) => given.has(key)).map((key) => ({
    subject: key,
    problem: `stands in Pulumi.${stack}.yaml as plain text, for everybody who can read the file or its history`,
    remedy: `${setPassword(stack, key)} Do not use the old one again.`,
  }));
}

/** The command asks for the password at a prompt, because a shell keeps its command lines in a file. */
const setPassword = (stack: string, key: string) =>
  `Run \`${pulumiConfig(stack, `set --secret ${PROJECT}:${key}`)}\`: it asks for a new one and writes it encrypted.`;

/** The package's own command: plain `pulumi` may not be installed, or may use another state. */
const pulumiConfig = (stack: string, command: string) => `npx aiwdb pulumi --stack ${stack} -- config ${command}`;

/** An error that lists all problems of a stack's settings. */
export function configError(stack: string, problems: readonly Problem[]): ConfigError {
  const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
  return new ConfigError(
    `Configuration of stack "${stack}" is not usable (${count}); nothing has been changed:`,
    problems,
  );
}

function toProblems(issue: z.core.$ZodIssue, remedies: Remedies): Problem[] {
  if (issue.code === "unrecognized_keys" && issue.path.length > 0) {
    return issue.keys.map((key) => ({
      subject: [...issue.path, key].join("."),
      problem: "there is no such key",
      remedy: "Remove it; docs/configuration.md has the keys.",
    }));
  }
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({
      subject: key,
      problem: `there is no such setting${nearest(key)}`,
      remedy: remedies.remove(key),
    }));
  }
  const subject = issue.path.join(".") || "settings";
  const message =
    issue.code === "invalid_union"
      ? unionMessage(issue)
      : issue.code === "invalid_key"
        ? (issue.issues[0]?.message ?? issue.message)
        : issue.message;
  return [{ subject, problem: message, remedy: remedies.set(issue.path) }];
}

const remediesInFile = (stack: string): Remedies => ({
  set: (path) => setting(stack, path),
  remove: (key) => `Remove it: \`${pulumiConfig(stack, `rm ${PROJECT}:${key}`)}\`, or see docs/configuration.md.`,
});

/** Says how to set a password, another setting, or a part of a setting's value. */
function setting(stack: string, path: readonly PropertyKey[]): string {
  const known = settings[String(path[0]) as SettingName] as z.ZodType | undefined;
  const isList = path.length === 1 && Array.isArray(known?.safeParse(undefined).data);
  const [key, ...inner] = [...path, ...(isList ? [0] : [])].map(String); // the first of the list
  if (key === undefined) return "Correct it.";
  if ((SECRET_SETTINGS as readonly string[]).includes(key)) return setPassword(stack, key);
  const parts = inner.map((part) => (/^\d+$/.test(part) ? `[${part}]` : `["${part}"]`)).join("");
  const target = inner.length === 0 ? `${PROJECT}:${key}` : `--path '${PROJECT}:${key}${parts}'`;
  return `Set it with \`${pulumiConfig(stack, `set ${target} <value>`)}\`.`;
}

/** A union has a message for each of its branches. This returns the one about the value, not those about its type. */
function unionMessage(issue: Extract<z.core.$ZodIssue, { code: "invalid_union" }>): string {
  const messages = issue.errors.flat().map((inner) => inner.message);
  return messages.find((message) => message.startsWith("must")) ?? issue.message;
}

function nearest(key: string): string {
  const simple = (text: string) => text.toLowerCase().replaceAll(/[^a-z0-9]/g, "");
  const found = Object.keys(settings).find(
    (known) => simple(known).includes(simple(key)) || simple(key).includes(simple(known)),
  );
  return found ? `; did you mean ${found}?` : "";
}

/** The setting, or what all who connect need together. */
function maxConnections(config: Settings): number {
  const direct = DIRECT_CONNECTIONS + directConnections(config);
  const all = poolerConnections(config) + direct + SUPERUSER_RESERVED_CONNECTIONS;
  return config.postgresMaxConnections ?? all;
}

/** A problem of several settings that do not fit together. */
interface SumProblem extends Problem {
  /** All settings that the problem is about. The first one is its subject. */
  readonly settings: readonly SettingName[];
}

/** Problems of settings that are valid one by one but do not fit together. */
function impossible(config: Settings, stack: string): SumProblem[] {
  const problems: SumProblem[] = [];
  const refuseIf = (
    isWrong: boolean,
    about: readonly [SettingName, ...SettingName[]],
    problem: string,
    remedy: string,
  ) => {
    if (isWrong) problems.push({ subject: about[0], problem, remedy, settings: about });
  };

  const { postgresMemoryMiB, pgbouncerMaxDbConnections, pgbouncerSessionDbConnections } = config;
  const postgresMaxConnections = maxConnections(config);
  const { pgbouncerDefaultPoolSize, pgbouncerReservePoolSize, pgbouncerMaxClientConn, pgbouncerMemoryMiB } = config;
  const { certLeafValidityDays, certRenewBeforeDays, certCaValidityDays, networkSubnet } = config;
  const isCi = profileOf(stack, config.profile) === "ci";
  refuseIf(
    isCi && config.protect,
    ["profile", "protect"],
    "ci keeps data in memory only, and protect asks to keep it",
    "Remove one of the two.",
  );
  refuseIf(
    isCi && stack !== "dev" && !ephemeralKind(stack),
    ["profile"],
    `ci throws data away, and "${stack}" is no name of such a stack`,
    "Name the stack ci-… or pr-…, or use the standard profile.",
  );
  refuseIf(
    Boolean(config.expiresAfterHours) && !ephemeralKind(stack),
    ["expiresAfterHours"],
    `only stacks named ci-… or pr-… may expire, not "${stack}"`,
    "Remove it, or rename the stack.",
  );
  const poolers = listeners(config);
  const lookup = LOOKUP_CONNECTIONS * poolers.length;
  const forPooler = postgresMaxConnections - SUPERUSER_RESERVED_CONNECTIONS - DIRECT_CONNECTIONS;
  refuseIf(
    poolerConnections(config) > forPooler,
    [
      "postgresMaxConnections",
      "pgbouncerMaxDbConnections",
      "pgbouncerSessionDbConnections",
      "pgbouncerBindCertificates",
    ],
    `${postgresMaxConnections} leaves ${Math.max(0, forPooler)} connections to the pooler, beside ${SUPERUSER_RESERVED_CONNECTIONS} reserved for superusers and ${DIRECT_CONNECTIONS} for direct connections; it may open ${poolerConnections(config)} (pgbouncerMaxDbConnections ${pgbouncerMaxDbConnections}, pgbouncerSessionDbConnections ${pgbouncerSessionDbConnections}, ${lookup} to look up passwords)`,
    "Remove it, so that the package computes it, or lower the others.",
  );
  const { transaction, session } = connectionShare(config, poolers[0]);
  const others = poolers.length > 1 ? " less the shares of app_readonly and app_monitor" : "";
  refuseIf(
    pgbouncerDefaultPoolSize + pgbouncerReservePoolSize > transaction,
    ["pgbouncerDefaultPoolSize", "pgbouncerReservePoolSize", "pgbouncerMaxDbConnections", "pgbouncerBindCertificates"],
    `${pgbouncerDefaultPoolSize} and a reserve of ${pgbouncerReservePoolSize} are above the ${transaction} server connections of transaction mode (pgbouncerMaxDbConnections ${pgbouncerMaxDbConnections}${others})`,
    "Lower pgbouncerDefaultPoolSize or pgbouncerReservePoolSize, or raise pgbouncerMaxDbConnections.",
  );
  refuseIf(
    session < 1,
    ["pgbouncerSessionDbConnections", "pgbouncerBindCertificates"],
    `${pgbouncerSessionDbConnections} are too few: pgbouncerBindCertificates makes three listeners, and each needs one`,
    `Set at least ${poolers.length}.`,
  );
  const bound = pooledFurtherRoles(config).map(({ name }) => name);
  refuseIf(
    config.pgbouncerBindCertificates && bound.length > 0,
    ["roles", "pgbouncerBindCertificates"],
    `pgbouncerBindCertificates gives each of the package's pooled roles a listener, and further roles have none: ${bound.join(", ")}`,
    "Set pooled to false for them, so that they connect directly, or switch pgbouncerBindCertificates off.",
  );
  refuseIf(
    isCi && Object.keys(config.roles).length > 0,
    ["roles", "profile"],
    "a stack of the profile ci has the roles of its test databases only",
    "Remove it, or use the standard profile.",
  );
  const direct = forPooler - poolerConnections(config) + DIRECT_CONNECTIONS / 2;
  for (const { problem, remedy } of roleSums(config, { pooled: transaction, direct }))
    refuseIf(
      true,
      ["roles", "pgbouncerMaxDbConnections", "pgbouncerSessionDbConnections", "postgresMaxConnections"],
      problem,
      remedy,
    );
  // An idle server process with TLS has 2.4 MiB of its own (measured). Shared buffers take a quarter of the memory.
  const needed = Math.ceil(postgresMemoryMiB / 4 + postgresMaxConnections * 2.5);
  refuseIf(
    needed > postgresMemoryMiB,
    ["postgresMemoryMiB", "postgresMaxConnections"],
    `${postgresMemoryMiB} MiB are too little for ${postgresMaxConnections} connections (at least ${needed} MiB)`,
    "Raise it, or lower postgresMaxConnections.",
  );
  // A PgBouncer process takes about 16 MiB. The sum allows 64 KiB for each client connection with TLS.
  const poolerNeeded = poolers.length * (16 + Math.ceil(pgbouncerMaxClientConn / 16));
  refuseIf(
    poolerNeeded > pgbouncerMemoryMiB,
    ["pgbouncerMemoryMiB", "pgbouncerMaxClientConn", "pgbouncerBindCertificates"],
    `${pgbouncerMemoryMiB} MiB are too little for ${pgbouncerMaxClientConn} client connections${poolers.length > 1 ? " to each of three listeners" : ""} (at least ${poolerNeeded} MiB)`,
    "Raise it, or lower pgbouncerMaxClientConn.",
  );
  refuseIf(
    certRenewBeforeDays >= certLeafValidityDays,
    ["certRenewBeforeDays", "certLeafValidityDays"],
    `${certRenewBeforeDays} days are not less than certLeafValidityDays ${certLeafValidityDays}, so every run would renew`,
    "Lower it, or raise certLeafValidityDays.",
  );
  refuseIf(
    certLeafValidityDays > certCaValidityDays,
    ["certLeafValidityDays", "certCaValidityDays"],
    `${certLeafValidityDays} days outlive the certificate authority (certCaValidityDays ${certCaValidityDays})`,
    "Lower it, or raise certCaValidityDays.",
  );
  const { postgresPort, pgbouncerPort } = addressesOf(config, stack);
  const ports = poolers.map(({ offset }) => pgbouncerPort + offset);
  refuseIf(
    ports.includes(postgresPort),
    ["pgbouncerPort", "postgresPort"],
    `${postgresPort} is PostgreSQL's port too`,
    "Choose another one.",
  );
  refuseIf(
    Math.max(...ports) > 65_535,
    ["pgbouncerPort", "pgbouncerBindCertificates"],
    `${pgbouncerPort} leaves no port above it for the other listeners (pgbouncerBindCertificates)`,
    "Choose a lower one.",
  );
  refuseIf(
    networkSubnet !== undefined && !isNetworkAddress(networkSubnet),
    ["networkSubnet"],
    `${networkSubnet} is not the first address of a private IPv4 network`,
    "Use a network of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16.",
  );
  return problems;
}

/** A stack and the name of its database. */
export type NamedStack = Pick<StackConfig, "stack" | "databaseName">;

/** If the stacks do not all have the same database name: one problem for each stack. */
export function disagreements(configs: readonly NamedStack[]): Problem[] {
  if (new Set(configs.map((config) => config.databaseName)).size <= 1) return [];
  return configs.map((config) => ({
    subject: `Pulumi.${config.stack}.yaml, databaseName`,
    problem: config.databaseName,
    remedy: `Use one name in all of them (${STANDARD_DATABASE_NAME} is the default).`,
  }));
}

/**
 * Checks that all stacks have the same database name.
 *
 * @throws ConfigError listing every stack with its name, when two of them differ
 */
export function checkStacksAgree(configs: readonly NamedStack[]): void {
  const problems = disagreements(configs);
  if (problems.length === 0) return;
  throw new ConfigError("The stacks do not agree; the database has one name in every environment:", problems);
}

/** A stack's ports and subnet. Those that the settings do not give are derived from the stack's name. */
function addressesOf(config: Settings, stack: string): Addresses {
  const derived = derivedAddresses(stack);
  return {
    postgresPort: config.postgresPort || derived.postgresPort,
    pgbouncerPort: config.pgbouncerPort || derived.pgbouncerPort,
    networkSubnet: config.networkSubnet ?? derived.networkSubnet,
  };
}
