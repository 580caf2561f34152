import { defineCommand } from "citty";

export const examples = [
  "aiwdb testdb start                      # once per machine or CI job",
  "aiwdb testdb run -- npx vitest run      # one database for the command, dropped at its end",
  'psql "$(aiwdb testdb create)"           # for an hour, or until `aiwdb testdb drop`',
  "aiwdb testdb list                       # who holds what",
  "aiwdb testdb stop",
];

export default defineCommand({
  meta: {
    name: "testdb",
    description:
      "Databases for tests, one per test, in milliseconds: start, run, create, list, drop, psql, serve, stop",
  },
  subCommands: {
    start: () => import("./testdb/start.ts").then((module) => module.default),
    run: () => import("./testdb/run.ts").then((module) => module.default),
    create: () => import("./testdb/create.ts").then((module) => module.default),
    list: () => import("./testdb/list.ts").then((module) => module.default),
    drop: () => import("./testdb/drop.ts").then((module) => module.default),
    psql: () => import("./testdb/psql.ts").then((module) => module.default),
    serve: () => import("./testdb/serve.ts").then((module) => module.default),
    stop: () => import("./testdb/stop.ts").then((module) => module.default),
  },
});
