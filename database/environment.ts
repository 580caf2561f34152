/**
 * Setting of a stack's database that says what the stack is for. Test databases are made only on a server whose stack's
 * database says `test`.
 */
export const ENVIRONMENT_SETTING = "aiwdb.environment";
export type Environment = "production" | "development" | "test";
