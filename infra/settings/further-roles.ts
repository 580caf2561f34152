import { z } from "zod";
import { words } from "../../base/words.ts";
import { ROLES } from "../../database/access/roles.ts";

/** What a further role may do. */
export const RoleAccess = {
  /** What app_readonly may. */
  read: "read",
  /** What app_user may. */
  write: "write",
} as const;
export type RoleAccess = (typeof RoleAccess)[keyof typeof RoleAccess];

/** A login role beside the package's own: a person's, or a program's such as reporting. */
export interface FurtherRole {
  /** read: what app_readonly may. write: what app_user may. */
  readonly access: RoleAccess;
  /**
   * Connections that the role has at PostgreSQL at the same time, the pooler's for it included.
   *
   * @default 5
   */
  readonly connectionLimit?: number;
  /**
   * Whether it may come through PgBouncer. If not, it connects directly only.
   *
   * @default true
   */
  readonly pooled?: boolean;
}

/**
 * Names that mean something else: keywords of SQL and pg_hba.conf, the file of the authority, Debian's name for its
 * administrator, and what every object of JavaScript has: the stack's outputs are objects with a key for each role.
 */
const RESERVED_ROLE_NAMES = new Set([
  ...Object.values(ROLES),
  ...words(
    "public none user current_user current_role session_user all replication samerole samegroup sameuser ca constructor",
  ),
]);
/** pg_: PostgreSQL's own. aiwdb_: the owners of test databases. app_, ai_workflow_ and pgbouncer_: the package's. */
const RESERVED_PREFIX = /^(pg_|aiwdb_|app_|ai_workflow_|pgbouncer_)/;
const IN_WORDS = "must be 1 to 63 characters of a-z, 0-9 and _, beginning with a letter";
const ACCESS = 'must be "read" or "write"';

/** A role's name, which is also the common name of its certificate and the name of its files. */
export const roleName = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,62}$/, IN_WORDS)
  .refine((name) => !RESERVED_ROLE_NAMES.has(name), "is reserved")
  .refine(
    (name) => RESERVED_ROLE_NAMES.has(name) || !RESERVED_PREFIX.test(name),
    "must not begin with pg_, aiwdb_, app_, ai_workflow_ or pgbouncer_, which are PostgreSQL's and the package's own",
  );

export const roleAccess = z.enum(RoleAccess, ACCESS);

/** A further role with all defaults filled in, and its name. */
export interface NamedRole extends Required<FurtherRole> {
  readonly name: string;
}

interface WithRoles {
  readonly roles: Readonly<Record<string, Required<FurtherRole>>>;
}

/** Further roles, by name. */
export function furtherRoles({ roles }: WithRoles): NamedRole[] {
  return Object.entries(roles)
    .map(([name, role]) => ({ name, ...role }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** Those of them that may come through the pooler. */
export const pooledFurtherRoles = (config: WithRoles): NamedRole[] =>
  furtherRoles(config).filter(({ pooled }) => pooled);

/** Connections of those that connect directly only. */
export const directConnections = (config: WithRoles): number =>
  furtherRoles(config)
    .filter(({ pooled }) => !pooled)
    .reduce((sum, { connectionLimit }) => sum + connectionLimit, 0);

/** The package's role whose rights a further role has. */
export const modelOf = (access: RoleAccess): typeof ROLES.app | typeof ROLES.readonly =>
  access === RoleAccess.write ? ROLES.app : ROLES.readonly;

/** What is there for the sums. */
interface Available {
  /** Server connections of the pooler in transaction mode. */
  readonly pooled: number;
  /** Connections that neither the pooler nor the package's own direct clients need. */
  readonly direct: number;
}

/**
 * Server connections that the pooler keeps for a role: one in each mode. With the third the role can connect directly
 * at any time.
 */
const LEAST_POOLED = 3;

/** Problems of further roles that are valid one by one: what is wrong, and what to do. */
export function roleSums(config: WithRoles, { pooled, direct }: Available): { problem: string; remedy: string }[] {
  const roles = furtherRoles(config);
  const few = roles.filter((role) => role.pooled && role.connectionLimit < LEAST_POOLED);
  const many = roles.filter((role) => role.pooled && role.connectionLimit > pooled);
  const directly = roles.filter((role) => !role.pooled);
  const sum = directConnections(config);
  return [
    ...few.map(({ name, connectionLimit }) => ({
      problem: `${name}: a connectionLimit of ${connectionLimit} is below ${LEAST_POOLED}: the pooler keeps a connection in each mode, and one is for direct clients`,
      remedy: `Raise it to ${LEAST_POOLED}, or set pooled to false.`,
    })),
    ...many.map(({ name, connectionLimit }) => ({
      problem: `${name}: a connectionLimit of ${connectionLimit} is above the ${pooled} server connections of the pooler (pgbouncerMaxDbConnections)`,
      remedy: "Lower it, or raise pgbouncerMaxDbConnections.",
    })),
    ...(sum > Math.max(0, direct)
      ? [
          {
            problem: `${directly.map(({ name }) => name).join(", ")}: together ${sum} direct connections are above the ${Math.max(0, direct)} that postgresMaxConnections leaves to them`,
            remedy: "Lower connectionLimit, or raise postgresMaxConnections.",
          },
        ]
      : []),
  ];
}
