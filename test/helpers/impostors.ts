import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Connection } from "../../database/connection.ts";
import { createCa } from "./throw-away-ca.ts";

/** Connections that a client must refuse, and what removes their files and listener. */
export interface Impostors {
  /** The same server, but the client trusts another authority. */
  readonly ofAnotherAuthority: Connection;
  /** The same server, at an address that its certificate does not have. */
  readonly underAnotherName: Connection;
  close(): void;
}

/** Makes a server look like another one to clients. */
export async function impostors(connection: Connection): Promise<Impostors> {
  const folder = mkdtempSync(path.join(tmpdir(), "aiwdb-impostors-"));
  const sslRootCert = path.join(folder, "other.crt");
  writeFileSync(sslRootCert, (await createCa()).certPem);
  const forwarder = net.createServer((client) => {
    const server = net.connect(connection.port, connection.host);
    client.pipe(server).pipe(client);
    for (const socket of [client, server]) socket.on("error", () => socket.destroy());
  });
  const host = "127.0.0.2";
  await new Promise<void>((listening) => forwarder.listen(0, host, listening));
  const { port } = forwarder.address() as net.AddressInfo;
  return {
    ofAnotherAuthority: { ...connection, sslRootCert },
    underAnotherName: { ...connection, host, port },
    close() {
      forwarder.close();
      rmSync(folder, { recursive: true });
    },
  };
}

/** What a driver says when it refuses a server. */
export const REFUSED = /certif|hostname|altname|issuer|self.signed|x509/i;
