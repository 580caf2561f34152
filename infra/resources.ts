import * as pulumi from "@pulumi/pulumi";
import { ownResource, type InputsOf } from "./custom-resource.ts";
import type { Connection } from "../database/connection.ts";

/** A connection whose parts may still be on their way. */
export type ConnectionInput = InputsOf<Connection>;

/** Which state a stack on the engine belongs to. */
export class StateIdentity extends ownResource("StateIdentity", { outputs: ["madeBy"] }) {
  /** What the file in the volumes of configuration says. */
  get text(): pulumi.Output<string> {
    return pulumi.interpolate`${this.id} ${this.madeBy}\n`;
  }
}

/** One of the package's images, built on the engine when it is not there. */
export class Image extends ownResource("Image") {}

/** A bridge network of the engine; its id is the engine's. */
export class Network extends ownResource("Network") {}

/** A generated password; a new one when `version` changes. */
export class Password extends ownResource("Password", { outputs: ["password"], secrets: ["password"] }) {}

/** What PostgreSQL stores for a password; a new one when the password or the iterations change. */
export class ScramSecret extends ownResource("ScramSecret", {
  outputs: ["secret"],
  secrets: ["password", "secret"],
}) {}

/** Decides when leaf certificates are renewed; they follow `generation`. */
export class Renewal extends ownResource("Renewal", { outputs: ["generation", "issuedAt"] }) {}

/** Which of two authorities signs and which are trusted; a change of `step` is one phase further. */
export class AuthorityRotation extends ownResource("AuthorityRotation", {
  outputs: ["phase", "signer", "trusted", "firstGeneration", "secondGeneration"],
}) {}

/** Configuration and certificates in a volume, replaced under a running server without a restart. */
export class VolumeFiles extends ownResource("VolumeFiles", { secrets: ["files"] }) {}

/** The gate between a started container and whatever connects to it. */
export class ContainerReady extends ownResource("ContainerReady", { outputs: ["readyHost", "readyPort"] }) {}

/** The bootstrap superuser's password, set through the container's local socket. */
export class SuperuserPassword extends ownResource("SuperuserPassword", {
  outputs: ["readyHost", "readyPort"],
  secrets: ["connection"],
}) {}

/** The mark in the data volume that says whose it is; the first thing that `destroy` looks at. */
export class DataOwner extends ownResource("DataOwner") {}

/** What login roles changed of themselves, put right before the PostgreSQL provider looks at them. */
export class LoginRoles extends ownResource("LoginRoles", { secrets: ["secrets", "superuserPassword"] }) {}

/** A login role of the setting `roles`; its removal gives what it owns to the application. */
export class FurtherRole extends ownResource("FurtherRole", { secrets: ["secret"] }) {}

/** PUBLIC's rights taken away, PgBouncer's auth_query function, and the mark that says what the database is for. */
export class DatabaseBaseline extends ownResource("DatabaseBaseline", { secrets: ["connection"] }) {}

/** The extensions of the database, created and dropped by the superuser. */
export class Extensions extends ownResource("Extensions") {}

/** Certificates and keys of the client roles on this machine, outside the checkout. */
export class ClientFiles extends ownResource("ClientFiles", { secrets: ["files"] }) {}

/** The applied migrations of the database. */
export class Migrations extends ownResource("Migrations", { secrets: ["connection"] }) {}
