import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { imageTag } from "../../toolchain/images/tag.ts";
import type { StackCertificates } from "./certificates.ts";
import type { StackConfig } from "../settings/table.ts";
import { hardened, healthcheck, privateFiles } from "./hardening.ts";
import { engineNames, IDENTITY_FILE, STACK_LABEL } from "../settings/names.ts";
import { ROLES } from "../../database/access/roles.ts";
import { addresses } from "../servers/postgres/hba.ts";
import { DATA_DIR, postgresRestartKey } from "../servers/postgres/conf.ts";
import { postgres } from "../servers/postgres/server.ts";
import {
  ContainerReady,
  Image,
  type Network,
  Password,
  type StateIdentity,
  SuperuserPassword,
  VolumeFiles,
  type ConnectionInput,
} from "../resources.ts";

const LOOPBACK = "127.0.0.1";

export interface PostgresServerArgs {
  readonly config: StackConfig;
  readonly certificates: StackCertificates;
  readonly identity: StateIdentity;
  readonly network: Network;
}

/** PostgreSQL 16: its volumes, configuration, container, readiness gate and bootstrap superuser. */
export class PostgresServer extends pulumi.ComponentResource {
  /** Loopback host and port, known once the server is up and the superuser can log in. */
  readonly host: pulumi.Output<string>;
  readonly port: pulumi.Output<number>;
  /** The superuser's connection to the maintenance database; secret. */
  readonly superuser: ConnectionInput;
  /** Name of its container, known once the superuser can log in. */
  readonly container: pulumi.Output<string>;
  /** Tag of the image it runs. */
  readonly image: pulumi.Output<string>;
  /** Holds the data; what lives inside the database goes with it. */
  readonly dataVolume: docker.Volume;

  constructor(name: string, args: PostgresServerArgs, opts?: pulumi.ComponentResourceOptions) {
    super("aiwdb:index:PostgresServer", name, {}, opts);
    const { config, certificates } = args;
    const names = engineNames(config.stack);
    const labels = [{ label: STACK_LABEL, value: config.stack }];

    const image = new Image(`${name}-image`, { kind: postgres.image, tag: imageTag(postgres.image) }, { parent: this });
    this.image = image.tag;
    this.dataVolume = new docker.Volume(
      `${name}-data`,
      { name: names.dataVolume, labels, ...(config.profile === "ci" ? inMemory(config.postgresMemoryMiB) : {}) },
      { parent: this, dependsOn: args.network, protect: config.protect, retainOnDelete: config.protect },
    );
    const configVolume = new docker.Volume(
      `${name}-config`,
      { name: names.postgresConfigVolume, labels },
      { parent: this, dependsOn: args.network },
    );
    const files = new VolumeFiles(
      `${name}-files`,
      {
        run: args.identity.said,
        volume: configVolume.name,
        image: image.tag,
        uid: postgres.uid,
        files: privateFiles({
          ...postgres.rendered(config),
          [IDENTITY_FILE]: args.identity.text,
          "tls/ca.crt": certificates.clientsTrustedPem,
          "tls/server.crt": certificates.postgresServer.certPem,
          "tls/server.key": certificates.postgresServer.privateKeyPem,
        }),
        service: "postgres",
        container: names.postgres,
        restartKey: postgresRestartKey(config),
        host: LOOPBACK,
        port: config.postgresPort,
      },
      { parent: this },
    );
    const container = new docker.Container(
      `${name}-container`,
      {
        ...hardened(config, {
          memoryMiB: config.postgresMemoryMiB,
          cpus: config.postgresCpus,
          tmpfs: {
            "/tmp": "rw,noexec,nosuid,nodev,size=64m,uid=999,gid=999,mode=0700",
            "/run/postgresql": "rw,noexec,nosuid,nodev,size=1m,uid=999,gid=999,mode=0700",
          },
        }),
        name: names.postgres,
        hostname: names.postgres,
        image: image.tag,
        healthcheck: healthcheck(config, postgres),
        // With its data gone, a server that comes back is an empty one that knows no role.
        ...(config.profile === "ci" ? { restart: "no" } : {}),
        stopSignal: "SIGINT", // fast shutdown; SIGTERM would wait for every client
        shmSize: Math.max(64, Math.floor(config.postgresMemoryMiB / 4)), // parallel queries share memory there
        networksAdvanced: [{ name: args.network.name, ipv4Address: addresses(config).postgres, aliases: ["postgres"] }],
        ports: [{ internal: 5432, external: config.postgresPort, ip: LOOPBACK }],
        volumes: [
          { volumeName: this.dataVolume.name, containerPath: DATA_DIR },
          { volumeName: configVolume.name, containerPath: postgres.folder, readOnly: true },
        ],
      },
      { parent: this, dependsOn: files, deleteBeforeReplace: true },
    );
    const ready = new ContainerReady(
      `${name}-ready`,
      {
        container: container.name,
        containerId: container.id,
        host: LOOPBACK,
        port: config.postgresPort,
        pidsLimit: 64 + config.postgresMaxConnections * 2,
        timeoutSec: 180,
      },
      { parent: this },
    );
    const password = new Password(`${name}-superuser-password`, { version: config.passwordVersion }, { parent: this });
    const connection: ConnectionInput = {
      host: ready.readyHost,
      port: ready.readyPort,
      database: "postgres",
      user: ROLES.superuser,
      password: password.password,
      ...certificates.pathsFor(ROLES.superuser),
    };
    const superuser = new SuperuserPassword(
      `${name}-superuser`,
      { run: args.identity.said, container: container.name, volume: this.dataVolume.name, connection },
      { parent: this },
    );
    this.container = pulumi.all([container.name, superuser.readyHost]).apply(([containerName]) => containerName);
    this.host = superuser.readyHost;
    this.port = superuser.readyPort;
    this.superuser = { ...connection, host: this.host, port: this.port };
    this.registerOutputs({ host: this.host, port: this.port });
  }
}

/** A volume of the engine that is a file system in memory; what is in it counts against the container's limit. */
function inMemory(sizeMiB: number): Partial<docker.VolumeArgs> {
  return {
    driver: "local",
    driverOpts: {
      type: "tmpfs",
      device: "tmpfs",
      o: `size=${sizeMiB}m,uid=${postgres.uid},gid=${postgres.uid},mode=0700`,
    },
  };
}
