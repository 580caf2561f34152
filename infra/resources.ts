import * as pulumi from "@pulumi/pulumi";
import { OwnResource } from "./custom-resource.ts";
import type { Environment } from "../database/environment.ts";
import type { Connection } from "../database/connection.ts";
import type { FileSpec } from "../toolchain/engine/containers.ts";
import type { Pooler } from "./settings/listeners.ts";
import type { Place } from "../certs/rotation.ts";

/** A connection whose parts may still be on their way. */
export type ConnectionInput = { readonly [Key in keyof Connection]: pulumi.Input<Connection[Key]> };

/** Which state a stack on the engine belongs to. */
export class StateIdentity extends OwnResource {
  /** Who made it, as user@host. */
  declare readonly madeBy: pulumi.Output<string>;
  /** What the file in the volumes of configuration says. */
  readonly text: pulumi.Output<string>;

  constructor(name: string, args: { stack: string }, opts?: pulumi.CustomResourceOptions) {
    super("StateIdentity", name, args, ["madeBy"], opts);
    this.text = pulumi.interpolate`${this.id} ${this.madeBy}\n`;
  }
}

/** One of the package's images, built on the engine when it is not there. Output: its tag. */
export class Image extends OwnResource {
  declare readonly tag: pulumi.Output<string>;

  constructor(name: string, args: { kind: string; tag: string }, opts?: pulumi.CustomResourceOptions) {
    super("Image", name, args, [], opts);
  }
}

/** A bridge network of the engine; its id is the engine's. */
export class Network extends OwnResource {
  declare readonly name: pulumi.Output<string>;

  constructor(
    name: string,
    args: { name: string; subnet: string; gateway: string; labels: Record<string, pulumi.Input<string>> },
    opts?: pulumi.CustomResourceOptions,
  ) {
    super("Network", name, args, [], opts);
  }
}

/** A generated password; a new one when `version` changes. */
export class Password extends OwnResource {
  /** Secret. */
  declare readonly password: pulumi.Output<string>;

  constructor(name: string, args: { version: pulumi.Input<number> }, opts?: pulumi.CustomResourceOptions) {
    super("Password", name, args, ["password"], { ...opts, additionalSecretOutputs: ["password"] });
  }
}

/** What PostgreSQL stores for a password; a new one when the password or the iterations change. */
export class ScramSecret extends OwnResource {
  /** Secret. */
  declare readonly secret: pulumi.Output<string>;

  constructor(
    name: string,
    args: { password: pulumi.Input<string>; iterations: number },
    opts?: pulumi.CustomResourceOptions,
  ) {
    super("ScramSecret", name, { ...args, password: pulumi.secret(args.password) }, ["secret"], {
      ...opts,
      additionalSecretOutputs: ["secret"],
    });
  }
}

/** Decides when leaf certificates are renewed; they follow `generation`. */
export class Renewal extends OwnResource {
  declare readonly generation: pulumi.Output<number>;
  declare readonly issuedAt: pulumi.Output<string>;

  constructor(
    name: string,
    args: {
      validityDays: number;
      renewBeforeDays: number;
      force?: string | undefined;
      /** DNS names and addresses in the certificates. */
      hosts: readonly string[];
      authorityEnd: pulumi.Input<string>;
      hold: boolean;
    },
    opts?: pulumi.CustomResourceOptions,
  ) {
    super("Renewal", name, args, ["generation", "issuedAt"], opts);
  }
}

/** Which of two authorities signs and which are trusted; a change of `step` is one phase further. */
export class AuthorityRotation extends OwnResource {
  declare readonly signer: pulumi.Output<Place>;
  declare readonly trusted: pulumi.Output<readonly Place[]>;
  declare readonly firstGeneration: pulumi.Output<number>;
  declare readonly secondGeneration: pulumi.Output<number>;

  constructor(name: string, args: { step?: string | undefined }, opts?: pulumi.CustomResourceOptions) {
    super("AuthorityRotation", name, args, ["phase", "signer", "trusted", "firstGeneration", "secondGeneration"], opts);
  }
}

export interface VolumeFilesArgs {
  readonly volume: pulumi.Input<string>;
  readonly image: pulumi.Input<string>;
  /** Who the files belong to inside the container. */
  readonly uid: number;
  readonly files: Record<string, { readonly content: pulumi.Input<string>; readonly mode: FileSpec["mode"] }>;
  readonly service: "postgres" | "pgbouncer" | "maintenance";
  /** Container that is told to reload, if it runs. */
  readonly container: string;
  /** When it changes, the container is restarted instead. */
  readonly restartKey: string;
  readonly host: string;
  readonly port: number;
  /** Of further processes that show the same certificate. */
  readonly furtherPorts?: readonly number[];
}

/** Configuration and certificates in a volume, replaced under a running server without a restart. */
export class VolumeFiles extends OwnResource {
  declare readonly volume: pulumi.Output<string>;

  constructor(name: string, args: VolumeFilesArgs, opts?: pulumi.CustomResourceOptions) {
    super("VolumeFiles", name, { ...args, files: pulumi.secret(args.files) }, [], opts);
  }
}

/** The gate between a started container and whatever connects to it. */
export class ContainerReady extends OwnResource {
  declare readonly readyHost: pulumi.Output<string>;
  declare readonly readyPort: pulumi.Output<number>;

  constructor(
    name: string,
    args: {
      container: pulumi.Input<string>;
      containerId: pulumi.Input<string>;
      /** Where it serves; absent for a container that serves nobody. */
      host?: string;
      port?: number;
      pidsLimit: number;
      timeoutSec: number;
    },
    opts?: pulumi.CustomResourceOptions,
  ) {
    super("ContainerReady", name, args, ["readyHost", "readyPort"], opts);
  }
}

/** The bootstrap superuser's password, set through the container's local socket. */
export class SuperuserPassword extends OwnResource {
  declare readonly readyHost: pulumi.Output<string>;
  declare readonly readyPort: pulumi.Output<number>;

  constructor(
    name: string,
    args: { container: pulumi.Input<string>; volume: pulumi.Input<string>; connection: ConnectionInput },
    opts?: pulumi.CustomResourceOptions,
  ) {
    super(
      "SuperuserPassword",
      name,
      { ...args, connection: pulumi.secret(args.connection) },
      ["readyHost", "readyPort"],
      opts,
    );
  }
}

/** The mark in the data volume that says whose it is; the first thing that `destroy` looks at. */
export class DataOwner extends OwnResource {
  constructor(
    name: string,
    args: { stack: string; container: pulumi.Input<string>; identity: pulumi.Input<string> },
    opts?: pulumi.CustomResourceOptions,
  ) {
    super("DataOwner", name, args, [], opts);
  }
}

/** What login roles changed of themselves, put right before the PostgreSQL provider looks at them. */
export class LoginRoles extends OwnResource {
  constructor(
    name: string,
    args: {
      container: pulumi.Input<string>;
      /** What PostgreSQL shall store for each role's password. */
      secrets: Record<string, pulumi.Input<string>>;
      superuserPassword: pulumi.Input<string>;
    },
    opts?: pulumi.CustomResourceOptions,
  ) {
    super(
      "LoginRoles",
      name,
      { ...args, secrets: pulumi.secret(args.secrets), superuserPassword: pulumi.secret(args.superuserPassword) },
      [],
      opts,
    );
  }
}

/** PUBLIC's rights taken away, PgBouncer's auth_query function, and the mark that says what the database is for. */
export class DatabaseBaseline extends OwnResource {
  constructor(
    name: string,
    args: {
      connection: ConnectionInput;
      owner: pulumi.Input<string>;
      caller: pulumi.Input<string>;
      roles: pulumi.Input<string>[];
      environment: Environment;
    },
    opts?: pulumi.CustomResourceOptions,
  ) {
    super("DatabaseBaseline", name, { ...args, connection: pulumi.secret(args.connection) }, [], opts);
  }
}

/** Certificates and keys of the client roles on this machine, outside the checkout. */
export class ClientFiles extends OwnResource {
  declare readonly directory: pulumi.Output<string>;

  constructor(
    name: string,
    args: { directory: pulumi.Input<string>; files: Record<string, pulumi.Input<string>> },
    opts?: pulumi.CustomResourceOptions,
  ) {
    super("ClientFiles", name, { ...args, files: pulumi.secret(args.files) }, [], opts);
  }
}

/** The applied migrations of the database. */
export class Migrations extends OwnResource {
  declare readonly migrations: pulumi.Output<string[]>;

  constructor(
    name: string,
    args: {
      connection: ConnectionInput;
      folder: string;
      pooler: Pooler;
      migrations: string[];
      checksums: Record<string, string>;
    },
    opts?: pulumi.CustomResourceOptions,
  ) {
    super("Migrations", name, { ...args, connection: pulumi.secret(args.connection) }, [], opts);
  }
}
