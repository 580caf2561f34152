import * as pulumi from "@pulumi/pulumi";
import * as tls from "@pulumi/tls";
import { lifeInHours } from "./verify.ts";

export interface CertificateAuthorityArgs {
  /** Common name, shown in every certificate's issuer. */
  readonly commonName: string;
  /** Life in days. */
  readonly validityDays: number;
  /** Key and certificate are made anew whenever this changes. */
  readonly generation?: pulumi.Input<number>;
  /** Refuse to delete the key: every client would have to get a new authority. @default false */
  readonly protect?: boolean;
}

/** What signs a leaf certificate. */
export interface Signer {
  /** Its certificate, PEM. */
  readonly certPem: pulumi.Output<string>;
  /** Its key, PEM; secret. */
  readonly privateKeyPem: pulumi.Output<string>;
}

/**
 * The stack's own certificate authority: an ECDSA P-256 key that never leaves the (encrypted) state, and its
 * self-signed certificate. It signs leaf certificates only (path length 0).
 */
export class CertificateAuthority extends pulumi.ComponentResource implements Signer {
  /** The certificate clients and servers trust, PEM. */
  readonly certPem: pulumi.Output<string>;
  /** Its key, PEM; secret. For leaf certificates of the same program only. */
  readonly privateKeyPem: pulumi.Output<string>;
  /** End of its life, RFC 3339. */
  readonly validityEndTime: pulumi.Output<string>;

  constructor(name: string, args: CertificateAuthorityArgs, opts?: pulumi.ComponentResourceOptions) {
    super("aiwdb:index:CertificateAuthority", name, {}, opts);
    const protect = args.protect ?? false;
    const trigger = args.generation === undefined ? {} : { replacementTrigger: args.generation };
    const key = ecdsaKey(name, { parent: this, protect, ...trigger });
    const cert = selfSigned(name, key.privateKeyPem, args, { parent: this, protect });
    this.certPem = cert.certPem;
    this.privateKeyPem = pulumi.secret(key.privateKeyPem);
    this.validityEndTime = cert.validityEndTime;
    this.registerOutputs({ certPem: this.certPem, validityEndTime: this.validityEndTime });
  }
}

/**
 * A second name of an authority, for the certificates of one role: the same key, so there is no further secret to keep
 * or to replace. Whoever trusts it takes no certificate that was issued under another name.
 */
export class RoleAuthority extends pulumi.ComponentResource implements Signer {
  readonly certPem: pulumi.Output<string>;
  readonly privateKeyPem: pulumi.Output<string>;

  constructor(
    name: string,
    args: { authority: Signer; commonName: string; validityDays: number },
    opts?: pulumi.ComponentResourceOptions,
  ) {
    super("aiwdb:index:RoleAuthority", name, {}, opts);
    this.certPem = selfSigned(name, args.authority.privateKeyPem, args, { parent: this }).certPem;
    this.privateKeyPem = args.authority.privateKeyPem;
    this.registerOutputs({ certPem: this.certPem });
  }
}

/**
 * A key on P-256. An authority's is as strong as those of the leaves it signs: every handshake checks its signature
 * twice, which with P-384 takes ten times as long.
 */
export function ecdsaKey(name: string, opts: pulumi.CustomResourceOptions): tls.PrivateKey {
  const additionalSecretOutputs = ["privateKeyPem", "privateKeyPemPkcs8", "privateKeyOpenssh"];
  const args = { algorithm: "ECDSA", ecdsaCurve: "P256" };
  return new tls.PrivateKey(`${name}-key`, args, { ...opts, additionalSecretOutputs });
}

function selfSigned(
  name: string,
  privateKeyPem: pulumi.Input<string>,
  args: Pick<CertificateAuthorityArgs, "commonName" | "validityDays">,
  opts: pulumi.CustomResourceOptions,
): tls.SelfSignedCert {
  return new tls.SelfSignedCert(
    `${name}-cert`,
    {
      privateKeyPem,
      subject: { commonName: args.commonName, organization: "ai-workflow-database" },
      isCaCertificate: true,
      maxPathLength: 0,
      setSubjectKeyId: true,
      setAuthorityKeyId: true,
      validityPeriodHours: lifeInHours(args.validityDays),
      allowedUses: ["cert_signing", "crl_signing"],
    },
    opts,
  );
}
