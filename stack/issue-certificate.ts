import { X509Certificate } from "node:crypto";
import { accessSync, constants, existsSync, lstatSync, realpathSync } from "node:fs";
import path from "node:path";
import { messageOf, type Problem, StateError, ToolError, UsageError } from "../base/errors.ts";
import { privateFolder } from "../base/paths.ts";
import { readIfThere, replaceFile } from "../base/text-file.ts";
import { keyOfRequest, newKeys, privateKeyPem, signLeaf } from "../certs/sign.ts";
import { lifeInHours } from "../certs/verify.ts";
import { clientCertificateFolder, issuedFolder } from "../infra/settings/places.ts";
import { readAuthorities } from "./authority.ts";
import { connectionFor } from "./connections.ts";
import { described, type IssuedCertificate } from "./issued-certificates.ts";
import type { Session } from "./pulumi-run.ts";
import { readOutputs } from "./session.ts";

const HOUR_MS = 3_600_000;
/** Clocks of two machines may differ by this. */
const SKEW_MS = 60_000;

export interface IssueOptions {
  readonly role: string;
  /** Folder for `ca.crt`, `<role>.crt` and `<role>.key`. */
  readonly folder: string;
  /** Life in days, rounded up to whole hours. */
  readonly days: number;
  /** Path of a signing request of whoever keeps the key. Without one a key is made here. */
  readonly request?: string | undefined;
  /** Replace files of these names. */
  readonly overwrite: boolean;
}

export interface Issued extends IssuedCertificate {
  /** Paths of the files that were written. */
  readonly files: readonly string[];
  /** Of a replacement of the authority; see `RotationState`. */
  readonly phase: number;
}

/**
 * Issues a further client certificate for a role. The one that the stack has stays as it is. The new one is recorded on
 * this machine, without its key.
 *
 * @throws UsageError, StateError listing everything that is in the way, such as a role that the stack does not have;
 *   nothing has been written then
 */
export async function issueCertificate(session: Session, options: IssueOptions): Promise<Issued> {
  const { role, days, overwrite, request } = options;
  if (options.folder === "") throw new UsageError("No certificate has been issued:", NO_FOLDER);
  const folder = realFolder(options.folder);
  const names = ["ca.crt", `${role}.crt`, ...(request === undefined ? [`${role}.key`] : [])];
  const files = names.map((name) => path.join(folder, name));
  const keys = request === undefined ? await newKeys() : await requestedKey(request);
  const problems = folderProblems(folder, session.stack, files, overwrite);
  if ("problem" in keys) problems.push({ subject: "--csr", problem: `${request} ${keys.problem}` });
  if ("problem" in keys || problems.length > 0) throw new UsageError("No certificate has been issued:", problems);
  const outputs = await readOutputs(session);
  connectionFor(outputs, role, "direct"); // throws for a role that the stack does not have yet
  const authorities = await readAuthorities(session);
  const signer = await authorities.signerOf(role);
  const life = lifeOf(days);
  refuseLongerLife(session.stack, days, life.notAfter, signer.certPem);
  const certPem = await signLeaf(signer, { commonName: role, usage: "client", publicKey: keys.publicKey, ...life });
  const text: Readonly<Record<string, string>> = {
    "ca.crt": authorities.trustedPem,
    [`${role}.crt`]: certPem,
    ...(keys.privateKey ? { [`${role}.key`]: await privateKeyPem(keys.privateKey) } : {}),
  };
  const certificate = new X509Certificate(certPem);
  prepareFolder(folder);
  // Recorded first: none may be in use that the record does not know.
  write(path.join(issuedFolder(session.stack), `${certificate.serialNumber}.crt`), certPem);
  for (const name of names) write(path.join(folder, name), text[name] ?? "");
  return { ...described(certificate, authorities, outputs.connections.roles), files, phase: authorities.phase };
}

/** @throws ToolError naming a file that cannot be written, as on a full disk */
function write(file: string, text: string): void {
  try {
    replaceFile(file, text);
  } catch (cause) {
    const remedy = "Issue another one with --overwrite once it can be written.";
    const problem = { subject: file, problem: messageOf(cause), remedy };
    throw new ToolError("The certificate is not usable; files are missing or do not fit together:", [problem], {
      cause,
    });
  }
}

async function requestedKey(file: string) {
  const key = await keyIn(file);
  return "problem" in key ? key : { ...key, privateKey: undefined };
}

async function keyIn(file: string) {
  try {
    const text = readIfThere(file);
    return text === undefined ? { problem: "is not there" } : await keyOfRequest(text);
  } catch (error) {
    return { problem: `cannot be read: ${messageOf(error)}` };
  }
}

const NO_FOLDER: Problem = { subject: "--output", problem: "is empty", remedy: "Name a folder." };

/** Where a folder is, whatever links lead to it. */
function realFolder(folder: string): string {
  if (existsSync(folder)) return realpathSync(folder);
  const { dir, base } = path.parse(path.resolve(folder));
  return path.join(realFolder(dir), base);
}

/** @throws UsageError where no file can be written into the folder */
function prepareFolder(folder: string): void {
  try {
    accessSync(`${privateFolder(folder)}${path.sep}`, constants.W_OK);
  } catch (cause) {
    const problem = { subject: "--output", problem: messageOf(cause), remedy: "Choose another folder." };
    throw new UsageError("No certificate has been issued:", problem, { cause });
  }
}

function lifeOf(days: number) {
  const from = Date.now() - SKEW_MS;
  return { notBefore: new Date(from), notAfter: new Date(from + lifeInHours(days) * HOUR_MS) };
}

function folderProblems(folder: string, stack: string, files: readonly string[], overwrite: boolean): Problem[] {
  const own = realFolder(clientCertificateFolder(stack));
  if (folder === own || folder.startsWith(own + path.sep)) {
    const remedy = "Choose another folder.";
    return [
      { subject: "--output", problem: "is the folder of the stack's own certificates, which `up` writes", remedy },
    ];
  }
  return files.flatMap((subject) => {
    const there = lstatSync(subject, { throwIfNoEntry: false });
    if (there === undefined) return [];
    if (!overwrite)
      return { subject, problem: "is there already", remedy: "Choose another folder, or replace it with --overwrite." };
    // A link would lead the key elsewhere, and a replaced file keeps its owner, who could read the key.
    if (there.isFile() && there.uid === process.getuid?.()) return [];
    return { subject, problem: "is no file of this user's", remedy: "Remove it, or choose another folder." };
  });
}

/** @throws StateError for a certificate that would live longer than the authority that signs it */
function refuseLongerLife(stack: string, days: number, end: Date, authorityPem: string): void {
  const authorityEnd = new X509Certificate(authorityPem).validToDate;
  if (end <= authorityEnd) return;
  const daysLeft = Math.floor((authorityEnd.getTime() - Date.now()) / (24 * HOUR_MS));
  throw new StateError("No certificate has been issued:", {
    subject: "--days",
    problem: `${days} days outlive the certificate authority, which ends on ${authorityEnd.toISOString()} (in ${daysLeft} days)`,
    remedy: `Give fewer, or replace the authority first: \`aiwdb up --stack ${stack} --rotate-authority\` (docs/operations.md).`,
  });
}
