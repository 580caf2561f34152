import { identifier } from "../quote.ts";
import { ROLES } from "./roles.ts";

/** Roles that log in with a password of the stack's. The superuser is not among them: the cluster brings it along. */
export const LOGIN_ROLES = [ROLES.owner, ROLES.app, ROLES.readonly, ROLES.monitor, ROLES.pooler] as const;
export type LoginRole = (typeof LOGIN_ROLES)[number];

/** Predefined roles that a role is a member of. https://www.postgresql.org/docs/16/predefined-roles.html */
export const MEMBERSHIPS: Partial<Readonly<Record<LoginRole, readonly string[]>>> = {
  [ROLES.monitor]: ["pg_monitor"],
};

/** Roles that may connect to the stack's database besides its owner. PUBLIC may not. */
export const CONNECTING_ROLES = [ROLES.app, ROLES.readonly, ROLES.monitor, ROLES.pooler] as const;

/** Rights on what the owner makes in the schema `public`. The migrations only narrow them, table by table. */
export const DEFAULT_PRIVILEGES = [
  { role: ROLES.app, objectType: "table", privileges: ["SELECT", "INSERT", "UPDATE", "DELETE"] },
  { role: ROLES.app, objectType: "sequence", privileges: ["USAGE", "SELECT"] },
  { role: ROLES.readonly, objectType: "table", privileges: ["SELECT"] },
] as const;

/** SQL that lets the connecting roles, and nobody else but the owner, into a database. */
export const connectStatements = (database: string): string => `
  revoke all on database ${identifier(database)} from public;
  grant connect on database ${identifier(database)} to ${CONNECTING_ROLES.join(", ")};`;

/** SQL: from now on, PUBLIC may call what a role makes only where a migration says so. */
export const functionDefaults = (owner: string): string =>
  `alter default privileges for role ${identifier(owner)} revoke execute on routines from public;`;

/** SQL: what a role makes from now on has the rights that ai_workflow_owner's objects have. */
export const defaultPrivileges = (owner: string): string =>
  [
    ...DEFAULT_PRIVILEGES.map(
      ({ role, objectType, privileges }) =>
        `alter default privileges for role ${identifier(owner)} in schema public grant ${privileges.join(", ")} on ${objectType}s to ${role};`,
    ),
    functionDefaults(owner),
  ].join("\n");
