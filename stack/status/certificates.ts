import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { offeredCertificate } from "../../database/handshake.ts";
import type { ConnectionInfo } from "../../infra/database-stack.ts";
import type { Look } from "./look.ts";

export interface CertificateStatus {
  readonly name: string;
  readonly validTo: string;
  readonly daysLeft: number;
}

/** Of the servers, as they offer them, and of the files of the clients. */
export async function certificateStatuses(connections: ConnectionInfo, look: Look): Promise<CertificateStatus[]> {
  const files = Object.entries(connections.certificates).map(([role, { sslCert }]) => ({
    name: `client ${role}`,
    file: sslCert,
  }));
  const authority = Object.values(connections.certificates)[0]?.sslRootCert;
  if (authority) files.push({ name: "certificate authority", file: authority });
  const ends: [string, () => Promise<string>][] = [
    ...Object.entries({ "postgres server": connections.direct, "pgbouncer server": connections.transaction }).map(
      ([name, { host, port }]): [string, () => Promise<string>] => [
        name,
        async () => (await offeredCertificate(host, port)).valid_to,
      ],
    ),
    ...files.map(({ name, file }): [string, () => Promise<string>] => [
      name,
      async () => new X509Certificate(readFileSync(file)).validTo,
    ]),
  ];
  const found = await Promise.all(
    ends.map(async ([name, validTo]) => ({ name, validTo: await look(`certificate of ${name}`, validTo) })),
  );
  return found.flatMap(({ name, validTo }) => (validTo === "unknown" ? [] : [certificateStatus(name, validTo)]));
}

function certificateStatus(name: string, validTo: string): CertificateStatus {
  const end = new Date(validTo);
  return { name, validTo: end.toISOString(), daysLeft: Math.floor((end.getTime() - Date.now()) / 86_400_000) };
}
