import { randomBytes, X509Certificate } from "node:crypto";
import { chownSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import path from "node:path";
import { clientCertificateFolder, stackFolder } from "../../infra/settings/places.ts";
import type { StackConfig } from "../../infra/settings/table.ts";
import { ENVIRONMENT_SETTING } from "../../database/environment.ts";
import { LOGIN_ROLES, MEMBERSHIPS } from "../../database/access/rights.ts";
import { CLIENT_ROLES, ROLES, type ClientRole } from "../../database/access/roles.ts";
import { account, placesOf, rootFolder } from "../../database/scratch/place.ts";
import {
  isRunning,
  makeCluster,
  makeFolder,
  reload,
  removeServer,
  runAlone,
  startServer,
} from "../../database/scratch/process.ts";
import { findPrograms } from "../../database/scratch/programs.ts";
import { scramSecret } from "../../database/scram.ts";
import { renderPgHba } from "../../infra/servers/postgres/hba.ts";
import { renderPostgresqlConf } from "../../infra/servers/postgres/conf.ts";
import { StateError } from "../../base/errors.ts";
import { privateFolder } from "../../base/paths.ts";
import { readJsonIfWhole, replaceFile } from "../../base/text-file.ts";
import { serverFiles } from "../description/files.ts";
import { type Credentials, type TestServer, writeServer } from "../description/server.ts";

/**
 * What is written down about a local server before anything of it exists, so that one half made is found and removed.
 */
export interface LocalRecord {
  /** Everything of the server. */
  readonly folder: string;
  readonly createdAt: string;
  /** 0: never. */
  readonly expiresAfterHours: number;
}

/**
 * The record of a local server; undefined where there is none, and where it was cut off: `reap` names a file that is
 * there.
 */
export function readLocalRecord(name: string): LocalRecord | undefined {
  return readJsonIfWhole<LocalRecord>(serverFiles(name).local);
}

/** Names of this user's local servers, running or not. */
export function localServers(): string[] {
  const stacks = path.dirname(stackFolder("any"));
  return existsSync(stacks) ? readdirSync(stacks).filter((name) => existsSync(serverFiles(name).local)) : [];
}

/**
 * Starts PostgreSQL 16 as a process of this machine, with a stack's settings, roles, rights and certificates. For
 * machines without a Docker Engine, and where starting must be quick; there is no PgBouncer.
 */
export async function startLocalServer(settings: StackConfig, report: (line: string) => void): Promise<TestServer> {
  const name = settings.stack;
  if (settings.profile !== "ci") {
    throw new StateError(`Stack "${name}" has the profile ${settings.profile}, and a server for tests needs ci.`, {
      subject: "profile",
      problem: "its server would let nobody into test databases",
      remedy: "Leave it out of its settings.",
    });
  }
  const config: StackConfig = { ...settings, networkSubnet: "127.0.0.0/28" }; // its gateway, the host, is 127.0.0.1
  const { databaseName: database, expiresAfterHours } = config;
  const programs = await findPrograms(report);
  await stopLocalServer(name);
  const folder = path.join(rootFolder(), name);
  const record: LocalRecord = { folder, createdAt: new Date().toISOString(), expiresAfterHours };
  replaceFile(serverFiles(name).local, `${JSON.stringify(record, null, 2)}\n`);
  makeFolder(folder);
  const passwords = Object.fromEntries(
    [...CLIENT_ROLES, ROLES.pooler].map((role) => [role, randomBytes(24).toString("base64url")]),
  );
  report(`server ${name}: making a cluster in ${folder}`);
  const [roles] = await Promise.all([writeCertificates(name, folder, passwords), makeCluster(programs, folder)]);
  await runAlone(programs, folder, bootstrap(config, passwords));
  const port = await startServer(programs, folder, {
    conf: renderPostgresqlConf(config),
    hba: renderPgHba(config, { pooler: false }),
    port: config.postgresPort,
  });
  const server: TestServer = {
    name,
    engine: "local",
    database,
    direct: { host: "127.0.0.1", port },
    roles,
    images: [programs.version],
    extensions: config.extensions,
  };
  writeServer(server);
  return server;
}

/**
 * Roles, the database and its mark, as infra/components/database.ts makes them; single-user mode takes one statement a
 * line.
 */
function bootstrap(config: StackConfig, passwords: Readonly<Record<string, string>>): string {
  const secret = (role: string) => `password '${scramSecret(passwords[role] ?? "")}'`;
  return [
    "revoke connect on database postgres, template1 from public",
    `alter role ${ROLES.superuser} ${secret(ROLES.superuser)}`,
    ...LOGIN_ROLES.map((role) => `create role ${role} login ${secret(role)}`),
    `create role ${ROLES.lookupOwner}`,
    ...LOGIN_ROLES.flatMap((role) => (MEMBERSHIPS[role] ?? []).map((group) => `grant ${group} to ${role}`)),
    `create database ${config.databaseName} owner ${ROLES.owner} template template0 strategy file_copy`,
    `revoke all on database ${config.databaseName} from public`,
    ...(config.appUserTemporary ? [`grant temporary on database ${config.databaseName} to ${ROLES.app}`] : []),
    `alter database ${config.databaseName} set ${ENVIRONMENT_SETTING} = 'test'`,
    "",
  ].join("\n");
}

async function writeCertificates(
  name: string,
  folder: string,
  passwords: Readonly<Record<string, string>>,
  lifeMs?: number,
): Promise<TestServer["roles"]> {
  // Loaded here: only who makes certificates needs a library for them.
  const { createTestAuthority } = await import("./certificates.ts");
  const authority = await createTestAuthority(name, lifeMs);
  const owner = account();
  const tls = path.join(folder, "tls");
  if (!existsSync(tls)) makeFolder(tls);
  const { certPem, keyPem } = await authority.server(`aiwdb-${name}-postgres`);
  for (const [file, text] of Object.entries({
    "ca.crt": authority.certPem,
    "server.crt": certPem,
    "server.key": keyPem,
  })) {
    writeFileSync(path.join(tls, file), text, { mode: 0o600 });
    if (owner) chownSync(path.join(tls, file), owner.uid, owner.gid);
  }
  const clients = privateFolder(clientCertificateFolder(name));
  const write = (file: string, text: string) => {
    replaceFile(path.join(clients, file), text);
    return path.join(clients, file);
  };
  const sslRootCert = write("ca.crt", authority.certPem);
  const credentials = CLIENT_ROLES.map(async (role): Promise<[ClientRole, Credentials]> => {
    const pair = await authority.client(role);
    const sslCert = write(`${role}.crt`, pair.certPem);
    const sslKey = write(`${role}.key`, pair.keyPem);
    return [role, { password: passwords[role] ?? "", sslRootCert, sslCert, sslKey }];
  });
  return Object.fromEntries(await Promise.all(credentials)) as TestServer["roles"];
}

/** Less than this left at a start, and the certificates are made anew. */
const RENEWED_BEFORE_MS = 86_400_000;

/** Whether a local server's certificates end soon, have ended, or are not there any more. */
export function certificatesEndSoon(server: TestServer): boolean {
  const { sslRootCert } = server.roles.postgres;
  if (!existsSync(sslRootCert)) return true;
  const { validTo } = new X509Certificate(readFileSync(sslRootCert));
  return new Date(validTo).getTime() - Date.now() < RENEWED_BEFORE_MS;
}

/** Gives a running local server and its clients a new authority; open connections stay. */
export async function renewCertificates(server: TestServer, lifeMs?: number): Promise<void> {
  const { folder } = readLocalRecord(server.name) ?? {};
  if (!folder || !isRunning(folder)) return;
  const passwords = Object.fromEntries(Object.entries(server.roles).map(([role, { password }]) => [role, password]));
  await writeCertificates(server.name, folder, passwords, lifeMs);
  reload(folder);
}

/** Whether a local server's process is there, whatever it answers. */
export const isLocalServerRunning = (name: string): boolean => foldersOf(name).some(isRunning);

/** Files whose first line is the number of a running local server's process. */
export function localServerProcesses(name: string): string[] {
  return foldersOf(name)
    .filter(isRunning)
    .map((folder) => path.join(folder, "data/postmaster.pid"));
}

/** Where a local server's files are or may be: what wrote no record was started by an earlier version. */
function foldersOf(name: string): string[] {
  const recorded = readLocalRecord(name)?.folder;
  return recorded ? [recorded] : placesOf(name);
}

/** Ends the server, if it runs, and removes its data and its clients' certificates. */
export async function stopLocalServer(name: string): Promise<void> {
  for (const folder of foldersOf(name)) await removeServer(folder, `server ${name}`);
  await rm(clientCertificateFolder(name), { recursive: true, force: true });
  await rm(serverFiles(name).local, { force: true });
}
