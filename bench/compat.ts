import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { PACKAGE_ROOT } from "../base/versions.ts";
import { ROLES } from "../database/access/roles.ts";
import { withConnection } from "../database/connection.ts";
import { PROJECT } from "../infra/settings/names.ts";
import { connectionFor, MODES, type Mode } from "../stack/connections.ts";
import { openSession, readOutputs } from "../stack/session.ts";
import { aiwdb } from "./command.ts";
import { type Outcome, SUITES } from "./compat/suites.ts";
import type { Benchmark, Findings } from "./measure.ts";

const STACK = "pr-bench-compat";

/** Takes away what a suite left behind and the package's own tables, and gives the application what an owner has. */
const FRESH = `
  do $$
  declare
    statements text[] := array(
      select format('drop schema if exists %I cascade', nspname) from pg_namespace where nspowner = 'app_user'::regrole
      union all
      select format('drop %s if exists %s cascade',
          case relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' when 'c' then 'type' else 'table' end,
          oid::regclass)
        from pg_class
       where relowner in ('app_user'::regrole, 'ai_workflow_owner'::regrole) and relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'S', 'c') and not relispartition
         and not exists (select from pg_depend where classid = 'pg_class'::regclass and objid = pg_class.oid and deptype in ('i', 'a', 'e'))
      union all
      select format('drop routine if exists %s cascade', oid::regprocedure)
        from pg_proc where proowner = 'app_user'::regrole and pronamespace = 'public'::regnamespace
      union all
      select format('drop type if exists %s cascade', oid::regtype)
        from pg_type where typowner = 'app_user'::regrole and typnamespace = 'public'::regnamespace and typtype in ('e', 'd', 'r'));
    statement text;
  begin
    foreach statement in array statements loop
      execute statement;
    end loop;
  end
  $$;
  grant create, temporary on database ai_workflow_db to app_user;
  grant create on schema public to app_user;
  create schema test_schema authorization app_user;
  create schema test_schema_2 authorization app_user;
`;

/** Server connections that a suite may take in session mode. */
const SESSIONS = 60;

const figure = ({ failed, passed, stopped }: Outcome) =>
  `${failed.length} of ${failed.length + passed}${stopped ? ", stopped" : ""}`;

export default {
  question:
    "What do drivers' own suites say of a stack: tests that fail, of those that ran, as app_user with an owner's rights, directly, in session mode and in transaction mode?",
  async run(report) {
    const file = join(PACKAGE_ROOT, `Pulumi.${STACK}.yaml`);
    const settings = {
      rolloutPhase: 1,
      pgbouncerSessionDbConnections: SESSIONS,
      extensions: ["hstore", "ltree", "citext"],
    };
    const config = Object.fromEntries(Object.entries(settings).map(([name, value]) => [`${PROJECT}:${name}`, value]));
    writeFileSync(file, stringify({ config }));
    try {
      report(`bringing up stack ${STACK}`);
      await aiwdb(["up", "--stack", STACK]);
      const outputs = await readOutputs(
        openSession(STACK, { pulumi: { bin: "pulumi", version: "", way: "found", path: [] }, env: process.env }),
      );
      const modes: readonly Mode[] = MODES.toReversed(); // direct first: what fails there is not the pooler's
      const lines = [`| Suite | ${modes.join(" | ")} |`, `| --- |${" --: |".repeat(modes.length)}`];
      const details: string[] = [];
      for (const suite of SUITES) {
        const outcomes = new Map<Mode, Outcome>();
        for (const mode of modes) {
          report(`${suite.name}, ${mode}`);
          await withConnection(connectionFor(outputs, ROLES.superuser, "direct"), (client) => client.query(FRESH));
          const outcome = await suite.run(connectionFor(outputs, ROLES.app, mode));
          outcomes.set(mode, outcome);
          report(`${suite.name}, ${mode}: failed ${figure(outcome)}`);
          const direct = new Set(outcomes.get("direct")?.failed);
          const more = mode === "direct" ? outcome.failed : outcome.failed.filter((test) => !direct.has(test));
          if (more.length > 0)
            details.push(
              `## ${suite.name}, ${mode}${mode === "direct" ? "" : ", beyond those that fail directly"}`,
              more.map((test) => `- \`${test}\``).join("\n"),
            );
        }
        lines.push(`| ${suite.name} | ${modes.map((mode) => figure(outcomes.get(mode) as Outcome)).join(" | ")} |`);
      }
      return { rows: [], notes: [], details: [lines.join("\n"), ...details].join("\n\n") } satisfies Findings;
    } finally {
      await aiwdb(["down", "--stack", STACK]);
      rmSync(file, { force: true });
    }
  },
} satisfies Benchmark;
