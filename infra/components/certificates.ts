import path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { CertificateAuthority, RoleAuthority, type Signer } from "../../certs/certificate-authority.ts";
import { LeafCertificate, type LeafCertificateArgs } from "../../certs/leaf-certificate.ts";
import { authorityName, HOLD, type Place } from "../../certs/rotation.ts";
import type { StackConfig } from "../settings/table.ts";
import { furtherRoles } from "../settings/further-roles.ts";
import { engineNames } from "../settings/names.ts";
import { CLIENT_ROLES, POOLED_ROLES, ROLES, type ClientRole, type PooledRole } from "../../database/access/roles.ts";
import { addresses } from "../servers/postgres/hba.ts";
import { AuthorityRotation, ClientFiles, Renewal } from "../resources.ts";

export interface StackCertificatesArgs {
  readonly config: StackConfig;
  /** Folder on this machine that gets the client roles' certificates and keys. */
  readonly clientDirectory: pulumi.Input<string>;
  /** See `DatabaseStackArgs`. */
  readonly rotateAuthority: string | undefined;
  /** See `DatabaseStackArgs`. */
  readonly rotateCertificates: string | undefined;
}

/** The stack's authority, a certificate for each server and each role, and the roles' files on this machine. */
export class StackCertificates extends pulumi.ComponentResource {
  /** Certificates of the trusted authorities, PEM: one, or two while the authority is being replaced. */
  readonly trustedPem: pulumi.Output<string>;
  /** The same, and the authorities that issue only pooled roles' certificates: PostgreSQL takes all their clients. */
  readonly clientsTrustedPem: pulumi.Output<string>;
  /** By pooled role, the authorities of its certificates alone; empty unless `pgbouncerBindCertificates`. */
  readonly roleTrustedPem: ReadonlyMap<PooledRole, pulumi.Output<string>>;
  readonly postgresServer: LeafCertificate;
  readonly pgbouncerServer: LeafCertificate;
  /** The pooler's own, for its connections to PostgreSQL. */
  readonly pgbouncerClient: LeafCertificate;
  /** By role, further ones too. */
  readonly clients: Readonly<Record<ClientRole, LeafCertificate> & Record<string, LeafCertificate>>;
  /** Folder of the client files once they are written. */
  readonly clientDirectory: pulumi.Output<string>;

  constructor(name: string, args: StackCertificatesArgs, opts?: pulumi.ComponentResourceOptions) {
    super("aiwdb:index:StackCertificates", name, {}, opts);
    const { config, rotateAuthority, rotateCertificates } = args;
    const names = engineNames(config.stack);
    const fixed = addresses(config);

    const step = rotateAuthority === HOLD ? undefined : rotateAuthority;
    const rotation = new AuthorityRotation(
      `${name}-authority`,
      { step },
      { parent: this, ignoreChanges: step === undefined ? ["step"] : [] },
    );
    const authorityAt = (place: Place, commonName: string, generation: pulumi.Output<number>) =>
      new CertificateAuthority(
        authorityName(name, place),
        { commonName, validityDays: config.certCaValidityDays, generation, protect: config.protect },
        { parent: this },
      );
    // Both are always there. Only the state knows which one is in use; a program cannot tell from its settings.
    const authorities: Record<Place, CertificateAuthority> = {
      first: authorityAt("first", `ai-workflow-database ${config.stack} CA`, rotation.firstGeneration),
      second: authorityAt("second", `ai-workflow-database ${config.stack} CA 2`, rotation.secondGeneration),
    };
    const ofSigner = (first: pulumi.Output<string>, second: pulumi.Output<string>) =>
      pulumi.all([rotation.signer, first, second]).apply(([signer, ...each]) => each[signer === "first" ? 0 : 1]);
    const signing = ({ first, second }: Record<Place, Signer>): Signer => ({
      certPem: ofSigner(first.certPem, second.certPem),
      privateKeyPem: pulumi.secret(ofSigner(first.privateKeyPem, second.privateKeyPem)),
    });
    const trusted = ({ first, second }: Record<Place, Signer>) =>
      pulumi
        .all([rotation.trusted, first.certPem, second.certPem])
        .apply(([places, ...each]) => places.map((place) => each[place === "first" ? 0 : 1]).join(""));
    const authority = signing(authorities);
    this.trustedPem = trusted(authorities);

    // A role's authority shares the key of its place, and so is trusted and signs when that place does.
    const roleAuthority = (role: PooledRole, place: Place) =>
      new RoleAuthority(
        `${name}-${place}-ca-${role}`,
        {
          authority: authorities[place],
          commonName: `${config.stack} CA${place === "second" ? " 2" : ""} ${role}`,
          validityDays: config.certCaValidityDays,
        },
        { parent: this },
      );
    const ofRoles = new Map<string, Record<Place, Signer>>(
      (config.pgbouncerBindCertificates ? POOLED_ROLES : []).map((role) => [
        role,
        { first: roleAuthority(role, "first"), second: roleAuthority(role, "second") },
      ]),
    );
    this.roleTrustedPem = new Map([...ofRoles].map(([role, of]) => [role as PooledRole, trusted(of)]));
    this.clientsTrustedPem = pulumi
      .all([this.trustedPem, ...this.roleTrustedPem.values()])
      .apply((parts) => parts.join(""));

    // A published address that clients may connect to by number.
    const published = [config.pgbouncerPublishAddress].filter((each) => !["0.0.0.0", "127.0.0.1"].includes(each));
    const renewal = new Renewal(
      `${name}-renewal`,
      {
        validityDays: config.certLeafValidityDays,
        renewBeforeDays: config.certRenewBeforeDays,
        force: rotateCertificates,
        hosts: [fixed.postgres, fixed.pgbouncer, ...config.certServerHostNames, ...published],
        authorityEnd: ofSigner(authorities.first.validityEndTime, authorities.second.validityEndTime),
        hold: rotateAuthority !== undefined,
      },
      { parent: this, ignoreChanges: rotateCertificates === undefined ? ["force"] : [] },
    );
    const leaf = (
      part: string,
      usage: "server" | "client",
      commonName: string,
      hosts: Pick<LeafCertificateArgs, "dnsNames" | "ipAddresses"> = {},
      signer = authority,
    ) =>
      new LeafCertificate(
        `${name}-${part}`,
        {
          authority: signer,
          commonName,
          usage,
          ...hosts,
          validityDays: config.certLeafValidityDays,
          generation: renewal.generation,
        },
        { parent: this },
      );

    const serverLeaf = (server: "postgres" | "pgbouncer") =>
      leaf(`${server}-server`, "server", names[server], {
        dnsNames: [names[server], server, "localhost", ...config.certServerHostNames],
        ipAddresses: ["127.0.0.1", "::1", fixed[server], ...published],
      });

    this.postgresServer = serverLeaf("postgres");
    this.pgbouncerServer = serverLeaf("pgbouncer");
    this.pgbouncerClient = leaf("pgbouncer-client", "client", ROLES.pooler);
    const clientLeaf = (role: string) => {
      const own = ofRoles.get(role);
      return leaf(`client-${role}`, "client", role, undefined, own && signing(own));
    };
    const clients = clientRoles(config).map((role) => [role, clientLeaf(role)] as const);
    this.clients = Object.fromEntries(clients) as typeof this.clients;
    const pairs = clients.flatMap(([role, { certPem, privateKeyPem }]): [string, pulumi.Output<string>][] => [
      [`${role}.crt`, certPem],
      [`${role}.key`, privateKeyPem],
    ]);
    const files = { "ca.crt": this.trustedPem, ...Object.fromEntries(pairs) };
    const directory = args.clientDirectory;
    this.clientDirectory = new ClientFiles(`${name}-client-files`, { directory, files }, { parent: this }).directory;
    this.registerOutputs({ clientDirectory: this.clientDirectory });
  }

  /** Paths of a role's files, known once they are written. */
  pathsFor(role: ClientRole) {
    const at = (part: keyof ReturnType<typeof clientPaths>) =>
      this.clientDirectory.apply((directory) => clientPaths(directory, role)[part]);
    return { sslRootCert: at("sslRootCert"), sslCert: at("sslCert"), sslKey: at("sslKey") };
  }
}

/** Roles that have a certificate for clients: the package's own, then further ones. */
export const clientRoles = (config: StackConfig): string[] => [
  ...CLIENT_ROLES,
  ...furtherRoles(config).map(({ name }) => name),
];

/** Where a role's files are; the names libpq's connection parameters want. */
export function clientPaths(directory: string, role: string) {
  return {
    sslRootCert: path.join(directory, "ca.crt"),
    sslCert: path.join(directory, `${role}.crt`),
    sslKey: path.join(directory, `${role}.key`),
  };
}
