import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { ROLES } from "../../database/access/roles.ts";
import { imageTag } from "../../toolchain/images/tag.ts";
import { Image, Password, SuperuserPassword, type ConnectionInput } from "../resources.ts";
import { DATA_DIR, postgresRestartKey } from "../servers/postgres/conf.ts";
import { postgres } from "../servers/postgres/server.ts";
import { engineNames, STACK_LABEL } from "../settings/names.ts";
import { runServer, type ServerArgs } from "./server-container.ts";

const LOOPBACK = "127.0.0.1";

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

  constructor(name: string, args: ServerArgs, opts?: pulumi.ComponentResourceOptions) {
    super("aiwdb:index:PostgresServer", name, {}, opts);
    const { config, certificates } = args;
    const isCi = config.profile === "ci";

    const kind = postgres.image;
    const image = new Image(`${name}-image`, { kind, tag: imageTag(kind) }, { parent: this });
    this.image = image.tag;
    this.dataVolume = new docker.Volume(
      `${name}-data`,
      {
        name: engineNames(config.stack).dataVolume,
        labels: [{ label: STACK_LABEL, value: config.stack }],
        ...(isCi ? inMemory(config.postgresMemoryMiB) : {}),
      },
      { parent: this, dependsOn: args.network, protect: config.protect, retainOnDelete: config.protect },
    );
    const { container, ready } = runServer(this, name, args, {
      service: "postgres",
      image: image.tag,
      files: {
        "tls/ca.crt": certificates.clientsTrustedPem,
        "tls/server.crt": certificates.postgresServer.certPem,
        "tls/server.key": certificates.postgresServer.privateKeyPem,
      },
      restartKey: postgresRestartKey(config),
      shown: { host: LOOPBACK, port: config.postgresPort },
      memoryMiB: config.postgresMemoryMiB,
      cpus: config.postgresCpus,
      tmpfsMiB: { "/tmp": 64, "/run/postgresql": 1 },
      volumes: [{ volumeName: this.dataVolume.name, containerPath: DATA_DIR }],
      container: {
        // With its data gone, a server that comes back is an empty one that knows no role.
        ...(isCi ? { restart: "no" } : {}),
        stopSignal: "SIGINT", // fast shutdown; SIGTERM would wait for every client
        shmSize: Math.max(64, Math.floor(config.postgresMemoryMiB / 4)), // parallel queries share memory there
        ports: [{ internal: 5432, external: config.postgresPort, ip: LOOPBACK }],
      },
      ready: { pidsLimit: 64 + config.postgresMaxConnections * 2, timeoutSec: 180 },
    });
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
      { run: args.run, container: container.name, volume: this.dataVolume.name, connection },
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
