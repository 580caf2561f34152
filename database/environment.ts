/**
 * Setting of every stack's database that says what it is for: production, development or test. Test databases are made
 * only on a server whose stack's database says test.
 */
export const ENVIRONMENT_SETTING = "aiwdb.environment";
export type Environment = "production" | "development" | "test";
