import * as pulumi from "@pulumi/pulumi";
import * as tls from "@pulumi/tls";
import { ecdsaKey, type Signer } from "./certificate-authority.ts";
import { lifeInHours } from "./verify.ts";

export interface LeafCertificateArgs {
  readonly authority: Signer;
  /** Common name: the role for a client, the host for a server. */
  readonly commonName: string;
  /** What it is for; a client certificate cannot pose as a server and the other way round. */
  readonly usage: "server" | "client";
  /** DNS names clients connect to; servers only. */
  readonly dnsNames?: readonly string[];
  /** Addresses clients connect to; servers only. */
  readonly ipAddresses?: readonly string[];
  /** Life in days. It must end before the authority's; see `Renewal`, which looks before one is issued. */
  readonly validityDays: number;
  /** Key and certificate are made anew whenever this changes: see `Renewal`. */
  readonly generation: pulumi.Input<number>;
}

/** A key (ECDSA P-256) and a certificate over it, for one server or one role. */
export class LeafCertificate extends pulumi.ComponentResource {
  /** PEM. */
  readonly certPem: pulumi.Output<string>;
  /** PEM (PKCS #8); secret. */
  readonly privateKeyPem: pulumi.Output<string>;
  /** End of its life, RFC 3339. */
  readonly validityEndTime: pulumi.Output<string>;

  constructor(name: string, args: LeafCertificateArgs, opts?: pulumi.ComponentResourceOptions) {
    super("aiwdb:index:LeafCertificate", name, {}, opts);
    const key = ecdsaKey(name, { parent: this, replacementTrigger: args.generation });
    const request = new tls.CertRequest(
      `${name}-request`,
      {
        privateKeyPem: key.privateKeyPem,
        subject: { commonName: args.commonName, organization: "ai-workflow-database" },
        ...(args.dnsNames?.length ? { dnsNames: [...args.dnsNames] } : {}),
        ...(args.ipAddresses?.length ? { ipAddresses: [...args.ipAddresses] } : {}),
      },
      { parent: this },
    );
    const cert = new tls.LocallySignedCert(
      `${name}-cert`,
      {
        certRequestPem: request.certRequestPem,
        caPrivateKeyPem: args.authority.privateKeyPem,
        caCertPem: args.authority.certPem,
        validityPeriodHours: lifeInHours(args.validityDays),
        allowedUses: ["digital_signature", args.usage === "server" ? "server_auth" : "client_auth"],
        setSubjectKeyId: true,
      },
      { parent: this },
    );
    this.certPem = cert.certPem;
    this.privateKeyPem = pulumi.secret(key.privateKeyPemPkcs8);
    this.validityEndTime = cert.validityEndTime;
    this.registerOutputs({ certPem: this.certPem, validityEndTime: this.validityEndTime });
  }
}
