import { ROLES } from "../../../database/access/roles.ts";
import { identifier, literal } from "../../../database/quote.ts";
import { PROTECT_TABLE_SQL } from "../../../migrate/run/applied.ts";
import { ENVIRONMENT_SETTING, type Environment } from "../../../database/environment.ts";
import { withConnection, type Connection } from "../../../database/connection.ts";
import { byTheSame, changedProperties, UNKNOWN, type ResourceType } from "../resource.ts";
import { baselineStatements } from "../../../database/access/baseline.ts";

export interface DatabaseBaselineInputs {
  /** The superuser's; secret. */
  readonly connection: Connection;
  /** Of the function `pgbouncer.lookup(text)`; cannot log in. */
  readonly owner: string;
  /** The pooler's login. */
  readonly caller: string;
  /** Those that may come through the pooler. */
  readonly roles: readonly string[];
  /** What the database is for: test tools refuse everything that does not say "test". */
  readonly environment: Environment;
  /** What a statement of app_user may take, in seconds; 0: no limit. */
  readonly appStatementTimeoutSec: number;
}

export interface DatabaseBaselineOutputs {
  /** Of the statements that were applied. */
  readonly version: number;
}

/** Raise it when the statements change (database/access), so that existing stacks get them. */
const VERSION = 3;

async function apply(inputs: DatabaseBaselineInputs): Promise<DatabaseBaselineOutputs> {
  const { connection, owner, caller, roles, environment, appStatementTimeoutSec } = inputs;
  await withConnection(connection, async (client) => {
    await client.query("begin");
    await client.query("set local lock_timeout = '5s'");
    await client.query(baselineStatements(connection.database, owner, caller, roles));
    // For a stack of an older release. A new stack has no such table yet; the runner does the same when it makes the
    // table.
    await client.query(PROTECT_TABLE_SQL);
    await client.query(
      `alter database ${identifier(connection.database)} set ${ENVIRONMENT_SETTING} = ${literal(environment)}`,
    );
    // For this database only, so that a value that the role gives itself for all databases stays.
    await client.query(
      `alter role ${ROLES.app} in database ${identifier(connection.database)} ` +
        (appStatementTimeoutSec > 0
          ? `set statement_timeout = ${appStatementTimeoutSec * 1_000}`
          : "reset statement_timeout"),
    );
    await client.query("commit");
  });
  return { version: VERSION };
}

/**
 * What a database needs before anybody uses it, and no provider offers. PUBLIC loses its rights. PgBouncer gets its
 * `auth_query` function `pgbouncer.lookup(text)`. The application loses the right to write the table of applied
 * migrations.
 */
export const databaseBaseline: ResourceType<DatabaseBaselineInputs, DatabaseBaselineOutputs> = {
  diff(olds, news) {
    // A new password too: a refresh logs in with what the state has.
    const changed = changedProperties(olds, news, news.connection === UNKNOWN ? ["connection"] : []);
    return { changed: olds.version === VERSION ? changed : [...changed, "version"] };
  },
  ...byTheSame(({ connection }) => connection.database, apply),
  async read(_id, state) {
    const { rows } = await withConnection(state.connection, (client) =>
      client.query("select to_regprocedure('pgbouncer.lookup(text)') is not null as present"),
    );
    return rows[0].present ? state : undefined;
  },
  // Nothing to delete: the function goes with its database, and dropping it alone would only lock everybody out.
};
