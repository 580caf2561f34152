/**
 * Quoting for SQL that takes no parameters, such as CREATE ROLE. node-postgres has the same functions. They are written
 * here because a preview would pay for loading it.
 *
 * @see https://www.postgresql.org/docs/16/sql-syntax-lexical.html
 */

/** A name as PostgreSQL takes it, whatever characters it has. */
export const identifier = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** A text as PostgreSQL takes it while `standard_conforming_strings` is on. */
export const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;
