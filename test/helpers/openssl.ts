import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { offeredCertificate } from "../../database/handshake.ts";

const run = promisify(execFile);

/** Runs `openssl` in a folder and returns what it prints. */
export async function openssl(folder: string, ...args: string[]): Promise<string> {
  return (await run("openssl", args, { cwd: folder })).stdout;
}

/** What `openssl verify -x509_strict` says of a certificate: a file, or the one a server offers. */
export async function checkPair(
  rootCert: string,
  certificate: string | { host: string; port: number },
  purpose: "sslserver" | "sslclient",
): Promise<string> {
  const folder = mkdtempSync(path.join(tmpdir(), "openssl-"));
  try {
    let file = typeof certificate === "string" ? certificate : path.join(folder, "offered.crt");
    if (typeof certificate !== "string") {
      const { raw } = await offeredCertificate(certificate.host, certificate.port);
      writeFileSync(
        file,
        `-----BEGIN CERTIFICATE-----\n${raw.toString("base64").replaceAll(/.{64}/g, "$&\n")}\n-----END CERTIFICATE-----\n`,
      );
    }
    const { stdout } = await run("openssl", ["verify", "-x509_strict", "-purpose", purpose, "-CAfile", rootCert, file]);
    return stdout;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
