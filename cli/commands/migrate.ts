import { defineCommand } from "citty";

/** Shown below the help. */
export const examples = [
  "aiwdb migrate check",
  "aiwdb migrate check --base origin/release",
  "aiwdb migrate check --alembic ../application/alembic/versions",
  "aiwdb migrate new create_invoices --phase 3",
  "aiwdb migrate plan --stack prod",
  "aiwdb migrate plan --database-url postgresql://owner@localhost/ai_workflow_db --json",
];

export default defineCommand({
  meta: { name: "migrate", description: "Check, write and preview migrations; `aiwdb up` applies them" },
  subCommands: {
    check: () => import("./migrate/check.ts").then((module) => module.default),
    new: () => import("./migrate/new.ts").then((module) => module.default),
    plan: () => import("./migrate/plan.ts").then((module) => module.default),
  },
});
