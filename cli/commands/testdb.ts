import type { CommandTable } from "../find-command.ts";

export const examples = [
  "aiwdb testdb start                      # once per machine or CI job",
  "aiwdb testdb run -- npx vitest run      # one database for the command, dropped at its end",
  "aiwdb testdb create                     # for an hour, or until `aiwdb testdb drop`; prints its URL",
  "aiwdb testdb list                       # who holds what",
  "aiwdb testdb stop",
];

export const commands: CommandTable = {
  start: {
    description: "Start a server for tests, build its template and fill its pool; does nothing where one runs",
    load: () => import("./testdb/start.ts"),
  },
  run: {
    description:
      "Run a command with a database of its own in DATABASE_URL and PG*; starts the server if there is none. The exit code is the command's",
    load: () => import("./testdb/run.ts"),
  },
  create: {
    description: "Take a test database and print its URL; it goes when its time is over or its process ends",
    load: () => import("./testdb/create.ts"),
  },
  list: {
    description: "Show every test database: its state, who holds it, since and until when",
    load: () => import("./testdb/list.ts"),
  },
  drop: {
    description: "Drop a test database that is taken or kept, with the sessions in it",
    load: () => import("./testdb/drop.ts"),
  },
  psql: {
    description: "Open psql on a test database that is taken or kept; what follows -- goes to psql",
    load: () => import("./testdb/psql.ts"),
  },
  serve: {
    description:
      "Keep the pool of a running server and answer the HTTP API, in the foreground; `start` does it in the background",
    load: () => import("./testdb/serve.ts"),
  },
  stop: {
    description: "Remove a server for tests with everything in it",
    load: () => import("./testdb/stop.ts"),
  },
};
