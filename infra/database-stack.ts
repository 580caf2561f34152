import path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { clientPaths, StackCertificates } from "./components/certificates.ts";
import { hasMaintenance, SECRET_SETTINGS } from "./settings/table.ts";
import { configError, parseConfig } from "./settings/check.ts";
import { Database, type RolePasswords } from "./components/database.ts";
import { Maintenance } from "./components/maintenance.ts";
import { readMigrations } from "../migrate/chain/files.ts";
import { engineNames, sessionDatabase } from "./settings/names.ts";
import { CLIENT_ROLES, POOLED_ROLES, ROLES } from "../database/access/roles.ts";
import { DatabaseNetwork } from "./components/network.ts";
import { PgBouncer } from "./components/pgbouncer.ts";
import { PostgresServer } from "./components/postgres.ts";
import { keepTracesReadable } from "./readable-errors.ts";
import { roleListener } from "./settings/listeners.ts";
import { DataOwner, Password, StateIdentity } from "./resources.ts";
import { PACKAGE_ROOT } from "../base/versions.ts";

keepTracesReadable();

const PACKAGE_MIGRATIONS = path.join(PACKAGE_ROOT, "migrations");

export interface DatabaseStackArgs {
  /** Stack name; part of every name on the engine. */
  readonly stack: string;
  /** Settings by the keys of docs/configuration.md, as plain values; secrets aside. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Passwords that are given instead of generated, by role; must be secret outputs. */
  readonly passwords?: Partial<RolePasswords>;
  /** Folder of the migrations. @default the package's own */
  readonly migrationsFolder?: string;
  /** Folder on this machine for client certificates, outside the checkout. */
  readonly clientDirectory: string;
}

/**
 * The whole: certificates, network, PostgreSQL 16, PgBouncer and the migrated database.
 *
 * @throws ConfigError listing every problem of the settings, before any resource is registered
 */
export class DatabaseStack extends pulumi.ComponentResource {
  /** What clients need to connect, without secrets. */
  readonly connections: pulumi.Output<ConnectionInfo>;
  /** Passwords by role; secret. */
  readonly passwords: pulumi.Output<Record<string, string>>;

  constructor(name: string, args: DatabaseStackArgs, opts?: pulumi.ComponentResourceOptions) {
    const config = parseConfig(args.stack, args.settings);
    refusePasswords(args);
    const migrationsFolder = args.migrationsFolder ?? PACKAGE_MIGRATIONS;
    const migrations = readMigrations(migrationsFolder);
    super("aiwdb:index:DatabaseStack", name, {}, opts);
    const child = { parent: this };

    const certificates = new StackCertificates(
      `${name}-certificates`,
      { config, clientDirectory: args.clientDirectory },
      child,
    );
    const identity = new StateIdentity(`${name}-identity`, { stack: config.stack }, child);
    const { network } = new DatabaseNetwork(`${name}-network`, { config, identity }, child);

    const passwordOf = (role: keyof RolePasswords): pulumi.Input<string> =>
      args.passwords?.[role] ??
      new Password(`${name}-password-${role}`, { version: config.passwordVersion }, child).password;
    const passwords: RolePasswords = {
      [ROLES.owner]: passwordOf(ROLES.owner),
      [ROLES.app]: passwordOf(ROLES.app),
      [ROLES.readonly]: passwordOf(ROLES.readonly),
      [ROLES.monitor]: passwordOf(ROLES.monitor),
      [ROLES.pooler]: passwordOf(ROLES.pooler),
    };

    const server = new PostgresServer(`${name}-postgres`, { config, certificates, identity, network }, child);
    const pooler = new PgBouncer(
      `${name}-pgbouncer`,
      { config, certificates, identity, network, poolerPassword: passwords[ROLES.pooler] },
      child,
    );
    const database = new Database(
      `${name}-database`,
      { config, certificates, server, passwords, migrationsFolder, migrations },
      child,
    );

    const maintenance = hasMaintenance(config)
      ? new Maintenance(
          `${name}-maintenance`,
          {
            config,
            certificates,
            identity,
            network,
            image: server.image,
            ownerPassword: passwords[ROLES.owner],
            databaseName: database.databaseName,
          },
          child,
        )
      : undefined;
    new DataOwner(
      `${name}-data-owner`,
      { stack: config.stack, container: server.container, identity: identity.text },
      // Last, and so the first that goes.
      { ...child, dependsOn: [server, pooler, database, ...(maintenance ? [maintenance] : [])] },
    );
    const names = engineNames(config.stack);

    this.connections = pulumi
      .all([server.host, server.port, pooler.host, pooler.port, database.databaseName, certificates.clientDirectory])
      .apply(([directHost, directPort, poolerHost, poolerPort, databaseName, directory]) => ({
        stack: config.stack,
        database: databaseName,
        direct: { host: directHost, port: directPort, database: databaseName },
        transaction: { host: poolerHost, port: poolerPort, database: databaseName },
        session: { host: poolerHost, port: poolerPort, database: sessionDatabase(databaseName) },
        containers: {
          postgres: names.postgres,
          pgbouncer: names.pgbouncer,
          ...(hasMaintenance(config) ? { maintenance: names.maintenance } : {}),
        },
        ...(config.pgbouncerBindCertificates
          ? {
              rolePorts: Object.fromEntries(POOLED_ROLES.map((role) => [role, poolerPort + roleListener(role).offset])),
            }
          : {}),
        roles: [...CLIENT_ROLES],
        certificates: Object.fromEntries(CLIENT_ROLES.map((role) => [role, clientPaths(directory, role)])),
      }));
    this.passwords = pulumi.secret(
      pulumi.all({ ...passwords, [ROLES.superuser]: server.superuser.password }) as pulumi.Output<
        Record<string, string>
      >,
    );
    this.registerOutputs({ connections: this.connections, passwords: this.passwords });
  }
}

interface Address {
  readonly host: string;
  readonly port: number;
  readonly database: string;
}

/** A password among the settings would be in clear in the program, and would not be used. */
function refusePasswords({ stack, settings }: DatabaseStackArgs): void {
  const problems = SECRET_SETTINGS.filter((key) => Object.hasOwn(settings, key)).map((key) => ({
    subject: key,
    problem: "is a password, and the settings of a DatabaseStack are plain values",
    remedy: "Hand it over in `passwords`, as a secret output.",
  }));
  if (problems.length > 0) throw configError(stack, problems);
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
  readonly containers: { readonly postgres: string; readonly pgbouncer: string; readonly maintenance?: string };
  readonly roles: readonly string[];
  /** Paths of certificates and keys by role. */
  readonly certificates: Readonly<Record<string, { sslRootCert: string; sslCert: string; sslKey: string }>>;
}
