import path from "node:path";
import { PACKAGE_ROOT } from "../../../base/versions.ts";
import { localSql } from "../../../database/local-sql.ts";
import type { Server } from "../server.ts";
import { POSTGRES_CONFIG_DIR, renderPostgresqlConf } from "./conf.ts";
import { renderPgHba } from "./hba.ts";

// https://www.postgresql.org/docs/16/view-pg-file-settings.html: both views read the files as they are now.
const REFUSED = `
  select format('%s line %s: %s', file_name, line_number, error) from pg_hba_file_rules where error is not null
  union all
  select format('%s line %s, %s: %s', sourcefile, sourceline, name, error) from pg_file_settings
   where error is not null and error <> 'setting could not be applied'
     and not (name is null and error like 'parameter "%" cannot be changed without restarting the server')`;

// The files have been tried, so that a setting is refused only because it needs a start. A setting that was taken out
// has no line: the running server has it from a file, and no file has it now.
const NEEDS_RESTART = `
  select exists (select from pg_file_settings where error = 'setting could not be applied')
      or exists (
        select from pg_settings
         where context = 'postmaster' and source = 'configuration file'
           and lower(name) not in (select lower(name) from pg_file_settings where name is not null)
      )`;

export const postgres: Server = {
  image: "postgres",
  uid: 999,
  folder: POSTGRES_CONFIG_DIR,
  rendered: (config) => ({ "postgresql.conf": renderPostgresqlConf(config), "pg_hba.conf": renderPgHba(config) }),
  healthCheck: () => ["CMD", "healthcheck"],
  live: {
    tryScript: path.join(PACKAGE_ROOT, "infra/servers/postgres/try.sh"),
    refused: ({ docker, container, signal }) => localSql(docker, container, REFUSED, { signal }),
    async needsRestart({ docker, container, signal }, olds, news) {
      if (olds.restartKey !== news.restartKey) return true;
      return (await localSql(docker, container, NEEDS_RESTART, { signal })) === "t";
    },
    async reload({ docker, container, signal }) {
      await localSql(docker, container, "select pg_reload_conf();", { signal });
      return "";
    },
  },
};
