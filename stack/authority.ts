import type { RotationState } from "../infra/provider/resources/authority-rotation.ts";
import { StateError, ToolError } from "../base/errors.ts";
import { capture, type Session } from "./pulumi-run.ts";

interface ExportedResource {
  readonly urn: string;
  readonly type: string;
  readonly protect?: boolean;
  readonly outputs?: Record<string, unknown>;
}

async function resources(session: Session): Promise<ExportedResource[]> {
  const { exitCode, stdout, stderr } = await capture(session, ["stack", "export", ...session.stackArguments]);
  if (exitCode !== 0) throw new ToolError(`The state of stack "${session.stack}" cannot be read: ${stderr.trim()}`);
  return (JSON.parse(stdout) as { deployment: { resources?: ExportedResource[] } }).deployment.resources ?? [];
}

async function rotationOf(session: Session): Promise<{ state: RotationState; all: ExportedResource[] }> {
  const all = await resources(session);
  const found = all.find(({ type }) => type === "aiwdb:index:AuthorityRotation");
  if (!found?.outputs) throw new StateError(`Stack "${session.stack}" has no certificate authority to replace.`);
  return { state: found.outputs as unknown as RotationState, all };
}

const AUTHORITY_TYPES = new Set(["tls:index/privateKey:PrivateKey", "tls:index/selfSignedCert:SelfSignedCert"]);

/** Key and certificate that the first phase makes anew: nobody trusts them, so that `protect` has nothing to guard there. */
function unused({ signer }: RotationState, all: readonly ExportedResource[]): string[] {
  const place = signer === "first" ? "-second-ca" : "-ca";
  return all
    .filter(({ type, urn, protect }) => {
      const name = urn.split("::").at(-1) ?? "";
      const isSecond = /-second-ca-(key|cert)$/.test(name);
      const isFirst = /-ca-(key|cert)$/.test(name) && !isSecond;
      return protect && AUTHORITY_TYPES.has(type) && (place === "-ca" ? isFirst : isSecond);
    })
    .map(({ urn }) => urn);
}

/** What each phase did, and what has to happen before the next one. */
const NEXT: Readonly<Record<number, string>> = {
  1: "certificate authority, phase 1 of 3: the new one is trusted beside the old one. Give ca.crt to clients on other machines, then run this again.",
  2: "certificate authority, phase 2 of 3: all certificates are of the new one; those of the old one are still taken. Give clients on other machines their new certificates and keys, then run this again.",
  0: "certificate authority, phase 3 of 3: the old one is trusted no more. Done.",
};

/**
 * Replaces the certificate authority by one phase.
 *
 * @param up brings the stack to where it should be, with these variables
 * @returns what was done and what comes next
 */
export async function rotateAuthority(
  session: Session,
  up: (variables: Record<string, string>) => Promise<void>,
): Promise<string> {
  // A phase that was cut off is finished first: the next one relies on it at every server and client.
  await up({ AIWDB_ROTATE_AUTHORITY: "hold" });
  const { state, all } = await rotationOf(session);
  if (state.phase === 0) {
    for (const urn of unused(state, all)) {
      const { exitCode, stderr } = await capture(session, [
        "state",
        "unprotect",
        urn,
        "--yes",
        ...session.stackArguments,
      ]);
      if (exitCode !== 0)
        throw new ToolError(`The protection of the unused authority could not be lifted: ${stderr.trim()}`);
    }
  }
  await up({ AIWDB_ROTATE_AUTHORITY: new Date().toISOString() });
  return NEXT[(await rotationOf(session)).state.phase] ?? "";
}
