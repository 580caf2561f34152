import type pg from "pg";
import { clientConfig, type Connection } from "../../database/connection.ts";
import { libpqEnvironment, libpqUrl } from "../../database/libpq.ts";

/** How to reach a test database as one role. */
export interface TestConnection {
  /** For libpq, node-postgres, psycopg. Password included. */
  readonly url: string;
  /** For `new pg.Client`, `new pg.Pool`, and what is built on them: Kysely, Drizzle, Knex. */
  readonly config: pg.ClientConfig;
  /** DATABASE_URL and the PG* variables. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** A connection in the forms that programs take. */
export function describe(connection: Connection): TestConnection {
  let config: pg.ClientConfig | undefined;
  return {
    url: libpqUrl(connection),
    get config() {
      config ??= clientConfig(connection, "test");
      return config;
    },
    env: libpqEnvironment(connection),
  };
}
