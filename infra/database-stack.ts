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
 * What a program says of its stack. Settings are plain values and are checked before any resource is registered; passwords must be
 * secret outputs.
 */
export interface DatabaseStackArgs extends StackSettings {
  /**
   * Name of the stack: a part of every name on the engine.
   *
   * @throws ConfigError unless it is 1 to 30 characters of a-z, 0-9 and -, beginning with a letter
   */
  readonly stack: string;
  /** Folder on this machine for the client roles' certificates and keys, outside the checkout. Made if it is not there. */
  readonly clientDirectory: pulumi.Input<string>;
  /**
   * Folder of the migrations. A plain path: the chain is read before any resource is registered.
   *
   * @default - the package's own
   * @throws StateError listing every problem of the files
   */
  readonly migrationsFolder?: string;
  /**
   * Roles and the database, by name, that exist in the cluster without the state knowing them, and are taken over into it: after
   * a run that was killed, or a state that was lost. For one run only.
   *
   * @default - none: what exists already fails
   */
  readonly adopt?: string[];
  /**
   * Take over a stack whose state was lost: keep its data, and give every role a new password. For one run only, as it never
   * gets into the state. The stack's containers and network must have been removed; roles and the database are named in `adopt`.
   * `aiwdb up --reset-passwords` does both. `pulumi destroy` runs no program: for it, AIWDB_TAKE_OVER=1 in the environment says
   * the same, as `aiwdb down --take-over` sets it.
   *
   * @default false: a stack of another state stops the run
   */
  readonly resetPasswords?: boolean;
  /**
   * Identity that the stack on the engine has, "<id> <user>@<host>", for a state from a backup that is older than it. For one run
   * only.
   *
   * @default - a new one is made where the state has none
   */
  readonly stateIdentity?: string | undefined;
  /**
   * Replace the certificate authority by one of three phases. Any text; one that differs from that of the run before is one phase further:
   * a new authority is trusted too, then signs, then the old one is trusted no more. With `hold` a run goes no further and renews
   * nothing: it finishes a phase that was cut off.
   *
   * @default - the authority stays in the phase that it is in
   */
  readonly rotateAuthority?: string | undefined;
  /**
   * Replace every server's and client's certificate now. Any text; one that differs from that of the run before replaces them.
   *
   * @default - they are replaced when they are due (`certRenewBeforeDays`)
   */
  readonly rotateCertificates?: string | undefined;
}

/**
 * The whole: certificates, network, PostgreSQL 16, PgBouncer and the migrated database.
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
  /** By pooled role, PgBouncer's port for it where each has its own (`pgbouncerBindCertificates`). */
  readonly rolePorts?: Readonly<Record<string, number>>;
  readonly containers: Containers;
  readonly roles: string[];
  /** Paths of certificates and keys by role. */
  readonly certificates: Readonly<Record<string, CertificatePaths>>;
}
