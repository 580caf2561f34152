import { X509Certificate } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { certificatesOf, isSignedBy } from "../certs/verify.ts";
import { issuedFolder } from "../infra/settings/places.ts";
import { type Authorities, readAuthorities } from "./authority.ts";
import type { Session } from "./pulumi-run.ts";
import { readOutputs } from "./session.ts";

const DAY_MS = 86_400_000;

/** A certificate that `aiwdb certs issue` made on this machine. */
export interface IssuedCertificate {
  readonly role: string;
  /** Upper-case hexadecimal. */
  readonly serial: string;
  /** ISO 8601. */
  readonly validFrom: string;
  readonly validTo: string;
  readonly daysLeft: number;
  /**
   * untrusted: of an authority that has been replaced, or of one that no server trusts for another reason. roleless: the
   * stack has no such role any more.
   */
  readonly state: "valid" | "expired" | "untrusted" | "roleless";
}

/** Certificates that were issued on this machine, those that end first at the front. */
export async function issuedCertificates(session: Session): Promise<IssuedCertificate[]> {
  const folder = issuedFolder(session.stack);
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".crt")) : [];
  if (names.length === 0) return [];
  const authorities = await readAuthorities(session);
  const { roles } = (await readOutputs(session)).connections;
  return names
    .map((name) => described(new X509Certificate(readFileSync(path.join(folder, name))), authorities, roles))
    .toSorted((a, b) => a.validTo.localeCompare(b.validTo) || a.serial.localeCompare(b.serial));
}

/**
 * What is to be said of a certificate.
 *
 * @param roles of the stack
 */
export function described(
  certificate: X509Certificate,
  { clientsTrustedPem }: Authorities,
  roles: readonly string[],
): IssuedCertificate {
  const { validFromDate, validToDate, subject, serialNumber } = certificate;
  const role = /^CN=(.*)$/m.exec(subject)?.[1] ?? "";
  const isTrusted = isSignedBy(certificatesOf(clientsTrustedPem), certificate);
  const hasEnded = validToDate.getTime() < Date.now();
  return {
    role,
    serial: serialNumber,
    validFrom: validFromDate.toISOString(),
    validTo: validToDate.toISOString(),
    daysLeft: Math.floor((validToDate.getTime() - Date.now()) / DAY_MS),
    state: !isTrusted ? "untrusted" : hasEnded ? "expired" : roles.includes(role) ? "valid" : "roleless",
  };
}
