import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { imageTag } from "../../toolchain/images/tag.ts";
import type { StackCertificates } from "./certificates.ts";
import type { StackConfig } from "../settings/table.ts";
import { hardened, healthcheck, privateFiles } from "./hardening.ts";
import { engineNames, IDENTITY_FILE, STACK_LABEL } from "../settings/names.ts";
import { addresses } from "../servers/postgres/hba.ts";
import { pgbouncerRestartKey, renderUserlist } from "../servers/pgbouncer/ini.ts";
import { pgbouncer } from "../servers/pgbouncer/server.ts";
import { listeners, roleListener } from "../settings/listeners.ts";
import { ContainerReady, Image, type Network, type StateIdentity, VolumeFiles } from "../resources.ts";

export interface PgBouncerArgs {
  readonly config: StackConfig;
  readonly certificates: StackCertificates;
  readonly identity: StateIdentity;
  readonly network: Network;
  /** Password of the pooler's own login at the server. */
  readonly poolerPassword: pulumi.Input<string>;
}

/** PgBouncer: its configuration, container and readiness gate. It may start before the server does. */
export class PgBouncer extends pulumi.ComponentResource {
  /** Host and port on this machine, known once the pooler answers. */
  readonly host: pulumi.Output<string>;
  readonly port: pulumi.Output<number>;

  constructor(name: string, args: PgBouncerArgs, opts?: pulumi.ComponentResourceOptions) {
    super("aiwdb:index:PgBouncer", name, {}, opts);
    const { config, certificates } = args;
    const names = engineNames(config.stack);
    const reachable = config.pgbouncerPublishAddress === "0.0.0.0" ? "127.0.0.1" : config.pgbouncerPublishAddress;

    const poolers = listeners(config);
    const [, ...further] = poolers.map(({ offset }) => config.pgbouncerPort + offset);

    const image = new Image(
      `${name}-image`,
      { kind: pgbouncer.image, tag: imageTag(pgbouncer.image) },
      { parent: this },
    );
    const configVolume = new docker.Volume(
      `${name}-config`,
      { name: names.pgbouncerConfigVolume, labels: [{ label: STACK_LABEL, value: config.stack }] },
      { parent: this, dependsOn: args.network },
    );
    const files = new VolumeFiles(
      `${name}-files`,
      {
        run: args.identity.said,
        volume: configVolume.name,
        image: image.tag,
        uid: pgbouncer.uid,
        files: privateFiles({
          ...pgbouncer.rendered(config),
          ...Object.fromEntries(
            [...certificates.roleTrustedPem].map(([role, pem]) => [roleListener(role).authorityFile, pem]),
          ),
          [IDENTITY_FILE]: args.identity.text,
          "userlist.txt": pulumi.output(args.poolerPassword).apply(renderUserlist),
          "tls/ca.crt": certificates.trustedPem,
          "tls/server.crt": certificates.pgbouncerServer.certPem,
          "tls/server.key": certificates.pgbouncerServer.privateKeyPem,
          "tls/client.crt": certificates.pgbouncerClient.certPem,
          "tls/client.key": certificates.pgbouncerClient.privateKeyPem,
        }),
        service: "pgbouncer",
        container: names.pgbouncer,
        restartKey: pgbouncerRestartKey(config),
        host: reachable,
        port: config.pgbouncerPort,
        ...(further.length > 0 ? { furtherPorts: further } : {}),
      },
      { parent: this },
    );
    const container = new docker.Container(
      `${name}-container`,
      {
        ...hardened(config, {
          memoryMiB: config.pgbouncerMemoryMiB,
          cpus: config.pgbouncerCpus,
          openFiles: 256 + config.pgbouncerMaxClientConn + config.pgbouncerMaxDbConnections * 2, // a process
          tmpfs: {
            "/tmp": "rw,noexec,nosuid,nodev,size=16m,uid=998,gid=998,mode=0700",
            "/run/pgbouncer": "rw,noexec,nosuid,nodev,size=1m,uid=998,gid=998,mode=0700",
          },
        }),
        name: names.pgbouncer,
        hostname: names.pgbouncer,
        image: image.tag,
        healthcheck: healthcheck(config, pgbouncer),
        networksAdvanced: [
          { name: args.network.name, ipv4Address: addresses(config).pgbouncer, aliases: ["pgbouncer"] },
        ],
        ports: poolers.map(({ port, offset }) => ({
          internal: port,
          external: config.pgbouncerPort + offset,
          ip: config.pgbouncerPublishAddress,
        })),
        volumes: [{ volumeName: configVolume.name, containerPath: pgbouncer.folder, readOnly: true }],
      },
      { parent: this, dependsOn: files, deleteBeforeReplace: true },
    );
    const ready = new ContainerReady(
      `${name}-ready`,
      {
        container: container.name,
        containerId: container.id,
        host: reachable,
        port: config.pgbouncerPort,
        pidsLimit: 32,
        timeoutSec: 60,
      },
      { parent: this },
    );
    this.host = ready.readyHost;
    this.port = ready.readyPort;
    this.registerOutputs({ host: this.host, port: this.port });
  }
}
