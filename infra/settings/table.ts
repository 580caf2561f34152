import { z } from "zod";
import { ROLES } from "../../database/access/roles.ts";
import { words } from "../../base/words.ts";
import { isAddressOrNetwork } from "./addresses.ts";
import { STANDARD_DATABASE_NAME } from "./names.ts";
import { Profile } from "./profile.ts";

/** Databases that exist anyway, and words with a meaning of their own in pg_hba.conf. */
const RESERVED_DATABASE_NAMES = new Set(
  words("postgres template0 template1 pgbouncer all sameuser samerole samegroup replication"),
);

/** Pulumi hands every value over as text. Numbers are read from it strictly: "" and "12x" are none. */
const number =
  (pattern: RegExp, problem: string, kind = z.number(problem)) =>
  (min: number, max: number) =>
    z
      .union([z.number(), z.string().regex(pattern, problem).transform(Number)], problem)
      .pipe(kind.min(min, `must be at least ${min}`).max(max, `must be at most ${max}`));
const NOT_WHOLE = "must be a whole number";
const wholeNumber = number(/^-?\d+$/, NOT_WHOLE, z.number(NOT_WHOLE).int(NOT_WHOLE));
const anyNumber = number(/^-?\d+(\.\d+)?$/, "must be a number");
const integer = (min: number, max: number, standard: number) => wholeNumber(min, max).default(standard);
const decimal = (min: number, max: number, standard: number) => anyNumber(min, max).default(standard);
/** True or false; false by default. */
const flag = () =>
  z
    .union([z.boolean(), z.enum(["true", "false"], "must be true or false").transform((text) => text === "true")])
    .default(false);
const json = (text: unknown): unknown => {
  if (typeof text !== "string") return text;
  try {
    return JSON.parse(text);
  } catch {
    return text; // the schema behind says what was expected
  }
};
/** A list, as JSON where it is text; empty by default. */
const list = (member: z.ZodType<string>, problem: string) => z.preprocess(json, z.array(member, problem)).default([]);
/** PostgreSQL writes booleans on and off; PgBouncer knows only numbers. */
const overrides = (on: string, off: string) => {
  const value = z.union(
    [
      z.string().regex(/^[^\n\r\0]*$/, "must not contain a line break"),
      z.number(),
      z.boolean().transform((isOn) => (isOn ? on : off)),
    ],
    "must be text, a number or true/false",
  );
  const name = z.string().regex(/^[a-z][a-z0-9_.]*$/, "is not a setting's name");
  const record = z.record(name, value.transform(String), "must be an object of setting names and values");
  return z.preprocess(json, record).default({});
};
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
 * Every setting of a stack: key, type, unit, limits, default and meaning. In `Pulumi.<stack>.yaml` a key stands as
 * `ai-workflow-database:<key>`. docs/configuration.md and stack-settings.ts are made from this table.
 */
export const settings = {
  profile: z
    .enum(Profile, 'must be "standard" or "ci"')
    .optional()
    .describe(
      "standard keeps data; ci is a server for tests: data in memory, no durability, clones of a template beside the database. Default: ci for stacks named ci-…, else standard.",
    ),
  expiresAfterHours: wholeNumber(0, 8_760)
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
  rolloutPhase: integer(1, 4, 4).describe(
    "Migrations are applied up to this rollout phase: 1 foundation, 2 authentication, 3 application, 4 optimization.",
  ),
  protect: flag().describe("Refuse to delete the data volume and the CA key; they outlive `down`."),

  appUserTemporary: flag().describe(
    "Let app_user make temporary tables. With them come functions and types of its own making in every session, which whoever has its password can use against code that runs as the owner.",
  ),

  postgresPort: integer(0, 65535, 0).describe(
    "Loopback port of PostgreSQL for migrations and administration. 0: one derived from the stack's name; `up` takes the next one if that is taken.",
  ),
  postgresMemoryMiB: integer(256, 1_048_576, 512).describe(
    "Memory limit of the PostgreSQL container in MiB; buffers are computed from it.",
  ),
  postgresCpus: decimal(0.1, 256, 1).describe(
    "CPU limit of the PostgreSQL container; worker processes are computed from it.",
  ),
  postgresMaxConnections: integer(10, 10_000, 80).describe("PostgreSQL's max_connections."),
  postgresSettings: overrides("on", "off").describe(
    "Overrides of the computed PostgreSQL settings, as an object. What tunes the server may be set (the list is below); everything else is refused.",
  ),
  postgresClientAddresses: list(clientAddress, "must be a list of IPv4 addresses and networks").describe(
    "Containers and hosts besides this machine that may connect to PostgreSQL itself, past PgBouncer: a list of IPv4 addresses and networks.",
  ),

  pgbouncerPort: integer(0, 65535, 0).describe(
    "Published port of PgBouncer. 0: one derived from the stack's name; `up` takes the next one if that is taken.",
  ),
  pgbouncerPublishAddress: z
    .ipv4("must be an IPv4 address")
    .default("127.0.0.1")
    .describe("Host address PgBouncer is published on. PostgreSQL itself is never published beyond loopback."),
  pgbouncerBindCertificates: flag().describe(
    "Through PgBouncer too, a role's password is taken with that role's certificate only. Each pooled role gets a PgBouncer process and a port of its own: app_user pgbouncerPort, app_readonly the next one, app_monitor the one after.",
  ),
  pgbouncerMemoryMiB: integer(32, 65_536, 128).describe("Memory limit of the PgBouncer container in MiB."),
  pgbouncerCpus: decimal(0.1, 16, 1).describe(
    "CPU limit of the PgBouncer container; one process uses at most one CPU.",
  ),
  pgbouncerMaxClientConn: integer(1, 20_000, 250).describe("Client connections PgBouncer accepts (max_client_conn)."),
  pgbouncerDefaultPoolSize: integer(1, 5_000, 30).describe(
    "Server connections per database and role (default_pool_size).",
  ),
  pgbouncerReservePoolSize: integer(0, 5_000, 10).describe(
    "Further server connections for clients that wait too long (reserve_pool_size).",
  ),
  pgbouncerReservePoolTimeoutSec: integer(1, 3_600, 5).describe(
    "Seconds a client waits before the reserve is used (reserve_pool_timeout).",
  ),
  pgbouncerMaxDbConnections: integer(1, 10_000, 50).describe(
    "Server connections to the database in all: both pool modes, and the two that look secrets up.",
  ),
  pgbouncerSessionDbConnections: integer(1, 10_000, 8).describe(
    "The part of pgbouncerMaxDbConnections kept for session mode.",
  ),
  pgbouncerServerCheckDelaySec: integer(0, 3_600, 30).describe(
    "Idle seconds after which a server connection is checked before use (server_check_delay).",
  ),
  pgbouncerServerConnectTimeoutSec: integer(1, 3_600, 15).describe("server_connect_timeout in seconds."),
  pgbouncerServerLoginRetrySec: decimal(0.05, 3_600, 0.1).describe(
    "Seconds after a failed login at PostgreSQL until PgBouncer tries again for the same role and database (server_login_retry).",
  ),
  pgbouncerQueryTimeoutSec: integer(0, 86_400, 120).describe("query_timeout in seconds; 0 switches it off."),
  pgbouncerQueryWaitTimeoutSec: integer(0, 86_400, 30).describe("query_wait_timeout in seconds; 0 switches it off."),
  pgbouncerClientLoginTimeoutSec: integer(1, 3_600, 60).describe("client_login_timeout in seconds."),
  pgbouncerServerLifetimeSec: integer(0, 604_800, 3_600).describe("server_lifetime in seconds."),
  pgbouncerServerIdleTimeoutSec: integer(0, 604_800, 600).describe("server_idle_timeout in seconds."),
  pgbouncerMaxPreparedStatements: integer(1, 10_000, 200).describe(
    "Prepared statements kept per server connection, so that they work in transaction mode (max_prepared_statements).",
  ),
  pgbouncerSettings: overrides("1", "0").describe(
    "Overrides of further PgBouncer settings, as an object. What tunes the pooler may be set (the list is below); everything else is refused.",
  ),

  maintenanceIntervalMin: integer(0, 10_080, 60).describe(
    "Minutes between runs of the maintenance container (partitions, retention, materialized views), in stacks whose rolloutPhase is 4. 0: no such container; run `aiwdb maintain` yourself.",
  ),

  healthCheckIntervalSec: integer(1, 3_600, 30).describe(
    "Seconds between the engine's health checks. `up` and `status` run the same check themselves, without waiting.",
  ),
  stopTimeoutSec: integer(10, 3_600, 120).describe(
    "Seconds a container may take to stop before it is killed; a large buffer pool needs time to write.",
  ),
  logMaxSizeMiB: integer(1, 10_240, 20).describe(
    "Size in MiB at which a container's log file is rotated; three are kept.",
  ),
  networkSubnet: z
    .string()
    .regex(/^(\d{1,3}\.){3}\d{1,3}\/(2[0-8])$/, "must be an IPv4 network of /20 to /28, such as 10.213.7.0/28")
    .optional()
    .describe(
      "Subnet of the stack's network. Default: one derived from the stack's name in 10.208.0.0/12; a first `up` takes the next one, also from 172.24.0.0/13 and 192.168.128.0/17, if that is taken or a route of this machine, such as a VPN's, leads there.",
    ),

  certCaValidityDays: decimal(1, 36_500, 3_650).describe(
    "Life of the certificate authority in days; rounded up to whole hours.",
  ),
  certLeafValidityDays: decimal(0.05, 3_650, 90).describe(
    "Life of server and client certificates in days; rounded up to whole hours.",
  ),
  certRenewBeforeDays: decimal(0, 3_650, 30).describe(
    "Certificates are renewed by the first `up` within this many days of their end.",
  ),
  certServerHostNames: list(hostName, "must be a list of host names").describe(
    "Further DNS names clients use for the servers; they go into both server certificates.",
  ),

  passwordVersion: integer(1, 1_000_000, 1).describe("Raise it to replace every generated password at the next `up`."),
  ownerPassword: password().optional().describe("Secret. Password of ai_workflow_owner; generated if not given."),
  appUserPassword: password().optional().describe("Secret. Password of app_user; generated if not given."),
  appReadonlyPassword: password().optional().describe("Secret. Password of app_readonly; generated if not given."),
  appMonitorPassword: password().optional().describe("Secret. Password of app_monitor; generated if not given."),
} satisfies Record<string, z.ZodType>;

export type SettingName = keyof typeof settings;

/** Setting of each role whose password may be given. */
export const PASSWORD_SETTINGS = {
  [ROLES.owner]: "ownerPassword",
  [ROLES.app]: "appUserPassword",
  [ROLES.readonly]: "appReadonlyPassword",
  [ROLES.monitor]: "appMonitorPassword",
} as const;

export type SecretSetting = (typeof PASSWORD_SETTINGS)[keyof typeof PASSWORD_SETTINGS];

/** Settings whose value must never be shown. */
export const SECRET_SETTINGS: readonly SecretSetting[] = Object.values(PASSWORD_SETTINGS);

/** All settings of a stack as they stand in its file; a key that is none of them is refused. */
export const schema = z.strictObject(settings);

/** Settings as they are read, with the defaults that depend on nothing but themselves. */
export type Settings = z.output<typeof schema>;

/** A stack's settings, checked, with every default filled in. */
export type StackConfig = Omit<Settings, "networkSubnet" | "profile" | "expiresAfterHours"> & {
  readonly stack: string;
  readonly profile: Profile;
  readonly expiresAfterHours: number;
  readonly networkSubnet: string;
};

/** Whether a stack has the container that calls `maintenance.run()`, which the last rollout phase makes. */
export function hasMaintenance(config: StackConfig): boolean {
  return config.profile === Profile.standard && config.rolloutPhase === 4 && config.maintenanceIntervalMin > 0;
}
