import * as pulumi from "@pulumi/pulumi";
import { ROLES } from "../../database/access/roles.ts";
import { pgpassLine } from "../../database/libpq.ts";
import { maintenance } from "../servers/maintenance/server.ts";
import { engineNames } from "../settings/names.ts";
import { runServer, type ServerArgs } from "./server-container.ts";

const SECONDS_PER_MINUTE = 60;
/** By then the first run has succeeded, in a stack that was just made. */
const START_SEC = 120;

export interface MaintenanceArgs extends ServerArgs {
  /** PostgreSQL's image; psql is in it. */
  readonly image: pulumi.Input<string>;
  readonly ownerPassword: pulumi.Input<string>;
  /** Known once the migrations that make `maintenance.run()` are applied. */
  readonly databaseName: pulumi.Input<string>;
}

/**
 * A small container that calls `maintenance.run()` on a schedule, as the owner and over mTLS. It makes partitions
 * ahead, carries retention out and refreshes the materialized views. The server needs no scheduler extension.
 */
export class Maintenance extends pulumi.ComponentResource {
  constructor(name: string, args: MaintenanceArgs, opts?: pulumi.ComponentResourceOptions) {
    super("aiwdb:index:Maintenance", name, {}, opts);
    const { config, certificates } = args;
    const { postgres } = engineNames(config.stack);
    const client = certificates.clients[ROLES.owner];
    runServer(this, name, args, {
      service: "maintenance",
      image: args.image,
      files: {
        pgpass: pulumi.output(args.ownerPassword).apply((password) => pgpassLine(ROLES.owner, password)),
        "tls/ca.crt": certificates.trustedPem,
        "tls/client.crt": client.certPem,
        "tls/client.key": client.privateKeyPem,
      },
      restartKey: "", // psql reads them at each run
      shown: { host: postgres, port: 5432 },
      memoryMiB: 64,
      cpus: 0.5,
      // The data folder is declared by the image; unmounted, the engine would make a nameless volume for it.
      tmpfsMiB: { "/tmp": 1, "/var/lib/postgresql/data": 1 },
      startSec: START_SEC,
      container: {
        entrypoints: ["maintenance"],
        command: [String(config.maintenanceIntervalMin * SECONDS_PER_MINUTE)],
        stopSignal: "SIGTERM",
        envs: [
          `PGHOST=${postgres}`,
          pulumi.interpolate`PGDATABASE=${args.databaseName}`,
          `PGUSER=${ROLES.owner}`,
          "PGAPPNAME=aiwdb-maintenance",
          "PGSSLMODE=verify-full",
          `PGPASSFILE=${maintenance.folder}/pgpass`,
          `PGSSLROOTCERT=${maintenance.folder}/tls/ca.crt`,
          `PGSSLCERT=${maintenance.folder}/tls/client.crt`,
          `PGSSLKEY=${maintenance.folder}/tls/client.key`,
          "PGOPTIONS=-c client_min_messages=warning",
        ],
      },
      // The script, psql and a pause; the health check's own two.
      ready: { servesNobody: true, pidsLimit: 32, timeoutSec: 60 },
    });
    this.registerOutputs({});
  }
}
