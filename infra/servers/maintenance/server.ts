import { POSTGRES_CONFIG_DIR } from "../postgres/conf.ts";
import { postgres } from "../postgres/server.ts";
import type { Server } from "../server.ts";

/** How long a run may take beyond its turn, in minutes, before the container counts as unhealthy. */
const RUN_MIN = 10;

/** A loop that has psql call `maintenance.run()`. psql reads certificate and password at each run. */
export const maintenance: Server = {
  image: "postgres", // psql is in it
  uid: postgres.uid,
  folder: POSTGRES_CONFIG_DIR,
  rendered: () => ({}),
  // Two turns without a success, and a while for the run itself.
  healthCheck: ({ maintenanceIntervalMin }) => [
    "CMD-SHELL",
    `test -n "$(find /tmp/last-success -mmin -${maintenanceIntervalMin * 2 + RUN_MIN} 2>/dev/null)"`,
  ],
};
