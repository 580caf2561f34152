import * as pulumi from "@pulumi/pulumi";
import { clientPaths, StackCertificates } from "./components/certificates.ts";
import { givenPassword, parseArguments } from "./arguments.ts";
import { hasMaintenance, PASSWORD_SETTINGS } from "./settings/table.ts";
import type { StackSettings } from "./settings/stack-settings.ts";
import { Database, type RolePasswords } from "./components/database.ts";
import { Maintenance } from "./components/maintenance.ts";
import { MIGRATIONS_FOLDER, readMigrations } from "../migrate/chain/files.ts";
import { engineNames, sessionDatabase } from "./settings/names.ts";
import { LOGIN_ROLES, type LoginRole } from "../database/access/rights.ts";
import { CLIENT_ROLES, POOLED_ROLES, ROLES } from "../database/access/roles.ts";
import { DatabaseNetwork } from "./components/network.ts";
import { PgBouncer } from "./components/pgbouncer.ts";
import { PostgresServer } from "./components/postgres.ts";
import { keepTracesReadable } from "./readable-errors.ts";
import { roleListener } from "./settings/listeners.ts";
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
   * Path of a folder on this machine, outside the checkout. It gets the client roles' certificates and keys. It is made
   * if it is not there.
   */
  readonly clientDirectory: pulumi.Input<string>;
  /**
   * Path of the folder with the migrations, as plain text: its files are read before any resource is registered.
   *
   * @default - the package's own migrations
   * @throws StateError listing every problem of the files
   */
  readonly migrationsFolder?: string;
  /**
   * Names of roles, and of the database, that exist in the cluster while the state does not know them. This run imports
   * them into the state. They are left by a run that was killed, or by a state that was lost. For one run only.
   *
   * @default - none: a run stops at what exists already
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
   */
  readonly resetPasswords?: boolean;
  /**
   * Identity of the stack on the engine, as "<id> <user>@<host>", for a state from a backup that has no identity yet.
   * For one run only.
   *
   * @default - a state without an identity gets a new one
   */
  readonly stateIdentity?: string | undefined;
  /**
   * Replace the certificate authority, one phase a run. The value is any text: a text that differs from the last run's
   * begins the next phase. The first phase makes a new authority, which everybody trusts beside the old one. In the
   * second the new one signs. In the third nobody trusts the old one any more. With `hold`, a run begins no phase and
   * renews nothing: it finishes a phase that was cut off.
   *
   * @default - the authority stays in its phase
   */
  readonly rotateAuthority?: string | undefined;
  /**
   * Replace every server's and client's certificate now. The value is any text: a text that differs from the last run's
   * replaces them.
   *
   * @default - they are replaced when they are due (`certRenewBeforeDays`)
   */
  readonly rotateCertificates?: string | undefined;
}

/**
 * A whole stack: certificates, network, PostgreSQL 16, PgBouncer and the migrated database.
 *
 * @throws ConfigError listing every problem of the arguments, before any resource is registered
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
    // For this run only.
    const run = { takeOver: args.resetPasswords, stateIdentity: args.stateIdentity };
    const identity = new StateIdentity(`${name}-identity`, { stack: config.stack, run }, child);
    const { network } = new DatabaseNetwork(`${name}-network`, { config, identity }, child);

    const passwordOf = (role: LoginRole): pulumi.Input<string> => {
      const setting = role === ROLES.pooler ? undefined : PASSWORD_SETTINGS[role];
      const given = setting && args[setting];
      return setting !== undefined && given !== undefined
        ? givenPassword(config.stack, setting, given)
        : new Password(`${name}-password-${role}`, { version: config.passwordVersion }, child).password;
    };
    const passwords = Object.fromEntries(LOGIN_ROLES.map((role) => [role, passwordOf(role)])) as RolePasswords;

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
      // Last, and so the first that goes.
      { ...child, dependsOn: [server, pooler, database, ...maintenance] },
    );
    const { postgres, pgbouncer, maintenance: maintenanceName } = engineNames(config.stack);

    this.connections = pulumi
      .all([server.host, server.port, pooler.host, pooler.port, database.databaseName, certificates.clientDirectory])
      .apply(([directHost, directPort, poolerHost, poolerPort, databaseName, directory]) => ({
        stack: config.stack,
        database: databaseName,
        direct: { host: directHost, port: directPort, database: databaseName },
        transaction: { host: poolerHost, port: poolerPort, database: databaseName },
        session: { host: poolerHost, port: poolerPort, database: sessionDatabase(databaseName) },
        containers: { postgres, pgbouncer, ...(hasMaintenance(config) ? { maintenance: maintenanceName } : {}) },
        ...(config.pgbouncerBindCertificates
          ? {
              rolePorts: Object.fromEntries(POOLED_ROLES.map((role) => [role, poolerPort + roleListener(role).offset])),
            }
          : {}),
        roles: [...CLIENT_ROLES],
        certificates: Object.fromEntries(CLIENT_ROLES.map((role) => [role, clientPaths(directory, role)])),
      }));
    const all: Record<string, pulumi.Input<string>> = { ...passwords, [ROLES.superuser]: server.superuser.password };
    this.passwords = pulumi.secret(pulumi.all(all));
    this.registerOutputs({ connections: this.connections, passwords: this.passwords });
  }
}

/** Where a server is reached. */
interface Address {
  readonly host: string;
  readonly port: number;
  readonly database: string;
}

/** Names of the stack's containers. */
interface Containers {
  readonly postgres: string;
  readonly pgbouncer: string;
  /** Absent without a maintenance container. */
  readonly maintenance?: string;
}

/** Paths of a role's files; the names libpq's connection parameters want. */
interface CertificatePaths {
  readonly sslRootCert: string;
  readonly sslCert: string;
  readonly sslKey: string;
}

/** Stack output `connections`. */
export interface ConnectionInfo {
  readonly stack: string;
  readonly database: string;
  /** PostgreSQL itself, on loopback. */
  readonly direct: Address;
  /** PgBouncer in transaction mode. */
  readonly transaction: Address;
  /** PgBouncer in session mode. */
  readonly session: Address;
  /** PgBouncer's port for each pooled role. Only where each role has its own (`pgbouncerBindCertificates`). */
  readonly rolePorts?: Readonly<Record<string, number>>;
  readonly containers: Containers;
  readonly roles: string[];
  /** Paths of certificates and keys by role. */
  readonly certificates: Readonly<Record<string, CertificatePaths>>;
}
