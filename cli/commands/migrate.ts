import type { CommandTable } from "../find-command.ts";

export const examples = [
  "aiwdb migrate check",
  "aiwdb migrate check --base origin/release",
  "aiwdb migrate check --alembic ../application/alembic/versions",
  "aiwdb migrate new create_invoices --phase 4",
  "aiwdb migrate plan --stack prod",
  "aiwdb migrate plan --database-url postgresql://owner@localhost/ai_workflow_db --json",
];

export const commands: CommandTable = {
  check: {
    description:
      "Check migration files without a database: the chain, the base branch, PostgreSQL's grammar, locks and lost data",
    load: () => import("./migrate/check.ts"),
  },
  new: {
    description: "Write the next migration's pair of files, with headers to fill in",
    load: () => import("./migrate/new.ts"),
  },
  plan: {
    description: "Print the pending SQL, its locks, and the sizes of the tables it touches; changes nothing",
    load: () => import("./migrate/plan.ts"),
  },
};
