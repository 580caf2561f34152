/**
 * Environment variables by which `aiwdb` tells the Pulumi program what holds for one run only. Only infra/index.ts reads them; it hands
 * them on as arguments of `DatabaseStack`.
 */
export const PROGRAM_VARIABLES = {
  /** Names for the argument `adopt`, separated by commas. */
  adopt: "AIWDB_ADOPT",
  rotateAuthority: "AIWDB_ROTATE_AUTHORITY",
  rotateCertificates: "AIWDB_ROTATE_CERTIFICATES",
  /** The stack whose database name was compared with the other stacks' already: the program need not read their files. */
  comparedStack: "AIWDB_COMPARED_STACK",
} as const;
