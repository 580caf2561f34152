import { defineCommand } from "citty";
import {
  alembicProblems,
  alembicSummary,
  readAlembicFolder,
  type AlembicReport,
} from "../../../migrate/alembic/alembic.ts";
import { checkError, checkMigrations } from "../../../migrate/check/check.ts";
import { StateError } from "../../../base/errors.ts";
import { createOutput } from "../../../base/output.ts";
import { migrationArguments, migrationsFolder } from "./arguments.ts";

export default defineCommand({
  args: {
    ...migrationArguments,
    base: {
      type: "string",
      description:
        "Branch or revision whose files may be applied already; origin/main, or main from another branch, if not given",
      valueHint: "REV",
    },
    alembic: {
      type: "string",
      description: "Check a folder of alembic revisions too, without running them, and propose one chain",
      valueHint: "DIR",
    },
  },
  async run({ args }) {
    const output = createOutput({ json: args.json });
    const folder = migrationsFolder(args);
    const { files, findings, notes } = await checkMigrations({ folder, base: args.base });
    const alembic = args.alembic === undefined ? undefined : readAlembicFolder(args.alembic);
    for (const note of notes) output.warn(note);
    if (alembic) for (const line of [alembicSummary(alembic), ...proposal(alembic)]) output.text(line);
    const error = joinErrors([checkError(folder, findings), alembic && alembicError(args.alembic ?? "", alembic)]);
    output.json({
      files,
      findings,
      notes,
      ...(alembic ? { alembic: { summary: alembicSummary(alembic), ...alembic } } : {}),
    });
    if (!error) return;
    // The findings are on stdout already; as an error they would be there twice.
    if (!args.json) throw error;
    createOutput({ json: false }).error(error);
    process.exitCode = error.exitCode;
  },
});

function alembicError(folder: string, report: AlembicReport): StateError | undefined {
  const problems = alembicProblems(report);
  if (problems.length === 0) return undefined;
  return new StateError(`The alembic revisions in ${folder} make no chain:`, problems);
}

function joinErrors(errors: readonly (StateError | undefined)[]): StateError | undefined {
  const found = errors.filter((error) => error !== undefined);
  const [first, ...more] = found;
  if (!first || more.length === 0) return first;
  return new StateError(found.map(({ message }) => message).join("\n"));
}

/** The order that would make one chain; nothing if it is one. */
function proposal({ order, cycles }: AlembicReport): string[] {
  if (cycles.length === 0 && order.every(({ changed }) => !changed)) return [];
  const width = Math.max(...order.map(({ revision }) => revision.length));
  return [
    `Proposed order (${order.length} revisions; * where down_revision has to change):`,
    ...order.map(
      ({ revision, downRevision, changed, file }) =>
        `${changed ? "*" : " "} ${revision.padEnd(width)}  down_revision = ${downRevision === null ? "None" : `"${downRevision}"`}  (${file})`,
    ),
    "",
  ];
}
