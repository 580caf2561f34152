import * as pulumi from "@pulumi/pulumi";
import { OwnResource, type InputsOf } from "./custom-resource.ts";
import type { Connection } from "../database/connection.ts";
import type { RotationState } from "../certs/rotation.ts";
import type { AuthorityRotationInputs } from "./provider/resources/authority-rotation.ts";
import type { ClientFilesInputs } from "./provider/resources/client-files.ts";
import type { ContainerReadyInputs, ContainerReadyOutputs } from "./provider/resources/container-ready.ts";
import type { DatabaseBaselineInputs } from "./provider/resources/database-baseline.ts";
import type { DataOwnerInputs } from "./provider/resources/data-owner.ts";
import type { ImageInputs } from "./provider/resources/image.ts";
import type { LoginRolesInputs } from "./provider/resources/login-roles.ts";
import type { MigrationsInputs } from "./provider/resources/migrations.ts";
import type { NetworkInputs } from "./provider/resources/network.ts";
import type { PasswordInputs, PasswordOutputs } from "./provider/resources/password.ts";
import type { RenewalInputs, RenewalOutputs } from "./provider/resources/renewal.ts";
import type { ScramSecretInputs, ScramSecretOutputs } from "./provider/resources/scram-secret.ts";
import type { StateIdentityInputs, StateIdentityOutputs } from "./provider/resources/state-identity.ts";
import type { SuperuserPasswordInputs, SuperuserPasswordOutputs } from "./provider/resources/superuser-password.ts";
import type { VolumeFilesInputs } from "./provider/resources/volume-files.ts";

/** A connection whose parts may still be on their way. */
export type ConnectionInput = InputsOf<Connection>;

type Options = pulumi.CustomResourceOptions;

/** Which state a stack on the engine belongs to. */
export class StateIdentity extends OwnResource<StateIdentityInputs, StateIdentityOutputs> {
  declare readonly madeBy: pulumi.Output<string>;
  /** What the file in the volumes of configuration says. */
  readonly text: pulumi.Output<string>;

  constructor(name: string, args: InputsOf<StateIdentityInputs>, opts?: Options) {
    super("StateIdentity", name, args, ["madeBy"], opts);
    this.text = pulumi.interpolate`${this.id} ${this.madeBy}\n`;
  }
}

/** One of the package's images, built on the engine when it is not there. */
export class Image extends OwnResource<ImageInputs> {
  declare readonly tag: pulumi.Output<string>;

  constructor(name: string, args: InputsOf<ImageInputs>, opts?: Options) {
    super("Image", name, args, [], opts);
  }
}

/** A bridge network of the engine; its id is the engine's. */
export class Network extends OwnResource<NetworkInputs> {
  declare readonly name: pulumi.Output<string>;

  constructor(name: string, args: InputsOf<NetworkInputs>, opts?: Options) {
    super("Network", name, args, [], opts);
  }
}

/** A generated password; a new one when `version` changes. */
export class Password extends OwnResource<PasswordInputs, PasswordOutputs> {
  /** Secret. */
  declare readonly password: pulumi.Output<string>;

  constructor(name: string, args: InputsOf<PasswordInputs>, opts?: Options) {
    super("Password", name, args, ["password"], { ...opts, additionalSecretOutputs: ["password"] });
  }
}

/** What PostgreSQL stores for a password; a new one when the password or the iterations change. */
export class ScramSecret extends OwnResource<ScramSecretInputs, ScramSecretOutputs> {
  /** Secret. */
  declare readonly secret: pulumi.Output<string>;

  constructor(name: string, args: InputsOf<ScramSecretInputs>, opts?: Options) {
    const inputs = { ...args, password: pulumi.secret(args.password) };
    super("ScramSecret", name, inputs, ["secret"], { ...opts, additionalSecretOutputs: ["secret"] });
  }
}

/** Decides when leaf certificates are renewed; they follow `generation`. */
export class Renewal extends OwnResource<RenewalInputs, RenewalOutputs> {
  declare readonly generation: pulumi.Output<number>;
  declare readonly issuedAt: pulumi.Output<string>;

  constructor(name: string, args: InputsOf<RenewalInputs>, opts?: Options) {
    super("Renewal", name, args, ["generation", "issuedAt"], opts);
  }
}

/** Which of two authorities signs and which are trusted; a change of `step` is one phase further. */
export class AuthorityRotation extends OwnResource<AuthorityRotationInputs, RotationState> {
  declare readonly signer: pulumi.Output<RotationState["signer"]>;
  declare readonly trusted: pulumi.Output<RotationState["trusted"]>;
  declare readonly firstGeneration: pulumi.Output<number>;
  declare readonly secondGeneration: pulumi.Output<number>;

  constructor(name: string, args: InputsOf<AuthorityRotationInputs>, opts?: Options) {
    super("AuthorityRotation", name, args, ["phase", "signer", "trusted", "firstGeneration", "secondGeneration"], opts);
  }
}

/** Configuration and certificates in a volume, replaced under a running server without a restart. */
export class VolumeFiles extends OwnResource<VolumeFilesInputs> {
  declare readonly volume: pulumi.Output<string>;

  constructor(name: string, args: InputsOf<VolumeFilesInputs>, opts?: Options) {
    super("VolumeFiles", name, { ...args, files: pulumi.secret(args.files) }, [], opts);
  }
}

/** The gate between a started container and whatever connects to it. */
export class ContainerReady extends OwnResource<ContainerReadyInputs, ContainerReadyOutputs> {
  declare readonly readyHost: pulumi.Output<string>;
  declare readonly readyPort: pulumi.Output<number>;

  constructor(name: string, args: InputsOf<ContainerReadyInputs>, opts?: Options) {
    super("ContainerReady", name, args, ["readyHost", "readyPort"], opts);
  }
}

/** The bootstrap superuser's password, set through the container's local socket. */
export class SuperuserPassword extends OwnResource<SuperuserPasswordInputs, SuperuserPasswordOutputs> {
  declare readonly readyHost: pulumi.Output<string>;
  declare readonly readyPort: pulumi.Output<number>;

  constructor(name: string, args: InputsOf<SuperuserPasswordInputs>, opts?: Options) {
    const inputs = { ...args, connection: pulumi.secret(args.connection) };
    super("SuperuserPassword", name, inputs, ["readyHost", "readyPort"], opts);
  }
}

/** The mark in the data volume that says whose it is; the first thing that `destroy` looks at. */
export class DataOwner extends OwnResource<DataOwnerInputs> {
  constructor(name: string, args: InputsOf<DataOwnerInputs>, opts?: Options) {
    super("DataOwner", name, args, [], opts);
  }
}

/** What login roles changed of themselves, put right before the PostgreSQL provider looks at them. */
export class LoginRoles extends OwnResource<LoginRolesInputs> {
  constructor(name: string, args: InputsOf<LoginRolesInputs>, opts?: Options) {
    const [secrets, superuserPassword] = [pulumi.secret(args.secrets), pulumi.secret(args.superuserPassword)];
    super("LoginRoles", name, { ...args, secrets, superuserPassword }, [], opts);
  }
}

/** PUBLIC's rights taken away, PgBouncer's auth_query function, and the mark that says what the database is for. */
export class DatabaseBaseline extends OwnResource<DatabaseBaselineInputs> {
  constructor(name: string, args: InputsOf<DatabaseBaselineInputs>, opts?: Options) {
    super("DatabaseBaseline", name, { ...args, connection: pulumi.secret(args.connection) }, [], opts);
  }
}

/** Certificates and keys of the client roles on this machine, outside the checkout. */
export class ClientFiles extends OwnResource<ClientFilesInputs> {
  declare readonly directory: pulumi.Output<string>;

  constructor(name: string, args: InputsOf<ClientFilesInputs>, opts?: Options) {
    super("ClientFiles", name, { ...args, files: pulumi.secret(args.files) }, [], opts);
  }
}

/** The applied migrations of the database. */
export class Migrations extends OwnResource<MigrationsInputs> {
  declare readonly migrations: pulumi.Output<string[]>;

  constructor(name: string, args: InputsOf<MigrationsInputs>, opts?: Options) {
    super("Migrations", name, { ...args, connection: pulumi.secret(args.connection) }, [], opts);
  }
}
