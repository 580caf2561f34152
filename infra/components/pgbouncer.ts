import * as pulumi from "@pulumi/pulumi";
import { imageTag } from "../../toolchain/images/tag.ts";
import { Image } from "../resources.ts";
import { pgbouncerRestartKey, renderUserlist } from "../servers/pgbouncer/ini.ts";
import { pgbouncer } from "../servers/pgbouncer/server.ts";
import { listeners, poolerConnections, roleListener } from "../settings/listeners.ts";
import { runServer, type ServerArgs } from "./server-container.ts";

export interface PgBouncerArgs extends ServerArgs {
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
    const { pgbouncerPublishAddress: ip, pgbouncerPort } = config;
    const poolers = listeners(config);
    const [, ...furtherPorts] = poolers.map(({ offset }) => pgbouncerPort + offset);

    const kind = pgbouncer.image;
    const image = new Image(`${name}-image`, { kind, tag: imageTag(kind) }, { parent: this });
    const { ready } = runServer(this, name, args, {
      service: "pgbouncer",
      image: image.tag,
      files: {
        ...Object.fromEntries(
          [...certificates.roleTrustedPem].map(([role, pem]) => [roleListener(role).authorityFile, pem]),
        ),
        "userlist.txt": pulumi.output(args.poolerPassword).apply(renderUserlist),
        "tls/ca.crt": certificates.trustedPem,
        "tls/server.crt": certificates.pgbouncerServer.certPem,
        "tls/server.key": certificates.pgbouncerServer.privateKeyPem,
        "tls/client.crt": certificates.pgbouncerClient.certPem,
        "tls/client.key": certificates.pgbouncerClient.privateKeyPem,
      },
      restartKey: pgbouncerRestartKey(config),
      shown: {
        host: ip === "0.0.0.0" ? "127.0.0.1" : ip,
        port: pgbouncerPort,
        ...(furtherPorts.length > 0 ? { furtherPorts } : {}),
      },
      memoryMiB: config.pgbouncerMemoryMiB,
      cpus: config.pgbouncerCpus,
      openFiles: 256 + config.pgbouncerMaxClientConn + poolerConnections(config) * 2, // a process
      tmpfsMiB: { "/tmp": 16, "/run/pgbouncer": 1 },
      container: {
        ports: poolers.map(({ port, offset }) => ({ internal: port, external: pgbouncerPort + offset, ip })),
      },
      ready: { pidsLimit: 32, timeoutSec: 60 },
    });
    this.host = ready.readyHost;
    this.port = ready.readyPort;
    this.registerOutputs({ host: this.host, port: this.port });
  }
}
