import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import type { StackCertificates } from "./certificates.ts";
import type { StackConfig } from "../settings/table.ts";
import { hardened, healthcheck, privateFiles } from "./hardening.ts";
import { engineNames, IDENTITY_FILE, STACK_LABEL } from "../settings/names.ts";
import { ROLES } from "../../database/access/roles.ts";
import { addresses } from "../servers/postgres/hba.ts";
import { pgpassLine } from "../../database/libpq.ts";
import { maintenance } from "../servers/maintenance/server.ts";
import { ContainerReady, type Network, type StateIdentity, VolumeFiles } from "../resources.ts";

const SECONDS_PER_MINUTE = 60;
/** By then the first run has succeeded, in a stack that was just made. */
const START_SEC = 120;

export interface MaintenanceArgs {
  readonly config: StackConfig;
  readonly certificates: StackCertificates;
  readonly identity: StateIdentity;
  readonly network: Network;
  /** PostgreSQL's image; psql is in it. */
  readonly image: pulumi.Input<string>;
  readonly ownerPassword: pulumi.Input<string>;
  /** Known once the migrations that make `maintenance.run()` are applied. */
  readonly databaseName: pulumi.Input<string>;
}

/**
 * A small container that calls `maintenance.run()` on a schedule, as the owner and over mTLS: partitions ahead, retention,
 * refresh of the materialized views. No scheduler extension is needed in the server.
 */
export class Maintenance extends pulumi.ComponentResource {
  constructor(name: string, args: MaintenanceArgs, opts?: pulumi.ComponentResourceOptions) {
    super("aiwdb:index:Maintenance", name, {}, opts);
    const { config, certificates } = args;
    const names = engineNames(config.stack);
    const client = certificates.clients.get(ROLES.owner);
    if (!client) throw new Error(`there is no certificate of ${ROLES.owner}`);

    const volume = new docker.Volume(
      `${name}-config`,
      { name: names.maintenanceConfigVolume, labels: [{ label: STACK_LABEL, value: config.stack }] },
      { parent: this, dependsOn: args.network },
    );
    const files = new VolumeFiles(
      `${name}-files`,
      {
        run: args.identity.said,
        volume: volume.name,
        image: args.image,
        uid: maintenance.uid,
        files: privateFiles({
          ...maintenance.rendered(config),
          [IDENTITY_FILE]: args.identity.text,
          pgpass: pulumi.output(args.ownerPassword).apply((password) => pgpassLine(ROLES.owner, password)),
          "tls/ca.crt": certificates.trustedPem,
          "tls/client.crt": client.certPem,
          "tls/client.key": client.privateKeyPem,
        }),
        service: "maintenance",
        container: names.maintenance,
        restartKey: "", // psql reads them at each run
        host: names.postgres,
        port: 5432,
      },
      { parent: this },
    );
    const intervalSec = config.maintenanceIntervalMin * SECONDS_PER_MINUTE;
    const container = new docker.Container(
      `${name}-container`,
      {
        ...hardened(config, {
          memoryMiB: 64,
          cpus: 0.5,
          tmpfs: {
            "/tmp": "rw,noexec,nosuid,nodev,size=1m,uid=999,gid=999,mode=0700",
            // Declared by the image; unmounted, the engine would make a nameless volume for it.
            "/var/lib/postgresql/data": "rw,noexec,nosuid,nodev,size=1m,uid=999,gid=999,mode=0700",
          },
        }),
        name: names.maintenance,
        hostname: names.maintenance,
        image: args.image,
        entrypoints: ["maintenance"],
        command: [String(intervalSec)],
        stopSignal: "SIGTERM",
        envs: [
          `PGHOST=${names.postgres}`,
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
        healthcheck: healthcheck(config, maintenance, START_SEC),
        networksAdvanced: [
          { name: args.network.name, ipv4Address: addresses(config).maintenance, aliases: ["maintenance"] },
        ],
        volumes: [{ volumeName: volume.name, containerPath: maintenance.folder, readOnly: true }],
      },
      { parent: this, dependsOn: files, deleteBeforeReplace: true },
    );
    new ContainerReady(
      `${name}-ready`,
      // The script, psql and a pause; the health check's own two.
      { container: container.name, containerId: container.id, pidsLimit: 32, timeoutSec: 60 },
      { parent: this },
    );
    this.registerOutputs({});
  }
}
