import { addressIn } from "../addresses.ts";
import type { StackConfig } from "../config.ts";
import { POOLED_ROLES, ROLES, TEMPLATE_DATABASE_PREFIX, TEST_DATABASE_PREFIX } from "../names.ts";
import { GENERATED } from "./settings.ts";

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
 */
export function renderPgHba(config: StackConfig): string {
  const { gateway, pgbouncer } = addresses(config);
  // A leading slash makes the rest a regular expression.
  const clones = config.profile === "ci" ? [`/^(${TEST_DATABASE_PREFIX}|${TEMPLATE_DATABASE_PREFIX})`] : [];
  const database = [config.databaseName, ...clones].map(quoteHba).join(",");
  const pooled = POOLED_ROLES.join(",");
  const direct = [ROLES.owner, ...POOLED_ROLES].join(",");
  const lines: [why: string, line: string][] = [
    ["The container's own postgres account: bootstrap and repair, no network.", "local all postgres peer"],
    [
      "The pooler's own login, by its certificate and password.",
      `hostssl ${database} ${ROLES.pooler} ${pgbouncer}/32 scram-sha-256 clientcert=verify-full`,
    ],
    [
      "Roles it speaks for: its certificate has its own name, so the name cannot be the role's.",
      `hostssl ${database} ${pooled} ${pgbouncer}/32 scram-sha-256 clientcert=verify-ca`,
    ],
    ["Nobody else through the pooler.", `host all all ${pgbouncer}/32 reject`],
    [
      "Direct connections: the certificate's common name is the role.",
      `hostssl ${database} ${direct} all scram-sha-256 clientcert=verify-full`,
    ],
    ...(config.profile === "ci"
      ? [
          [
            "A test database's own owner has its name and no certificate: any of this server's, its password, and nowhere else.",
            `hostssl sameuser "/^${TEST_DATABASE_PREFIX}" all scram-sha-256 clientcert=verify-ca`,
          ] as [string, string],
        ]
      : []),
    [
      "The superuser: from the host only, by certificate and password.",
      `hostssl all ${ROLES.superuser} ${gateway}/32 scram-sha-256 clientcert=verify-full`,
    ],
    ["Everything else, plain text included.", "host all all all reject"],
  ];
  return [`# ${GENERATED}`, ...lines.flatMap(([why, line]) => [`# ${why}`, line]), ""].join("\n");
}

/** Names are always quoted, so that one called "all" or "replication" is a name and no keyword. */
function quoteHba(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
