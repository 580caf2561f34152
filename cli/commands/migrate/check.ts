import {
  alembicProblems,
  alembicSummary,
  readAlembicFolder,
  type AlembicReport,
} from "../../../migrate/alembic/alembic.ts";
import { checkError, checkMigrations } from "../../../migrate/check/check.ts";
import { StateError } from "../../../base/errors.ts";
import { createOutput } from "../../../base/output.ts";
import { option } from "../../arguments.ts";
import { command } from "../../command.ts";
import { migrationArguments, migrationsFolder } from "./arguments.ts";

export default command({
  args: {
    ...migrationArguments,
    base: option(
      "REV",
      "Branch or revision whose files may be applied already; origin/main, or main from another branch, if not given",
    ),
    alembic: option("DIR", "Check a folder of alembic revisions too, without running them, and propose one chain"),
  },
  async run({ args, output }) {
    const folder = migrationsFolder(args);
    const { files, findings, notes } = await checkMigrations({ folder, base: args.base });
    const alembic = args.alembic === undefined ? undefined : readAlembicFolder(args.alembic);
    for (const note of notes) output.warn(note);
    if (alembic) for (const line of [alembicSummary(alembic), ...proposal(alembic)]) output.text(line);
    const error = joinErrors([checkError(folder, findings), alembic && alembicError(args.alembic ?? "", alembic)]);
    const revisions = alembic && { summary: alembicSummary(alembic), ...alembic };
    output.json({ files, findings, notes, alembic: revisions });
    if (!error) return;
    // JSON with the findings is on stdout already; the error would print them there a second time.
    if (!args.json) throw error;
    createOutput({ json: false }).error(error);
    process.exitCode = error.exitCode;
  },
});

function alembicError(folder: string, report: AlembicReport): StateError | undefined {
  const problems = alembicProblems(report);
  return problems.length === 0
    ? undefined
    : new StateError(`The alembic revisions in ${folder} make no chain:`, problems);
}

function joinErrors(errors: readonly (StateError | undefined)[]): StateError | undefined {
  const found = errors.filter((error) => error !== undefined);
  return found.length < 2 ? found[0] : new StateError(found.map(({ message }) => message).join("\n"));
}

/** Lines with the order that would make one chain; none where the revisions are one. */
function proposal({ order, cycles }: AlembicReport): string[] {
  if (cycles.length === 0 && order.every(({ changed }) => !changed)) return [];
  const width = Math.max(...order.map(({ revision }) => revision.length));
  return [
    `Proposed order (${order.length} revisions; * where down_revision has to change):`,
    ...order.map(({ revision, downRevision, changed, file }) => {
      const down = downRevision === null ? "None" : `"${downRevision}"`;
      return `${changed ? "*" : " "} ${revision.padEnd(width)}  down_revision = ${down}  (${file})`;
    }),
    "",
  ];
}
