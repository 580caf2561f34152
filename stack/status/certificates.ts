import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { offeredCertificate } from "../../database/handshake.ts";
import type { ConnectionInfo } from "../../infra/database-stack.ts";
import { issuedCertificates } from "../issued-certificates.ts";
import type { Session } from "../pulumi-run.ts";
import type { Look } from "./look.ts";

export interface CertificateStatus {
  readonly name: string;
  /** ISO 8601. */
  readonly validTo: string;
  readonly daysLeft: number;
}

/** Certificates that the servers offer, and those in the clients' files. Leaves out those that it cannot look at. */
export async function certificateStatuses(connections: ConnectionInfo, look: Look): Promise<CertificateStatus[]> {
  const { direct, transaction, certificates } = connections;
  const offered = async ({ host, port }: typeof direct) => (await offeredCertificate(host, port)).valid_to;
  const inFile = async (file: string) => new X509Certificate(readFileSync(file)).validTo;
  const authority = Object.values(certificates)[0]?.sslRootCert;
  const found = await Promise.all([
    certificateStatus("postgres server", () => offered(direct), look),
    certificateStatus("pgbouncer server", () => offered(transaction), look),
    ...Object.entries(certificates).map(([role, { sslCert }]) =>
      certificateStatus(`client ${role}`, () => inFile(sslCert), look),
    ),
    ...(authority ? [certificateStatus("certificate authority", () => inFile(authority), look)] : []),
  ]);
  return found.flat();
}

/** Certificates that `aiwdb certs issue` made on this machine, as long as a server takes them. */
export async function issuedStatuses(session: Session, look: Look): Promise<CertificateStatus[]> {
  const found = await look("issued certificates", () => issuedCertificates(session));
  return (found === "unknown" ? [] : found)
    .filter(({ state }) => state === "valid")
    .map(({ role, serial, validTo, daysLeft }) => ({ name: `issued ${role} ${serial}`, validTo, daysLeft }));
}

async function certificateStatus(name: string, validTo: () => Promise<string>, look: Look) {
  const found = await look(`certificate of ${name}`, validTo);
  if (found === "unknown") return [];
  const end = new Date(found);
  return [{ name, validTo: end.toISOString(), daysLeft: Math.floor((end.getTime() - Date.now()) / 86_400_000) }];
}
