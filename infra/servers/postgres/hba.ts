import { addressIn } from "../../settings/addresses.ts";
import { hasMaintenance, type StackConfig } from "../../settings/table.ts";
import { TEMPLATE_DATABASE_PREFIX, TEST_DATABASE_PREFIX } from "../../settings/names.ts";
import { POOLED_ROLES, ROLES } from "../../../database/access/roles.ts";
import { identifier } from "../../../database/quote.ts";
import { furtherRoles, pooledFurtherRoles } from "../../settings/further-roles.ts";
import { GENERATED } from "../settings.ts";

/** Addresses that are fixed within a stack's subnet. */
export function addresses(config: StackConfig) {
  return {
    gateway: addressIn(config.networkSubnet, 1),
    postgres: addressIn(config.networkSubnet, 2),
    pgbouncer: addressIn(config.networkSubnet, 3),
    maintenance: addressIn(config.networkSubnet, 4),
  } as const;
}

/**
 * The whole of pg_hba.conf. The first line that matches decides, so the pooler's lines end in a reject of their own and
 * the file ends in one for everybody. https://www.postgresql.org/docs/16/auth-pg-hba-conf.html
 *
 * @param pooler false for a server that has no pooler: nobody then speaks for roles
 */
export function renderPgHba(config: StackConfig, { pooler = true } = {}): string {
  const { gateway, pgbouncer, maintenance } = addresses(config);
  const ci = config.profile === "ci";
  // A leading slash makes the rest a regular expression.
  const clones = ci ? [`/^(${TEST_DATABASE_PREFIX}|${TEMPLATE_DATABASE_PREFIX})`] : [];
  // Quoted, so that one called "all" or "replication" is a name and no keyword.
  const database = [config.databaseName, ...clones].map(identifier).join(",");
  const names = (roles: readonly { readonly name: string }[]) => roles.map(({ name }) => identifier(name));
  const pooled = [...POOLED_ROLES, ...names(pooledFurtherRoles(config))].join(",");
  const direct = [ROLES.owner, ...POOLED_ROLES, ...names(furtherRoles(config))].join(",");
  // What comes from this machine through the published port has the network's gateway as its address.
  const addressed = [gateway, ...config.postgresClientAddresses];
  // PostgreSQL wants a network's length with every address.
  const clients = [...new Set(addressed.map((each) => (each.includes("/") ? each : `${each}/32`)))];
  return [
    `# ${GENERATED}`,
    "# The container's own postgres account: bootstrap and repair, no network.",
    "local all postgres peer",
    ...(pooler
      ? [
          "# The pooler's own login, by its certificate and password.",
          `hostssl ${database} ${ROLES.pooler} ${pgbouncer}/32 scram-sha-256 clientcert=verify-full`,
          "# Roles it speaks for: its certificate has its own name, so the name cannot be the role's.",
          `hostssl ${database} ${pooled} ${pgbouncer}/32 scram-sha-256 clientcert=verify-ca`,
          "# Nobody else through the pooler.",
          `host all all ${pgbouncer}/32 reject`,
        ]
      : []),
    ...(hasMaintenance(config)
      ? [
          "# The maintenance container.",
          `hostssl ${database} ${ROLES.owner} ${maintenance}/32 scram-sha-256 clientcert=verify-full`,
        ]
      : []),
    "# Direct connections, from this machine and postgresClientAddresses: the certificate's common name is the role.",
    ...clients.map((client) => `hostssl ${database} ${direct} ${client} scram-sha-256 clientcert=verify-full`),
    ...(ci
      ? [
          "# A test database's own owner has its name and no certificate: any of this server's, its password, and nowhere else.",
          ...clients.map(
            (client) => `hostssl sameuser "/^${TEST_DATABASE_PREFIX}" ${client} scram-sha-256 clientcert=verify-ca`,
          ),
        ]
      : []),
    "# The superuser: from this machine only, by certificate and password.",
    `hostssl all ${ROLES.superuser} ${gateway}/32 scram-sha-256 clientcert=verify-full`,
    "# Everything else, plain text included.",
    "host all all all reject",
    "",
  ].join("\n");
}
