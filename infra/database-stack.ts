import * as pulumi from "@pulumi/pulumi";
import { clientPaths, clientRoles, StackCertificates } from "./components/certificates.ts";
import { givenPassword, parseArguments } from "./arguments.ts";
import { furtherRoles } from "./settings/further-roles.ts";
import { hasMaintenance, PASSWORD_SETTINGS } from "./settings/table.ts";
import type { StackSettings } from "./settings/stack-settings.ts";
import { Database, type RolePasswords } from "./components/database.ts";
import { Maintenance } from "./components/maintenance.ts";
import { MIGRATIONS_FOLDER, readMigrations } from "../migrate/chain/files.ts";
import { engineNames, sessionDatabase } from "./settings/names.ts";
import { LOGIN_ROLES } from "../database/access/rights.ts";
import { POOLED_ROLES, ROLES } from "../database/access/roles.ts";
import { DatabaseNetwork } from "./components/network.ts";
import { PgBouncer } from "./components/pgbouncer.ts";
import { PostgresServer } from "./components/postgres.ts";
import { keepTracesReadable } from "./readable-errors.ts";
import { roleListener, serverConnections } from "./settings/listeners.ts";
import { DataOwner, Password, StateIdentity } from "./resources.ts";

keepTracesReadable();

/**
 * Arguments of a `DatabaseStack`. Settings are plain values: they are checked before any resource is registered.
 * Passwords must be secret outputs.
 */
export interface DatabaseStackArgs extends StackSettings {
  /**
   * Name of the stack. It becomes a part of every container's, volume's and network's name on the engine.
   *
   * @throws ConfigError unless it is 1 to 30 characters of a-z, 0-9 and -, beginning with a letter
   */
  readonly stack: string;
  /**
   * Path of a folder on this machine, outside the checkout. The stack writes the client roles' certificates and keys
   * into it, and makes the folder if it is not there.
   *
   * @throws ConfigError unless it is text or an output
   */
  readonly clientDirectory: pulumi.Input<string>;
  /**
   * Path of the folder with the migrations. It must be a string and no output, because the stack reads the files before
   * it registers any resource.
   *
   * @default - the package's own migrations
   * @throws ConfigError unless it is text
   * @throws StateError listing every problem of the files
   */
  readonly migrationsFolder?: string;
  /**
   * Names of roles, and of the database, that exist in the cluster but not in the state. A run that was killed, or a
   * state that was lost, leaves them behind. This run imports them into the state. For one run only.
   *
   * @default - none: a run stops at what exists already
   * @throws ConfigError unless it is a list of names
   */
  readonly adopt?: string[];
  /**
   * Take over a stack whose state was lost. The data stays, and every role gets a new password. For one run only: the
   * provider keeps it out of the state.
   *
   * Remove the stack's containers and network first, and name its roles and database in `adopt`. `aiwdb up
   * --reset-passwords` does both by itself. `pulumi destroy` and `pulumi refresh` run no program, so they do
   * not see this argument. For them, set AIWDB_TAKE_OVER=1 in the environment, as `aiwdb down --take-over` does.
   *
   * @default false - a stack that belongs to another state stops the run
   * @throws ConfigError unless it is true or false
   */
  readonly resetPasswords?: boolean;
  /**
   * Identity of the stack's objects on the engine, in the form "<id> <user>@<host>". Give it where the state comes from
   * a backup that has no identity. For one run only.
   *
   * @default - a state without an identity gets a new one
   * @throws ConfigError unless it is text
   */
  readonly stateIdentity?: string | undefined;
  /**
   * Replace the certificate authority. It takes three phases, and each run does one. The value is any text: a text that
   * differs from the last run's begins the next phase. The first phase makes a new authority, and everybody trusts
   * both. In the second phase the new authority signs all certificates. In the third phase nobody trusts the old one
   * any more. The text `hold` begins no phase and renews nothing: the run only finishes a phase that was cut off.
   *
   * @default - the authority stays in its phase
   * @throws ConfigError unless it is text
   */
  readonly rotateAuthority?: string | undefined;
  /**
   * Replace the certificates of all servers and clients now. The value is any text: the run replaces them if the text
   * differs from the last run's.
   *
   * @default - the first run within `certRenewBeforeDays` of their end replaces them
   * @throws ConfigError unless it is text
   */
  readonly rotateCertificates?: string | undefined;
}

/**
 * A whole stack: certificates, network, PostgreSQL 16, PgBouncer and the migrated database.
 *
 * @throws ConfigError listing every problem of the arguments, before any resource is registered
 * @throws StateError listing every problem of the migration files, before any resource is registered
 */
export class DatabaseStack extends pulumi.ComponentResource {
  /** What clients need to connect, without secrets. */
  readonly connections: pulumi.Output<ConnectionInfo>;
  /** Passwords by role; secret. */
  readonly passwords: pulumi.Output<Record<string, string>>;

  constructor(name: string, args: DatabaseStackArgs, opts?: pulumi.ComponentResourceOptions) {
    const config = parseArguments(args);
    const { clientDirectory, rotateAuthority, rotateCertificates } = args;
    const migrationsFolder = args.migrationsFolder ?? MIGRATIONS_FOLDER;
    const migrations = readMigrations(migrationsFolder);
    super("aiwdb:index:DatabaseStack", name, {}, opts);
    const child = { parent: this };

    const certificates = new StackCertificates(
      `${name}-certificates`,
      { config, clientDirectory, rotateAuthority, rotateCertificates },
      child,
    );
    // What the user said for this run. It does not get into the state.
    const run = { takeOver: args.resetPasswords, stateIdentity: args.stateIdentity };
    const identity = new StateIdentity(`${name}-identity`, { stack: config.stack, run }, child);
    const { network } = new DatabaseNetwork(`${name}-network`, { config, identity }, child);

    const passwordOf = (role: string): pulumi.Input<string> => {
      const setting = Object.hasOwn(PASSWORD_SETTINGS, role)
        ? PASSWORD_SETTINGS[role as keyof typeof PASSWORD_SETTINGS]
        : undefined;
      const given = setting && args[setting];
      return setting !== undefined && given !== undefined
        ? givenPassword(config.stack, setting, given)
        : new Password(`${name}-password-${role}`, { version: config.passwordVersion }, child).password;
    };
    const loginRoles = [...LOGIN_ROLES, ...furtherRoles(config).map((role) => role.name)];
    const passwords = Object.fromEntries(loginRoles.map((role) => [role, passwordOf(role)])) as RolePasswords;

    const ofServers = { config, certificates, identity, network, run };
    const server = new PostgresServer(`${name}-postgres`, ofServers, child);
    const poolerPassword = passwords[ROLES.pooler];
    const pooler = new PgBouncer(`${name}-pgbouncer`, { ...ofServers, poolerPassword }, child);
    const database = new Database(
      `${name}-database`,
      { config, certificates, server, passwords, migrationsFolder, migrations, adopt: args.adopt ?? [] },
      child,
    );
    const ofMaintenance = {
      ...ofServers,
      image: server.image,
      ownerPassword: passwords[ROLES.owner],
      databaseName: database.databaseName,
    };
    const maintenance = hasMaintenance(config) ? [new Maintenance(`${name}-maintenance`, ofMaintenance, child)] : [];
    new DataOwner(
      `${name}-data-owner`,
      { stack: config.stack, container: server.container, identity: identity.text },
      // Pulumi makes it after all others, and so removes it before them.
      { ...child, dependsOn: [server, pooler, database, ...maintenance] },
    );
    const { postgres, pgbouncer, maintenance: maintenanceName } = engineNames(config.stack);

    this.connections = pulumi
      .all([server.host, server.port, pooler.host, pooler.port, database.databaseName, certificates.clientDirectory])
      .apply(([directHost, directPort, poolerHost, poolerPort, databaseName, directory]) => ({
        stack: config.stack,
        database: databaseName,
        direct: { host: directHost, port: directPort, database: databaseName },
        transaction: {
          host: poolerHost,
          port: poolerPort,
          database: databaseName,
          serverConnections: serverConnections(config, "transaction"),
        },
        session: {
          host: poolerHost,
          port: poolerPort,
          database: sessionDatabase(databaseName),
          serverConnections: serverConnections(config, "session"),
        },
        containers: { postgres, pgbouncer, ...(hasMaintenance(config) ? { maintenance: maintenanceName } : {}) },
        ...(config.pgbouncerBindCertificates
          ? {
              rolePorts: Object.fromEntries(POOLED_ROLES.map((role) => [role, poolerPort + roleListener(role).offset])),
            }
          : {}),
        roles: clientRoles(config),
        certificates: Object.fromEntries(clientRoles(config).map((role) => [role, clientPaths(directory, role)])),
      }));
    const all: Record<string, pulumi.Input<string>> = { ...passwords, [ROLES.superuser]: server.superuser.password };
    this.passwords = pulumi.secret(pulumi.all(all));
    this.registerOutputs({ connections: this.connections, passwords: this.passwords });
  }
}

/** Where clients reach a server. */
interface Address {
  readonly host: string;
  readonly port: number;
  readonly database: string;
}

interface PooledAddress extends Address {
  /**
   * Server connections that the clients of a role may have at the same time, by role. A stack that an older release
   * brought up has no such output.
   */
  readonly serverConnections?: Readonly<Record<string, number>>;
}

/** Names of the stack's containers. */
interface Containers {
  readonly postgres: string;
  readonly pgbouncer: string;
  /** Absent where the stack has no such container. */
  readonly maintenance?: string;
}

/**
 * Paths of a role's files, for libpq's parameters `sslrootcert`, `sslcert` and `sslkey`.
 *
 * https://www.postgresql.org/docs/16/libpq-connect.html#LIBPQ-PARAMKEYWORDS
 */
interface CertificatePaths {
  readonly sslRootCert: string;
  readonly sslCert: string;
  readonly sslKey: string;
}

/** What clients need to connect, without secrets. It is the stack's output `connections`. */
export interface ConnectionInfo {
  /** Name of the stack. */
  readonly stack: string;
  /** Name of the database. */
  readonly database: string;
  /** PostgreSQL itself, on loopback. */
  readonly direct: Address;
  /** PgBouncer in transaction mode. */
  readonly transaction: PooledAddress;
  /** PgBouncer in session mode. */
  readonly session: PooledAddress;
  /** PgBouncer's port for each pooled role. Only where each role has its own (`pgbouncerBindCertificates`). */
  readonly rolePorts?: Readonly<Record<string, number>>;
  readonly containers: Containers;
  /** Roles that have a certificate for clients. */
  readonly roles: string[];
  /** Paths of certificates and keys, by role. */
  readonly certificates: Readonly<Record<string, CertificatePaths>>;
}
