import { z } from "zod";
import { ConfigError, type Problem } from "../toolchain/errors.ts";
import { derivedAddresses, isAddressOrNetwork, isNetworkAddress, type Addresses } from "./addresses.ts";
import { refusedOverrides } from "./overrides.ts";
import { connectionShare, listeners, LOOKUP_CONNECTIONS } from "./render/pgbouncer-listeners.ts";

/** Namespace of every key in `Pulumi.<stack>.yaml`; the name of the Pulumi project. */
export const PROJECT = "ai-workflow-database";

/** The one name every stack's database has, so that development and production cannot drift apart again. */
export const STANDARD_DATABASE_NAME = "ai_workflow_db";

/** Databases that exist anyway, and words with a meaning of their own in pg_hba.conf. */
const RESERVED_DATABASE_NAMES = new Set([
  "postgres",
  "template0",
  "template1",
  "pgbouncer",
  "all",
  "sameuser",
  "samerole",
  "samegroup",
  "replication",
]);

/** Connections PostgreSQL keeps for superusers: its own default. */
export const SUPERUSER_RESERVED_CONNECTIONS = 3;

/** Connections kept free beside the pooler's: migrations, backups, psql, monitoring. */
export const DIRECT_CONNECTIONS = 10;

// Pulumi hands every value over as text; numbers and booleans are read from it strictly ("" and "12x" are no numbers).
const integer = (min: number, max: number) =>
  z
    .union(
      [
        z.number(),
        z
          .string()
          .regex(/^-?\d+$/, "must be a whole number")
          .transform(Number),
      ],
      "must be a whole number",
    )
    .pipe(
      z
        .number("must be a whole number")
        .int("must be a whole number")
        .min(min, `must be at least ${min}`)
        .max(max, `must be at most ${max}`),
    );
const decimal = (min: number, max: number) =>
  z
    .union(
      [
        z.number(),
        z
          .string()
          .regex(/^-?\d+(\.\d+)?$/, "must be a number")
          .transform(Number),
      ],
      "must be a number",
    )
    .pipe(z.number("must be a number").min(min, `must be at least ${min}`).max(max, `must be at most ${max}`));
const flag = () =>
  z.union([z.boolean(), z.enum(["true", "false"], "must be true or false").transform((text) => text === "true")]);
const json = (text: unknown): unknown => {
  if (typeof text !== "string") return text;
  try {
    return JSON.parse(text);
  } catch {
    return text; // the schema behind says what was expected
  }
};
/** PostgreSQL writes booleans on and off; PgBouncer knows only numbers. */
const overrides = (on: string, off: string) =>
  z.preprocess(
    json,
    z.record(
      z.string().regex(/^[a-z][a-z0-9_.]*$/, "is not a setting's name"),
      z
        .union(
          [
            z.string().regex(/^[^\n\r\0]*$/, "must not contain a line break"),
            z.number(),
            z.boolean().transform((value) => (value ? on : off)),
          ],
          "must be text, a number or true/false",
        )
        .transform(String),
      "must be an object of setting names and values",
    ),
  );
const ipv4 = z.ipv4("must be an IPv4 address");
const clientAddress = z
  .string("must be an IPv4 address or network")
  .refine(
    isAddressOrNetwork,
    "must be an IPv4 address such as 192.0.2.7, or a network of /8 to /32 by its first address such as 192.0.2.0/24",
  );
const password = () =>
  z
    .string()
    .min(20, "must have at least 20 characters")
    .max(128, "must have at most 128 characters")
    // Drivers differ in how they prepare anything else for SCRAM (SASLprep); printable ASCII is the same in all of them.
    .regex(/^[\x20-\x7e]+$/, "must be printable ASCII");
const hostName = z
  .string()
  .regex(
    /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i,
    "is not a host name",
  );

/**
 * Every setting of a stack: key, type, unit, limits, default and meaning. The key is what stands in
 * `Pulumi.<stack>.yaml` as `ai-workflow-database:<key>`; docs/configuration.md is made from this table.
 */
export const settings = {
  profile: z
    .enum(["standard", "ci"], 'must be "standard" or "ci"')
    .optional()
    .describe(
      "standard keeps data; ci is a server for tests: data in memory, no durability, clones of a template beside the database. Default: ci for stacks named ci-…, else standard.",
    ),
  expiresAfterHours: integer(0, 8_760)
    .optional()
    .describe(
      "Hours from its creation after which `aiwdb reap` removes a stack named ci-… or pr-…; 0: never. Default: 24 for ci-…, 168 for pr-…, else 0.",
    ),
  databaseName: z
    .string()
    // 55: with "_session" behind it, PgBouncer's entry must stay inside PostgreSQL's 63.
    .regex(/^[a-z_][a-z0-9_]{0,54}$/, "must be 1 to 55 characters of a-z, 0-9 and _, not beginning with a digit")
    .refine((name) => !RESERVED_DATABASE_NAMES.has(name), "is reserved by PostgreSQL or PgBouncer")
    .default(STANDARD_DATABASE_NAME)
    .describe("Name of the database. The same in every stack; stacks that differ are refused."),
  rolloutPhase: integer(1, 4)
    .default(4)
    .describe(
      "Migrations are applied up to this rollout phase: 1 foundation, 2 authentication, 3 application, 4 optimization.",
    ),
  protect: flag().default(false).describe("Refuse to delete the data volume and the CA key; they outlive `down`."),

  appUserTemporary: flag()
    .default(false)
    .describe(
      "Let app_user make temporary tables. With them come functions and types of its own making in every session, which whoever has its password can use against code that runs as the owner.",
    ),

  postgresPort: integer(0, 65535)
    .default(0)
    .describe(
      "Loopback port of PostgreSQL for migrations and administration. 0: one derived from the stack's name; `up` takes the next one if that is taken.",
    ),
  postgresMemoryMiB: integer(256, 1_048_576)
    .default(512)
    .describe("Memory limit of the PostgreSQL container in MiB; buffers are computed from it."),
  postgresCpus: decimal(0.1, 256)
    .default(1)
    .describe("CPU limit of the PostgreSQL container; worker processes are computed from it."),
  postgresMaxConnections: integer(10, 10_000).default(80).describe("PostgreSQL's max_connections."),
  postgresSettings: overrides("on", "off")
    .default({})
    .describe(
      "Overrides of the computed PostgreSQL settings, as an object. What tunes the server may be set (the list is below); everything else is refused.",
    ),
  postgresClientAddresses: z
    .preprocess(json, z.array(clientAddress, "must be a list of IPv4 addresses and networks"))
    .default([])
    .describe(
      "Containers and hosts besides this machine that may connect to PostgreSQL itself, past PgBouncer: a list of IPv4 addresses and networks.",
    ),

  pgbouncerPort: integer(0, 65535)
    .default(0)
    .describe(
      "Published port of PgBouncer. 0: one derived from the stack's name; `up` takes the next one if that is taken.",
    ),
  pgbouncerPublishAddress: ipv4
    .default("127.0.0.1")
    .describe("Host address PgBouncer is published on. PostgreSQL itself is never published beyond loopback."),
  pgbouncerBindCertificates: flag()
    .default(false)
    .describe(
      "Through PgBouncer too, a role's password is taken with that role's certificate only. Each pooled role gets a PgBouncer process and a port of its own: app_user pgbouncerPort, app_readonly the next one, app_monitor the one after.",
    ),
  pgbouncerMemoryMiB: integer(32, 65_536).default(128).describe("Memory limit of the PgBouncer container in MiB."),
  pgbouncerCpus: decimal(0.1, 16)
    .default(1)
    .describe("CPU limit of the PgBouncer container; one process uses at most one CPU."),
  pgbouncerMaxClientConn: integer(1, 20_000)
    .default(250)
    .describe("Client connections PgBouncer accepts (max_client_conn)."),
  pgbouncerDefaultPoolSize: integer(1, 5_000)
    .default(30)
    .describe("Server connections per database and role (default_pool_size)."),
  pgbouncerReservePoolSize: integer(0, 5_000)
    .default(10)
    .describe("Further server connections for clients that wait too long (reserve_pool_size)."),
  pgbouncerReservePoolTimeoutSec: integer(1, 3_600)
    .default(5)
    .describe("Seconds a client waits before the reserve is used (reserve_pool_timeout)."),
  pgbouncerMaxDbConnections: integer(1, 10_000)
    .default(50)
    .describe("Server connections to the database in all: both pool modes, and the two that look secrets up."),
  pgbouncerSessionDbConnections: integer(1, 10_000)
    .default(8)
    .describe("The part of pgbouncerMaxDbConnections kept for session mode."),
  pgbouncerServerCheckDelaySec: integer(0, 3_600)
    .default(30)
    .describe("Idle seconds after which a server connection is checked before use (server_check_delay)."),
  pgbouncerServerConnectTimeoutSec: integer(1, 3_600).default(15).describe("server_connect_timeout in seconds."),
  pgbouncerServerLoginRetrySec: decimal(0.05, 3_600)
    .default(0.1)
    .describe(
      "Seconds after a failed login at PostgreSQL until PgBouncer tries again for the same role and database (server_login_retry).",
    ),
  pgbouncerQueryTimeoutSec: integer(0, 86_400).default(120).describe("query_timeout in seconds; 0 switches it off."),
  pgbouncerQueryWaitTimeoutSec: integer(0, 86_400)
    .default(30)
    .describe("query_wait_timeout in seconds; 0 switches it off."),
  pgbouncerClientLoginTimeoutSec: integer(1, 3_600).default(60).describe("client_login_timeout in seconds."),
  pgbouncerServerLifetimeSec: integer(0, 604_800).default(3_600).describe("server_lifetime in seconds."),
  pgbouncerServerIdleTimeoutSec: integer(0, 604_800).default(600).describe("server_idle_timeout in seconds."),
  pgbouncerMaxPreparedStatements: integer(1, 10_000)
    .default(200)
    .describe(
      "Prepared statements kept per server connection, so that they work in transaction mode (max_prepared_statements).",
    ),
  pgbouncerSettings: overrides("1", "0")
    .default({})
    .describe(
      "Overrides of further PgBouncer settings, as an object. What tunes the pooler may be set (the list is below); everything else is refused.",
    ),

  maintenanceIntervalMin: integer(0, 10_080)
    .default(60)
    .describe(
      "Minutes between runs of the maintenance container (partitions, retention, materialized views), in stacks whose rolloutPhase is 4. 0: no such container; run `aiwdb maintain` yourself.",
    ),

  healthCheckIntervalSec: integer(1, 3_600)
    .default(30)
    .describe(
      "Seconds between the engine's health checks. `up` and `status` run the same check themselves, without waiting.",
    ),
  stopTimeoutSec: integer(10, 3_600)
    .default(120)
    .describe("Seconds a container may take to stop before it is killed; a large buffer pool needs time to write."),
  logMaxSizeMiB: integer(1, 10_240)
    .default(20)
    .describe("Size in MiB at which a container's log file is rotated; three are kept."),
  networkSubnet: z
    .string()
    .regex(/^(\d{1,3}\.){3}\d{1,3}\/(2[0-8])$/, "must be an IPv4 network of /20 to /28, such as 10.213.7.0/28")
    .optional()
    .describe(
      "Subnet of the stack's network. Default: one derived from the stack's name in 10.208.0.0/12; a first `up` takes the next one, also from 172.24.0.0/13 and 192.168.128.0/17, if that is taken or a route of this machine, such as a VPN's, leads there.",
    ),

  certCaValidityDays: decimal(1, 36_500)
    .default(3_650)
    .describe("Life of the certificate authority in days; rounded up to whole hours."),
  certLeafValidityDays: decimal(0.05, 3_650)
    .default(90)
    .describe("Life of server and client certificates in days; rounded up to whole hours."),
  certRenewBeforeDays: decimal(0, 3_650)
    .default(30)
    .describe("Certificates are renewed by the first `up` within this many days of their end."),
  certServerHostNames: z
    .preprocess(json, z.array(hostName, "must be a list of host names"))
    .default([])
    .describe("Further DNS names clients use for the servers; they go into both server certificates."),

  passwordVersion: integer(1, 1_000_000)
    .default(1)
    .describe("Raise it to replace every generated password at the next `up`."),
  ownerPassword: password().optional().describe("Secret. Password of ai_workflow_owner; generated if not given."),
  appUserPassword: password().optional().describe("Secret. Password of app_user; generated if not given."),
  appReadonlyPassword: password().optional().describe("Secret. Password of app_readonly; generated if not given."),
  appMonitorPassword: password().optional().describe("Secret. Password of app_monitor; generated if not given."),
} satisfies Record<string, z.ZodType>;

export type SettingName = keyof typeof settings;

/** Settings whose value must never be shown. */
export const SECRET_SETTINGS = [
  "ownerPassword",
  "appUserPassword",
  "appReadonlyPassword",
  "appMonitorPassword",
] as const;

const schema = z.strictObject(settings);

/** A stack's settings as they came out of the file, checked, with every default filled in. */
export type StackConfig = Omit<z.output<typeof schema>, "networkSubnet" | "profile" | "expiresAfterHours"> & {
  readonly stack: string;
  readonly profile: "standard" | "ci";
  readonly expiresAfterHours: number;
  readonly networkSubnet: string;
};

/** Whether a stack has the container that calls `maintenance.run()`, which the last rollout phase makes. */
export function hasMaintenance(config: StackConfig): boolean {
  return config.profile === "standard" && config.rolloutPhase === 4 && config.maintenanceIntervalMin > 0;
}

/** A stack's name goes into names of containers, volumes and networks, which share one engine. */
export const STACK_NAME = /^[a-z][a-z0-9-]{0,29}$/;

/**
 * What a server for tests has where nothing else is said. Its data counts against the memory limit, a database of the
 * whole schema takes about 15 MiB, and test suites open many connections at once.
 */
const CI_DEFAULTS: Readonly<Partial<Record<SettingName, unknown>>> = {
  postgresMemoryMiB: 6_144,
  postgresCpus: 2,
  postgresMaxConnections: 500,
  pgbouncerMaxClientConn: 2_000,
  pgbouncerMemoryMiB: 256,
  stopTimeoutSec: 10,
};

/** Stacks that are made to be thrown away, by their names. */
const EPHEMERAL_LIFE_HOURS: Readonly<Record<string, number>> = { ci: 24, pr: 168 };

/** `ci` or `pr` for a stack that expires by its name, else undefined. */
export function ephemeralKind(stack: string): string | undefined {
  return /^(ci|pr)-/.exec(stack)?.[1];
}

function profileOf(stack: string, given: unknown): unknown {
  return given ?? (ephemeralKind(stack) === "ci" ? "ci" : "standard");
}

/**
 * Checks a stack's raw settings (without the `ai-workflow-database:` prefix).
 *
 * @throws ConfigError listing every problem: unknown keys, wrong types and impossible sums
 */
export function parseConfig(stack: string, raw: Readonly<Record<string, unknown>>): StackConfig {
  const { config, problems } = checkConfig(stack, raw);
  if (problems.length > 0) throw configError(stack, problems);
  return config;
}

/** A stack's settings, with defaults in place of those that can't be used, and everything that is wrong with them. */
export interface CheckedConfig {
  readonly config: StackConfig;
  readonly problems: readonly Problem[];
}

/** Checks a stack's raw settings like `parseConfig`, for who looks for further problems before giving up. */
export function checkConfig(stack: string, raw: Readonly<Record<string, unknown>>): CheckedConfig {
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
  problems.push(...issues.flatMap((issue) => toProblems(stack, issue)));
  // The sums are done with what can be read, so that a typing error hides no other mistake.
  const unusable = new Set(issues.flatMap(({ path }) => (path[0] === undefined ? [] : [String(path[0])])));
  const usable = Object.fromEntries(
    Object.entries(all).filter(([key]) => Object.hasOwn(settings, key) && !unusable.has(key)),
  );
  const config = parsed.data ?? schema.parse(usable);
  problems.push(
    // A sum over a setting that can't be read would be one over its default.
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
      ...addressesOf(config, stack),
    },
    problems,
  };
}

/**
 * Passwords that stand in a stack's file in clear.
 *
 * @param keys settings that are given and not encrypted
 */
export function plainPasswords(stack: string, keys: Iterable<string>): Problem[] {
  const given = new Set(keys);
  return SECRET_SETTINGS.filter((key) => given.has(key)).map((key) => ({
    subject: key,
    problem: `stands in Pulumi.${stack}.yaml as plain text, for everybody who can read the file or its history`,
    remedy: `${setPassword(stack, key)} Do not use the old one again.`,
  }));
}

/** What is typed at the prompt stands in no history of a shell. */
const setPassword = (stack: string, key: string) =>
  `Run \`${pulumiConfig(stack, `set --secret ${PROJECT}:${key}`)}\`: it asks for a new one and writes it encrypted.`;

/** By the wrapper, as plain `pulumi` may be on nobody's path and know another stack. */
const pulumiConfig = (stack: string, command: string) => `npx aiwdb pulumi --stack ${stack} -- config ${command}`;

/** Settings without the passwords, which go their own way as secrets. */
export function withoutPasswords(raw: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(raw).filter(([key]) => !(SECRET_SETTINGS as readonly string[]).includes(key)),
  );
}

export function configError(stack: string, problems: readonly Problem[]): ConfigError {
  const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
  return new ConfigError(
    `Configuration of stack "${stack}" is not usable (${count}); nothing has been changed:`,
    problems,
  );
}

function toProblems(stack: string, issue: z.core.$ZodIssue): Problem[] {
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({
      subject: key,
      problem: `there is no such setting${nearest(key)}`,
      remedy: `Remove it: \`${pulumiConfig(stack, `rm ${PROJECT}:${key}`)}\`, or see docs/configuration.md.`,
    }));
  }
  const subject = issue.path.join(".") || "settings";
  const message =
    issue.code === "invalid_union"
      ? unionMessage(issue)
      : issue.code === "invalid_key"
        ? (issue.issues[0]?.message ?? issue.message)
        : issue.message;
  return [{ subject, problem: message, remedy: setting(stack, issue.path) }];
}

/** How to set what a path leads to: a setting, a part of one, a password. */
function setting(stack: string, path: readonly PropertyKey[]): string {
  const [key, ...inner] = path.map(String);
  if (key === undefined) return "Correct it.";
  if ((SECRET_SETTINGS as readonly string[]).includes(key)) return setPassword(stack, key);
  const parts = inner.map((part) => (/^\d+$/.test(part) ? `[${part}]` : `["${part}"]`)).join("");
  const target = inner.length === 0 ? `${PROJECT}:${key}` : `--path '${PROJECT}:${key}${parts}'`;
  return `Set it with \`${pulumiConfig(stack, `set ${target} <value>`)}\`.`;
}

/** The most telling message of a union's branches: the one about the value, not about its type. */
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

/** A problem of several settings together. */
interface SumProblem extends Problem {
  /** All settings it is about; the first is the subject. */
  readonly settings: readonly SettingName[];
}

/** Settings that are each fine, but not together. */
function impossible(config: z.output<typeof schema>, stack: string): SumProblem[] {
  const problems: SumProblem[] = [];
  const refuse = (about: readonly [SettingName, ...SettingName[]], problem: string, remedy: string) => {
    problems.push({ subject: about[0], problem, remedy, settings: about });
  };

  if (profileOf(stack, config.profile) === "ci" && config.protect) {
    refuse(
      ["profile", "protect"],
      "ci keeps data in memory only, and protect asks to keep it",
      "Remove one of the two.",
    );
  }
  if (profileOf(stack, config.profile) === "ci" && stack !== "dev" && !ephemeralKind(stack)) {
    refuse(
      ["profile"],
      `ci throws data away, and "${stack}" is no name of such a stack`,
      "Name the stack ci-… or pr-…, or use the standard profile.",
    );
  }
  if (config.expiresAfterHours && !ephemeralKind(stack)) {
    refuse(
      ["expiresAfterHours"],
      `only stacks named ci-… or pr-… may expire, not "${stack}"`,
      "Remove it, or rename the stack.",
    );
  }
  const forPooler = config.postgresMaxConnections - SUPERUSER_RESERVED_CONNECTIONS - DIRECT_CONNECTIONS;
  if (config.pgbouncerMaxDbConnections > forPooler) {
    refuse(
      ["pgbouncerMaxDbConnections", "postgresMaxConnections"],
      `${config.pgbouncerMaxDbConnections} is above the ${forPooler} connections PostgreSQL leaves to the pooler (postgresMaxConnections ${config.postgresMaxConnections}, ${SUPERUSER_RESERVED_CONNECTIONS} reserved for superusers, ${DIRECT_CONNECTIONS} for direct connections)`,
      "Lower it, or raise postgresMaxConnections.",
    );
  }
  const poolers = listeners(config);
  const lookup = LOOKUP_CONNECTIONS * poolers.length;
  const { transaction, session } = connectionShare(config, poolers[0]);
  const others = poolers.length > 1 ? " and the shares of app_readonly and app_monitor" : "";
  if (transaction < 1) {
    refuse(
      ["pgbouncerSessionDbConnections", "pgbouncerMaxDbConnections", "pgbouncerBindCertificates"],
      `${config.pgbouncerSessionDbConnections} leaves transaction mode none of pgbouncerMaxDbConnections ${config.pgbouncerMaxDbConnections} (${lookup} look secrets up)${others && `, app_readonly and app_monitor having theirs`}`,
      "Lower it, or raise pgbouncerMaxDbConnections.",
    );
  } else if (config.pgbouncerDefaultPoolSize + config.pgbouncerReservePoolSize > transaction) {
    refuse(
      [
        "pgbouncerDefaultPoolSize",
        "pgbouncerReservePoolSize",
        "pgbouncerMaxDbConnections",
        "pgbouncerSessionDbConnections",
        "pgbouncerBindCertificates",
      ],
      `${config.pgbouncerDefaultPoolSize} and a reserve of ${config.pgbouncerReservePoolSize} are above the ${transaction} server connections transaction mode has (pgbouncerMaxDbConnections ${config.pgbouncerMaxDbConnections} less ${config.pgbouncerSessionDbConnections} for session mode and ${lookup} for looking secrets up${others})`,
      "Lower pgbouncerDefaultPoolSize or pgbouncerReservePoolSize, or raise pgbouncerMaxDbConnections.",
    );
  }
  if (session < 1) {
    refuse(
      ["pgbouncerSessionDbConnections", "pgbouncerBindCertificates"],
      `${config.pgbouncerSessionDbConnections} are too few for three listeners (pgbouncerBindCertificates)`,
      `Set at least ${poolers.length}.`,
    );
  }
  // An idle backend has 2.4 MiB of its own (measured, with TLS); shared buffers are a quarter of the memory.
  const needed = Math.ceil(config.postgresMemoryMiB / 4 + config.postgresMaxConnections * 2.5);
  if (needed > config.postgresMemoryMiB) {
    refuse(
      ["postgresMemoryMiB", "postgresMaxConnections"],
      `${config.postgresMemoryMiB} MiB are too little for ${config.postgresMaxConnections} connections (at least ${needed} MiB)`,
      "Raise it, or lower postgresMaxConnections.",
    );
  }
  // About 16 KiB a client connection with TLS, and the process itself.
  const poolerNeeded = poolers.length * (16 + Math.ceil(config.pgbouncerMaxClientConn / 16));
  if (poolerNeeded > config.pgbouncerMemoryMiB) {
    refuse(
      ["pgbouncerMemoryMiB", "pgbouncerMaxClientConn", "pgbouncerBindCertificates"],
      `${config.pgbouncerMemoryMiB} MiB are too little for ${config.pgbouncerMaxClientConn} client connections${poolers.length > 1 ? " to each of three listeners" : ""} (at least ${poolerNeeded} MiB)`,
      "Raise it, or lower pgbouncerMaxClientConn.",
    );
  }
  if (config.certRenewBeforeDays >= config.certLeafValidityDays) {
    refuse(
      ["certRenewBeforeDays", "certLeafValidityDays"],
      `${config.certRenewBeforeDays} days are not less than certLeafValidityDays ${config.certLeafValidityDays}, so every run would renew`,
      "Lower it, or raise certLeafValidityDays.",
    );
  }
  if (config.certLeafValidityDays > config.certCaValidityDays) {
    refuse(
      ["certLeafValidityDays", "certCaValidityDays"],
      `${config.certLeafValidityDays} days outlive the certificate authority (certCaValidityDays ${config.certCaValidityDays})`,
      "Lower it, or raise certCaValidityDays.",
    );
  }
  const { postgresPort, pgbouncerPort } = addressesOf(config, stack);
  const ports = poolers.map(({ offset }) => pgbouncerPort + offset);
  if (ports.includes(postgresPort)) {
    refuse(["pgbouncerPort", "postgresPort"], `${postgresPort} is PostgreSQL's port too`, "Choose another one.");
  }
  if (Math.max(...ports) > 65_535) {
    refuse(
      ["pgbouncerPort", "pgbouncerBindCertificates"],
      `${pgbouncerPort} leaves no port above it for the other listeners (pgbouncerBindCertificates)`,
      "Choose a lower one.",
    );
  }
  if (config.networkSubnet !== undefined && !isNetworkAddress(config.networkSubnet)) {
    refuse(
      ["networkSubnet"],
      `${config.networkSubnet} is not the first address of a private IPv4 network`,
      "Use a network of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16.",
    );
  }
  return problems;
}

type NamedStack = Pick<StackConfig, "stack" | "databaseName">;

/** What must not differ between environments and does: each stack's file with its database name, or nothing. */
export function disagreements(configs: readonly NamedStack[]): Problem[] {
  if (new Set(configs.map((config) => config.databaseName)).size <= 1) return [];
  return configs.map((config) => ({
    subject: `Pulumi.${config.stack}.yaml, databaseName`,
    problem: config.databaseName,
    remedy: `Use one name in all of them (${STANDARD_DATABASE_NAME} is the default).`,
  }));
}

/**
 * Checks that stacks agree on what must not differ between environments.
 *
 * @throws ConfigError when two stacks have different database names
 */
export function checkStacksAgree(configs: readonly NamedStack[]): void {
  const problems = disagreements(configs);
  if (problems.length === 0) return;
  throw new ConfigError("The stacks do not agree; the database has one name in every environment:", problems);
}

function addressesOf(config: z.output<typeof schema>, stack: string): Addresses {
  const derived = derivedAddresses(stack);
  return {
    postgresPort: config.postgresPort || derived.postgresPort,
    pgbouncerPort: config.pgbouncerPort || derived.pgbouncerPort,
    networkSubnet: config.networkSubnet ?? derived.networkSubnet,
  };
}
