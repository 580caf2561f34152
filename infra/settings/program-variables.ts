/**
 * Environment variables by which `aiwdb` tells the Pulumi program what holds for one run only. infra/index.ts reads
 * them and hands them on as arguments of `DatabaseStack`. `pulumi destroy` and `pulumi refresh` run no program, so
 * the provider itself reads `takeOver` for them.
 */
export const PROGRAM_VARIABLES = {
  /** Names for the argument `adopt`, separated by commas. */
  adopt: "AIWDB_ADOPT",
  rotateAuthority: "AIWDB_ROTATE_AUTHORITY",
  rotateCertificates: "AIWDB_ROTATE_CERTIFICATES",
  /** 1: the user said that the other state is lost, by `aiwdb up --reset-passwords` or `aiwdb down --take-over`. */
  takeOver: "AIWDB_TAKE_OVER",
  stateIdentity: "AIWDB_STATE_IDENTITY",
  /**
   * The stack whose database name was compared with the other stacks' already: the program need not read their files.
   */
  comparedStack: "AIWDB_COMPARED_STACK",
} as const;
