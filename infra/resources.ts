import * as pulumi from "@pulumi/pulumi";
import { OwnResource, type Args, type InputsOf, type Property } from "./custom-resource.ts";
import type { Connection } from "../database/connection.ts";
import type { RunOptions } from "./provider/resource.ts";

/** A connection whose parts may still be on their way. */
export type ConnectionInput = InputsOf<Connection>;

type Options = pulumi.CustomResourceOptions;

/** Which state a stack on the engine belongs to. */
export class StateIdentity extends OwnResource<"StateIdentity"> {
  declare readonly madeBy: Property<"StateIdentity", "madeBy">;
  /** What the file in the volumes of configuration says. */
  readonly text: pulumi.Output<string>;
  /** What the user said for this run, for the resources that look whose the stack is. */
  readonly said: RunOptions;

  constructor(name: string, args: Args<"StateIdentity">, opts?: Options) {
    super("StateIdentity", name, args, ["madeBy"], opts);
    this.said = args.run ?? {};
    this.text = pulumi.interpolate`${this.id} ${this.madeBy}\n`;
  }
}

/** One of the package's images, built on the engine when it is not there. */
export class Image extends OwnResource<"Image"> {
  declare readonly tag: Property<"Image", "tag">;

  constructor(name: string, args: Args<"Image">, opts?: Options) {
    super("Image", name, args, [], opts);
  }
}

/** A bridge network of the engine; its id is the engine's. */
export class Network extends OwnResource<"Network"> {
  declare readonly name: Property<"Network", "name">;

  constructor(name: string, args: Args<"Network">, opts?: Options) {
    super("Network", name, args, [], opts);
  }
}

/** A generated password; a new one when `version` changes. */
export class Password extends OwnResource<"Password"> {
  /** Secret. */
  declare readonly password: Property<"Password", "password">;

  constructor(name: string, args: Args<"Password">, opts?: Options) {
    super("Password", name, args, ["password"], { ...opts, additionalSecretOutputs: ["password"] });
  }
}

/** What PostgreSQL stores for a password; a new one when the password or the iterations change. */
export class ScramSecret extends OwnResource<"ScramSecret"> {
  /** Secret. */
  declare readonly secret: Property<"ScramSecret", "secret">;

  constructor(name: string, args: Args<"ScramSecret">, opts?: Options) {
    const inputs = { ...args, password: pulumi.secret(args.password) };
    super("ScramSecret", name, inputs, ["secret"], { ...opts, additionalSecretOutputs: ["secret"] });
  }
}

/** Decides when leaf certificates are renewed; they follow `generation`. */
export class Renewal extends OwnResource<"Renewal"> {
  declare readonly generation: Property<"Renewal", "generation">;
  declare readonly issuedAt: Property<"Renewal", "issuedAt">;

  constructor(name: string, args: Args<"Renewal">, opts?: Options) {
    super("Renewal", name, args, ["generation", "issuedAt"], opts);
  }
}

/** Which of two authorities signs and which are trusted; a change of `step` is one phase further. */
export class AuthorityRotation extends OwnResource<"AuthorityRotation"> {
  declare readonly signer: Property<"AuthorityRotation", "signer">;
  declare readonly trusted: Property<"AuthorityRotation", "trusted">;
  declare readonly firstGeneration: Property<"AuthorityRotation", "firstGeneration">;
  declare readonly secondGeneration: Property<"AuthorityRotation", "secondGeneration">;

  constructor(name: string, args: Args<"AuthorityRotation">, opts?: Options) {
    super("AuthorityRotation", name, args, ["phase", "signer", "trusted", "firstGeneration", "secondGeneration"], opts);
  }
}

/** Configuration and certificates in a volume, replaced under a running server without a restart. */
export class VolumeFiles extends OwnResource<"VolumeFiles"> {
  declare readonly volume: Property<"VolumeFiles", "volume">;

  constructor(name: string, args: Args<"VolumeFiles">, opts?: Options) {
    super("VolumeFiles", name, { ...args, files: pulumi.secret(args.files) }, [], opts);
  }
}

/** The gate between a started container and whatever connects to it. */
export class ContainerReady extends OwnResource<"ContainerReady"> {
  declare readonly readyHost: Property<"ContainerReady", "readyHost">;
  declare readonly readyPort: Property<"ContainerReady", "readyPort">;

  constructor(name: string, args: Args<"ContainerReady">, opts?: Options) {
    super("ContainerReady", name, args, ["readyHost", "readyPort"], opts);
  }
}

/** The bootstrap superuser's password, set through the container's local socket. */
export class SuperuserPassword extends OwnResource<"SuperuserPassword"> {
  declare readonly readyHost: Property<"SuperuserPassword", "readyHost">;
  declare readonly readyPort: Property<"SuperuserPassword", "readyPort">;

  constructor(name: string, args: Args<"SuperuserPassword">, opts?: Options) {
    const inputs = { ...args, connection: pulumi.secret(args.connection) };
    super("SuperuserPassword", name, inputs, ["readyHost", "readyPort"], opts);
  }
}

/** The mark in the data volume that says whose it is; the first thing that `destroy` looks at. */
export class DataOwner extends OwnResource<"DataOwner"> {
  constructor(name: string, args: Args<"DataOwner">, opts?: Options) {
    super("DataOwner", name, args, [], opts);
  }
}

/** What login roles changed of themselves, put right before the PostgreSQL provider looks at them. */
export class LoginRoles extends OwnResource<"LoginRoles"> {
  constructor(name: string, args: Args<"LoginRoles">, opts?: Options) {
    const [secrets, superuserPassword] = [pulumi.secret(args.secrets), pulumi.secret(args.superuserPassword)];
    super("LoginRoles", name, { ...args, secrets, superuserPassword }, [], opts);
  }
}

/** PUBLIC's rights taken away, PgBouncer's auth_query function, and the mark that says what the database is for. */
export class DatabaseBaseline extends OwnResource<"DatabaseBaseline"> {
  constructor(name: string, args: Args<"DatabaseBaseline">, opts?: Options) {
    super("DatabaseBaseline", name, { ...args, connection: pulumi.secret(args.connection) }, [], opts);
  }
}

/** Certificates and keys of the client roles on this machine, outside the checkout. */
export class ClientFiles extends OwnResource<"ClientFiles"> {
  declare readonly directory: Property<"ClientFiles", "directory">;

  constructor(name: string, args: Args<"ClientFiles">, opts?: Options) {
    super("ClientFiles", name, { ...args, files: pulumi.secret(args.files) }, [], opts);
  }
}

/** The applied migrations of the database. */
export class Migrations extends OwnResource<"Migrations"> {
  declare readonly migrations: pulumi.Output<string[]>;

  constructor(name: string, args: Args<"Migrations">, opts?: Options) {
    super("Migrations", name, { ...args, connection: pulumi.secret(args.connection) }, [], opts);
  }
}
