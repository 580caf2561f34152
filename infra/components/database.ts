import * as postgresql from "@pulumi/postgresql";
import * as pulumi from "@pulumi/pulumi";
import type { StackCertificates } from "./certificates.ts";
import type { StackConfig } from "../settings/table.ts";
import { DIRECT_CONNECTIONS } from "../settings/check.ts";
import { upToPhase, type Phase } from "../../migrate/chain/phases.ts";
import type { Migration } from "../../migrate/chain/files.ts";
import { manifestOf } from "../../migrate/chain/manifest.ts";
import type { Environment } from "../../database/environment.ts";
import {
  CONNECTING_ROLES,
  DEFAULT_PRIVILEGES,
  LOGIN_ROLES,
  type LoginRole,
  MEMBERSHIPS,
} from "../../database/access/rights.ts";
import { POOLED_ROLES, ROLES } from "../../database/access/roles.ts";
import type { PostgresServer } from "./postgres.ts";
import { SCRAM_ITERATIONS } from "../../database/scram.ts";
import { furtherRoles, modelOf } from "../settings/further-roles.ts";
import { poolerOf } from "../settings/listeners.ts";
import {
  DatabaseBaseline,
  Extensions,
  FurtherRole,
  LoginRoles,
  Migrations,
  ScramSecret,
  type ConnectionInput,
} from "../resources.ts";

/** Passwords of the roles that log in; further roles' too. */
export type RolePasswords = Readonly<Record<LoginRole, pulumi.Input<string>> & Record<string, pulumi.Input<string>>>;

export interface DatabaseArgs {
  readonly config: StackConfig;
  readonly certificates: StackCertificates;
  readonly server: PostgresServer;
  readonly passwords: RolePasswords;
  /** Folder of the migrations, and what is in it. */
  readonly migrationsFolder: string;
  readonly migrations: readonly Migration[];
  /** Import ids of objects that exist in the cluster although the state does not know them. */
  readonly adopt: readonly string[];
}

/** Roles, the one database, its extension, rights and migrations. */
export class Database extends pulumi.ComponentResource {
  /** Name of the database, known once its migrations are applied. */
  readonly databaseName: pulumi.Output<string>;

  constructor(name: string, args: DatabaseArgs, opts?: pulumi.ComponentResourceOptions) {
    super("aiwdb:index:Database", name, {}, opts);
    const { config, server, passwords } = args;

    const provider = new postgresql.Provider(
      `${name}-provider`,
      {
        host: server.host,
        port: server.port,
        username: ROLES.superuser,
        password: server.superuser.password,
        sslmode: "verify-full",
        sslrootcert: server.superuser.sslRootCert,
        clientcert: { cert: server.superuser.sslCert, key: server.superuser.sslKey },
        superuser: true,
        // Without it the provider connects while it is only being configured, in previews too.
        expectedVersion: "16.0.0",
        connectTimeout: 15,
        maxConnections: 4,
      },
      { parent: this },
    );
    // What lives inside the cluster goes with its volume: nothing is dropped role by role before that.
    const inCluster: pulumi.CustomResourceOptions = { parent: this, deletedWith: server.dataVolume };
    const inside = { ...inCluster, provider };
    const adopt = (id: string) =>
      args.adopt.includes(id) ? { import: id, ignoreChanges: ["password", "template"] } : { ignoreChanges: [] };

    // The server's own setting, which it applies only to passwords that it is given in clear.
    const iterations = Number(config.postgresSettings["scram_iterations"] ?? SCRAM_ITERATIONS);
    // The provider gets SCRAM secrets, never a password: it writes the value into its statement, and doubles
    // backslashes in it.
    const secretOf = (roleName: string) => {
      const inputs = { password: passwords[roleName] ?? "", iterations };
      return [roleName, new ScramSecret(`${name}-secret-${roleName}`, inputs, { parent: this }).secret] as const;
    };
    const further = furtherRoles(config).map((each) => ({ ...each, secret: secretOf(each.name)[1] }));
    const secrets = Object.fromEntries(LOGIN_ROLES.map(secretOf)) as Record<LoginRole, pulumi.Output<string>>;
    const allSecrets = { ...secrets, ...Object.fromEntries(further.map((each) => [each.name, each.secret])) };
    const loginRoles = new LoginRoles(
      `${name}-login-roles`,
      { container: server.container, secrets: allSecrets, superuserPassword: server.superuser.password },
      inCluster,
    );
    const role = (roleName: string, roleArgs: Partial<postgresql.RoleArgs>) => {
      const { ignoreChanges, ...adopted } = adopt(roleName);
      const options = {
        ...inside,
        ...adopted,
        // Settings that somebody gave the role, as far as `LoginRoles` leaves them.
        ignoreChanges: [...ignoreChanges, "statementTimeout", "idleInTransactionSessionTimeout", "searchPaths"],
        dependsOn: loginRoles,
        additionalSecretOutputs: ["password"],
      };
      return new postgresql.Role(`${name}-role-${roleName}`, { name: roleName, ...roleArgs }, options);
    };
    // All connections that the pooler may open, and some direct ones. Without a limit one role could take every
    // connection, the owner's too. Test suites connect directly, and often.
    const pooled = config.pgbouncerMaxDbConnections + config.pgbouncerSessionDbConnections;
    const connectionLimit = config.profile === "ci" ? -1 : pooled + DIRECT_CONNECTIONS / 2;
    const login = (roleName: LoginRole) =>
      role(roleName, {
        login: true,
        password: secrets[roleName],
        ...((POOLED_ROLES as readonly string[]).includes(roleName) ? { connectionLimit } : {}),
        ...(MEMBERSHIPS[roleName] ? { roles: [...MEMBERSHIPS[roleName]] } : {}),
      });
    const roles = Object.fromEntries(LOGIN_ROLES.map((roleName) => [roleName, login(roleName)])) as Record<
      LoginRole,
      postgresql.Role
    >;
    const owner = roles[ROLES.owner];
    const lookupOwner = role(ROLES.lookupOwner, { login: false });
    for (const { name: roleName, access, connectionLimit, secret } of further)
      new FurtherRole(
        `${name}-role-${roleName}`,
        { container: server.container, name: roleName, memberOf: modelOf(access), connectionLimit, secret },
        { ...inCluster, dependsOn: [loginRoles, ...Object.values(roles)] },
      );

    const database = new postgresql.Database(
      `${name}-database`,
      {
        name: config.databaseName,
        owner: owner.name,
        template: "template0",
        encoding: "UTF8",
        lcCollate: "C.UTF-8",
        lcCtype: "C.UTF-8",
      },
      { ...inside, ...adopt(config.databaseName), protect: config.protect },
    );
    const statements = new postgresql.Extension(
      `${name}-pg-stat-statements`,
      { name: "pg_stat_statements", database: database.name, schema: "public" },
      inside,
    );
    const superuser: ConnectionInput = { ...server.superuser, database: database.name };
    const baseline = new DatabaseBaseline(
      `${name}-baseline`,
      {
        connection: superuser,
        owner: lookupOwner.name,
        caller: roles[ROLES.pooler].name,
        roles: [...POOLED_ROLES, ...further.filter(({ pooled }) => pooled).map((each) => each.name)],
        environment: environmentOf(config),
        appStatementTimeoutSec: config.appUserStatementTimeoutSec,
      },
      { ...inCluster, dependsOn: [...Object.values(roles), statements] },
    );

    const extensions = new Extensions(
      `${name}-extensions`,
      { container: server.container, database: database.name, names: [...new Set(config.extensions)].toSorted() },
      { ...inCluster, dependsOn: baseline },
    );

    // PUBLIC has lost its rights in the baseline, so every role that may connect is named.
    const connecting = CONNECTING_ROLES.map(
      (roleName) =>
        new postgresql.Grant(
          `${name}-connect-${roleName}`,
          {
            database: database.name,
            role: roles[roleName].name,
            objectType: "database",
            privileges: roleName === ROLES.app && config.appUserTemporary ? ["CONNECT", "TEMPORARY"] : ["CONNECT"],
          },
          { ...inside, dependsOn: baseline },
        ),
    );
    const byDefault = DEFAULT_PRIVILEGES.map(
      ({ role: roleName, objectType, privileges }) =>
        new postgresql.DefaultPrivileges(
          `${name}-default-${roleName}-${objectType}`,
          {
            database: database.name,
            owner: owner.name,
            role: roles[roleName].name,
            schema: "public",
            objectType,
            privileges: [...privileges],
          },
          { ...inside, dependsOn: baseline },
        ),
    );

    const migrations = new Migrations(
      `${name}-migrations`,
      {
        connection: {
          ...superuser,
          user: owner.name,
          password: passwords[ROLES.owner],
          ...args.certificates.pathsFor(ROLES.owner),
        },
        folder: args.migrationsFolder,
        pooler: poolerOf(config),
        ...manifestOf(upToPhase(args.migrations, config.rolloutPhase as Phase)),
      },
      { ...inCluster, dependsOn: [statements, extensions, ...connecting, ...byDefault] },
    );
    this.databaseName = pulumi.all([database.name, migrations.id]).apply(([databaseName]) => databaseName);
    this.registerOutputs({ databaseName: this.databaseName });
  }
}

function environmentOf({ protect, profile }: StackConfig): Environment {
  if (protect) return "production";
  return profile === "ci" ? "test" : "development";
}
