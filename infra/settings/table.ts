import { z } from "zod";
import { refusedExtensions } from "../../database/access/extensions.ts";
import { ROLES } from "../../database/access/roles.ts";
import { words } from "../../base/words.ts";
import { isAddressOrNetwork } from "./addresses.ts";
import { roleAccess, roleName } from "./further-roles.ts";
import { STANDARD_DATABASE_NAME } from "./names.ts";
import { Profile } from "./profile.ts";

/**
 * Names that a stack's database may not have: databases of every server or pooler, and keywords of pg_hba.conf.
 *
 * https://www.postgresql.org/docs/16/auth-pg-hba-conf.html
 */
const RESERVED_DATABASE_NAMES = new Set(
  words("postgres template0 template1 pgbouncer all sameuser samerole samegroup replication"),
);

/** Pulumi hands every value over as text. The whole text must be a number: "" and "12x" are refused. */
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
/** A setting that is true or false. */
const flag = (standard = false) =>
  z
    .union([z.boolean(), z.enum(["true", "false"], "must be true or false").transform((text) => text === "true")])
    .default(standard);
const json = (text: unknown): unknown => {
  if (typeof text !== "string") return text;
  try {
    return JSON.parse(text);
  } catch {
    return text; // the schema that reads it next refuses it, and says what it expects
  }
};
/** A list. Where Pulumi hands over text, the text is JSON. The default is an empty list. */
const list = (member: z.ZodType<string>, problem: string) => z.preprocess(json, z.array(member, problem)).default([]);
/**
 * Settings of a server: an object of names and values. Its default is an empty object.
 *
 * @param on what true becomes: PostgreSQL reads `on`, PgBouncer reads `1`
 * @param off what false becomes
 */
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
/** A list of extensions. One problem names all that are refused. */
const extensionNames = () => {
  const problem = "must be a list of names of extensions";
  const names = z.array(z.string(problem), problem).check(({ value, issues }) => {
    const message = refusedExtensions(value);
    if (message !== undefined) issues.push({ code: "custom", input: value, message });
  });
  return z.preprocess(json, names).default([]);
};
const furtherRole = z.strictObject(
  { access: roleAccess, connectionLimit: integer(1, 10_000, 5), pooled: flag(true) },
  "must be an object with access, and if wanted connectionLimit and pooled",
);
const roles = z
  .preprocess(json, z.record(roleName, furtherRole, "must be an object of role names and what each role is"))
  .default({});
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
    // SCRAM prepares a password by SASLprep. Drivers do that in different ways, but all of them leave printable ASCII
    // as it is.
    .regex(/^[\x20-\x7e]+$/, "must be printable ASCII");
const hostName = z
  .string()
  .regex(
    /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i,
    "is not a host name",
  );

/**
 * Every setting of a stack: key, type, unit, limits, default and meaning. `Pulumi.<stack>.yaml` names a setting as
 * `ai-workflow-database:<key>`. `npm run docs` makes docs/configuration.md and stack-settings.ts from this table.
 *
 * A default that depends on the stack is no part of the schema. Its meaning ends in `Default: …`, and check.ts fills it
 * in. A unit is the end of the key: MiB, Sec, Min, Hours, Days.
 */
export const settings = {
  profile: z
    .enum(Profile, 'must be "standard" or "ci"')
    .optional()
    .describe(
      "What the stack is for. A stack of the profile standard keeps its data. One of the profile ci is a server for tests: its data is in memory, a crash loses it, and test databases are copied from a template. Default: ci for stacks named ci-…, else standard.",
    ),
  expiresAfterHours: wholeNumber(0, 8_760)
    .optional()
    .describe(
      "Hours after its creation at which the stack expires. `aiwdb reap` removes stacks that have expired. 0: it never expires. Only stacks named ci-… and pr-… may expire. Default: 24 for stacks named ci-…, 168 for pr-…, else 0.",
    ),
  databaseName: z
    .string()
    // PgBouncer's entry for session mode has this name with "_session" behind it. PostgreSQL's limit is 63 characters.
    .regex(/^[a-z_][a-z0-9_]{0,54}$/, "must be 1 to 55 characters of a-z, 0-9 and _, not beginning with a digit")
    .refine((name) => !RESERVED_DATABASE_NAMES.has(name), "is reserved by PostgreSQL or PgBouncer")
    .default(STANDARD_DATABASE_NAME)
    .describe(
      "Name of the database. Every stack must have the same one: the package refuses stacks whose names differ.",
    ),
  rolloutPhase: integer(1, 4, 4).describe(
    "Last rollout phase whose migrations `up` applies: 1 foundation, 2 authentication, 3 application, 4 optimization.",
  ),
  protect: flag().describe("Refuse to delete the data volume and the certificate authority's key. `down` leaves both."),

  roles: roles.describe(
    "Further login roles, for people and programs such as reporting: an object of names. Each has `access` (`read`: what app_readonly may; `write`: what app_user may), and if wanted `connectionLimit` (connections at the same time; 5) and `pooled` (whether it may come through PgBouncer; true). Each gets a password, a client certificate and files of its own. Not in the profile ci.",
  ),
  appUserTemporary: flag().describe(
    "Let app_user make temporary tables. It can then also make temporary functions and types. Whoever has its password can use these against code that runs as the owner.",
  ),
  appUserStatementTimeoutSec: wholeNumber(0, 86_400)
    .optional()
    .describe(
      "Seconds that a statement of app_user may run before PostgreSQL cancels it (statement_timeout). The session goes on, and SET raises the limit. 0: no limit. Default: 120 with protect, else 0.",
    ),

  extensions: extensionNames().describe(
    "Names of extensions that the database has, such as pgcrypto (the list is below). `up` creates them in the schema public, before it applies migrations. It drops one that you take out of the list; if something in the database depends on it, `up` and the preview refuse.",
  ),

  postgresPort: integer(0, 65535, 0).describe(
    "Loopback port of PostgreSQL, for migrations and administration. 0: a port derived from the stack's name. If that port is taken, `up` takes the next one.",
  ),
  postgresMemoryMiB: integer(256, 1_048_576, 512).describe(
    "Memory limit of the PostgreSQL container in MiB. The package computes the server's buffers from it.",
  ),
  postgresCpus: decimal(0.1, 256, 1).describe(
    "CPU limit of the PostgreSQL container, in CPUs; 0.5 is half of one. The package computes the number of worker processes from it.",
  ),
  postgresMaxConnections: wholeNumber(10, 10_000)
    .optional()
    .describe(
      "Connections that PostgreSQL accepts at the same time (max_connections). Default: what the pooler may open (pgbouncerMaxDbConnections, pgbouncerSessionDbConnections and two connections of each PgBouncer process to look up passwords), 10 for direct clients, 3 for superusers and the connectionLimit of each of the setting roles that is not pooled; 85 with the other defaults. In the profile ci: 500.",
    ),
  postgresSettings: overrides("on", "off").describe(
    "PostgreSQL settings that replace the computed ones: an object of names and values. Settings that tune the server are accepted (the list is below); all others are refused.",
  ),
  postgresClientAddresses: list(clientAddress, "must be a list of IPv4 addresses and networks").describe(
    "IPv4 addresses and networks of containers and hosts that may connect to PostgreSQL directly, without PgBouncer. This machine may in any case.",
  ),

  pgbouncerPort: integer(0, 65535, 0).describe(
    "Port of PgBouncer at pgbouncerPublishAddress. 0: a port derived from the stack's name. If that port is taken, `up` takes the next one.",
  ),
  pgbouncerPublishAddress: z
    .ipv4("must be an IPv4 address")
    .default("127.0.0.1")
    .describe(
      "IPv4 address of the host at which the engine publishes PgBouncer's port. It publishes PostgreSQL's port at loopback only.",
    ),
  pgbouncerBindCertificates: flag().describe(
    "PgBouncer accepts a role's password only together with that role's certificate, as PostgreSQL does for direct connections. Each pooled role gets a PgBouncer process and a port of its own: app_user has pgbouncerPort, app_readonly the next port, and app_monitor the port after that.",
  ),
  pgbouncerMemoryMiB: integer(32, 65_536, 128).describe("Memory limit of the PgBouncer container in MiB."),
  pgbouncerCpus: decimal(0.1, 16, 1).describe(
    "CPU limit of the PgBouncer container, in CPUs; 0.5 is half of one. One PgBouncer process uses at most one CPU.",
  ),
  pgbouncerMaxClientConn: integer(1, 20_000, 250).describe(
    "Client connections that each PgBouncer process accepts (max_client_conn).",
  ),
  pgbouncerDefaultPoolSize: integer(1, 5_000, 30).describe(
    "Server connections that PgBouncer opens at most for each database and role (default_pool_size).",
  ),
  pgbouncerReservePoolSize: integer(0, 5_000, 10).describe(
    "Further server connections of a pool, for clients that wait longer than pgbouncerReservePoolTimeoutSec (reserve_pool_size). 0: none.",
  ),
  pgbouncerReservePoolTimeoutSec: integer(1, 3_600, 5).describe(
    "Seconds that a client waits before PgBouncer uses the reserve (reserve_pool_timeout).",
  ),
  pgbouncerMaxDbConnections: integer(1, 10_000, 50).describe(
    "Server connections that PgBouncer opens at most for transaction mode, all roles together (max_db_connections).",
  ),
  pgbouncerSessionDbConnections: integer(1, 10_000, 20).describe(
    "Server connections that PgBouncer opens at most for session mode, all roles together. They come on top of pgbouncerMaxDbConnections. A client in session mode holds one as long as it is connected; one more client waits for pgbouncerQueryWaitTimeoutSec and is then disconnected.",
  ),
  pgbouncerResetAfterTransaction: flag().describe(
    "After each transaction in transaction mode, PgBouncer takes back what the client left behind on the server connection: settings, temporary tables, advisory locks, LISTEN, SQL-level PREPARE, cursors WITH HOLD (server_reset_query_always). Statements that drivers prepare, and their plans, stay. It costs a further query for each transaction: up to half of the throughput of short queries.",
  ),
  pgbouncerServerCheckDelaySec: integer(0, 3_600, 30).describe(
    "PgBouncer checks a server connection before use if it has been idle for longer than this many seconds (server_check_delay). 0: it always checks.",
  ),
  pgbouncerServerConnectTimeoutSec: integer(1, 3_600, 15).describe(
    "Seconds in which PgBouncer must connect and log in to PostgreSQL. After that it gives the connection up (server_connect_timeout).",
  ),
  pgbouncerServerLoginRetrySec: decimal(0.05, 3_600, 0.1).describe(
    "Seconds that PgBouncer waits after a failed login at PostgreSQL, until it tries again for the same role and database (server_login_retry).",
  ),
  pgbouncerQueryTimeoutSec: integer(0, 86_400, 0).describe(
    "Seconds that a query may run before PgBouncer ends its client's connection (query_timeout). 0: no limit. appUserStatementTimeoutSec ends only the statement.",
  ),
  pgbouncerQueryWaitTimeoutSec: integer(0, 86_400, 30).describe(
    "Seconds that a query may wait for a server connection before PgBouncer disconnects its client (query_wait_timeout). 0: no limit.",
  ),
  pgbouncerClientLoginTimeoutSec: integer(1, 3_600, 60).describe(
    "Seconds in which a client must log in. After that PgBouncer disconnects it (client_login_timeout).",
  ),
  pgbouncerServerLifetimeSec: integer(0, 604_800, 3_600).describe(
    "Age in seconds from which PgBouncer closes a server connection that no client uses (server_lifetime). 0: PgBouncer uses each connection once.",
  ),
  pgbouncerServerIdleTimeoutSec: integer(0, 604_800, 600).describe(
    "Idle seconds after which PgBouncer closes a server connection (server_idle_timeout). 0: no limit.",
  ),
  pgbouncerMaxPreparedStatements: integer(1, 10_000, 200).describe(
    "Prepared statements that PgBouncer keeps for each server connection. With them, prepared statements work in transaction mode (max_prepared_statements).",
  ),
  pgbouncerSettings: overrides("1", "0").describe(
    "Further PgBouncer settings: an object of names and values. Settings that tune the pooler are accepted (the list is below); all others are refused.",
  ),

  maintenanceIntervalMin: integer(0, 10_080, 60).describe(
    "Minutes that the maintenance container waits between two runs. A run makes partitions ahead, carries out retention and refreshes the materialized views. Stacks of the profile standard whose rolloutPhase is 4 have this container. 0: there is none, and you run `aiwdb maintain` yourself.",
  ),

  healthCheckIntervalSec: integer(1, 3_600, 30).describe(
    "Seconds between two health checks of a container by the engine. `up` and `status` run the same check themselves, without waiting.",
  ),
  stopTimeoutSec: integer(10, 3_600, 120).describe(
    "Seconds that a container may take to stop before the engine kills it. PostgreSQL needs time to write a large buffer pool.",
  ),
  logMaxSizeMiB: integer(1, 10_240, 20).describe(
    "Size in MiB at which the engine begins a new log file of a container. It keeps three files.",
  ),
  networkSubnet: z
    .string()
    .regex(/^(\d{1,3}\.){3}\d{1,3}\/(2[0-8])$/, "must be an IPv4 network of /20 to /28, such as 10.213.7.0/28")
    .optional()
    .describe(
      "Subnet of the stack's network, in the notation address/length. Default: a subnet of 10.208.0.0/12, derived from the stack's name. If that one is taken, or a route of this machine, such as a VPN's, leads there, a first `up` takes the next one, also from 172.24.0.0/13 and 192.168.128.0/17.",
    ),

  certCaValidityDays: decimal(1, 36_500, 3_650).describe(
    "Days that the certificate authority is valid, rounded up to whole hours.",
  ),
  certLeafValidityDays: decimal(0.05, 3_650, 90).describe(
    "Days that server and client certificates are valid, rounded up to whole hours.",
  ),
  certRenewBeforeDays: decimal(0, 3_650, 30).describe(
    "Days before the end of a certificate from which `up` renews it.",
  ),
  certServerHostNames: list(hostName, "must be a list of host names").describe(
    "Further DNS names by which clients reach the servers. Both server certificates have them.",
  ),

  passwordVersion: integer(1, 1_000_000, 1).describe(
    "Version of the generated passwords. After you raise it, the next `up` replaces all of them.",
  ),
  ownerPassword: password()
    .optional()
    .describe("Password of ai_workflow_owner, as a secret. Without it the package generates one."),
  appUserPassword: password()
    .optional()
    .describe("Password of app_user, as a secret. Without it the package generates one."),
  appReadonlyPassword: password()
    .optional()
    .describe("Password of app_readonly, as a secret. Without it the package generates one."),
  appMonitorPassword: password()
    .optional()
    .describe("Password of app_monitor, as a secret. Without it the package generates one."),
} satisfies Record<string, z.ZodType>;

export type SettingName = keyof typeof settings;

/** The setting that gives a role its password, by role. */
export const PASSWORD_SETTINGS = {
  [ROLES.owner]: "ownerPassword",
  [ROLES.app]: "appUserPassword",
  [ROLES.readonly]: "appReadonlyPassword",
  [ROLES.monitor]: "appMonitorPassword",
} as const;

export type SecretSetting = (typeof PASSWORD_SETTINGS)[keyof typeof PASSWORD_SETTINGS];

/** Settings whose values no output and no log may show. */
export const SECRET_SETTINGS: readonly SecretSetting[] = Object.values(PASSWORD_SETTINGS);

/** All settings of a stack as its file has them. A key that is not in the table is refused. */
export const schema = z.strictObject(settings);

/** Settings as the schema reads them. It fills in the defaults that do not depend on the stack. */
export type Settings = z.output<typeof schema>;

/** A stack's checked settings, with all defaults filled in. */
export type StackConfig = Omit<Settings, DependentSetting> & {
  readonly stack: string;
  readonly profile: Profile;
  readonly expiresAfterHours: number;
  readonly networkSubnet: string;
  readonly postgresMaxConnections: number;
  readonly appUserStatementTimeoutSec: number;
};

/** Settings with a default that depends on the stack or on other settings. */
type DependentSetting =
  | "networkSubnet"
  | "profile"
  | "expiresAfterHours"
  | "postgresMaxConnections"
  | "appUserStatementTimeoutSec";

/** Whether a stack has the maintenance container. It calls `maintenance.run()`, which a migration of phase 4 makes. */
export function hasMaintenance(config: StackConfig): boolean {
  return config.profile === Profile.standard && config.rolloutPhase === 4 && config.maintenanceIntervalMin > 0;
}
