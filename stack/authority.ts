import { authorityName, HOLD, otherPlace, type RotationState } from "../certs/rotation.ts";
import { PROGRAM_VARIABLES } from "../infra/settings/program-variables.ts";
import { StateError, ToolError } from "../base/errors.ts";
import { capture, type Session } from "./pulumi-run.ts";

interface ExportedResource {
  readonly urn: string;
  readonly type: string;
  /** URN of the component it belongs to. */
  readonly parent?: string;
  readonly protect?: boolean;
  readonly outputs?: Record<string, unknown>;
}

async function resources(session: Session): Promise<ExportedResource[]> {
  const { exitCode, stdout, stderr } = await capture(session, ["stack", "export", ...session.stackArguments]);
  if (exitCode !== 0) throw new ToolError(`The state of stack "${session.stack}" cannot be read: ${stderr.trim()}`);
  return (JSON.parse(stdout) as { deployment: { resources?: ExportedResource[] } }).deployment.resources ?? [];
}

interface Rotation {
  readonly state: RotationState;
  /** URN of the component that has all certificates. */
  readonly certificates: string;
  readonly all: readonly ExportedResource[];
}

async function rotationOf(session: Session): Promise<Rotation> {
  const all = await resources(session);
  const found = all.find(({ type }) => type === "aiwdb:index:AuthorityRotation");
  if (!found?.outputs || found.parent === undefined)
    throw new StateError(`Stack "${session.stack}" has no certificate authority to replace.`);
  return { state: found.outputs as unknown as RotationState, certificates: found.parent, all };
}

const nameOf = (urn: string): string => urn.split("::").at(-1) ?? "";

/** Key and certificate that the first phase makes anew: nobody trusts them, so that `protect` has nothing to guard there. */
function unused({ state, certificates, all }: Rotation): string[] {
  const name = authorityName(nameOf(certificates), otherPlace(state.signer));
  const authority = all.find(({ urn, parent }) => parent === certificates && nameOf(urn) === name);
  if (authority === undefined) return [];
  return all.filter(({ parent, protect }) => protect && parent === authority.urn).map(({ urn }) => urn);
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
  await up({ [PROGRAM_VARIABLES.rotateAuthority]: HOLD });
  const rotation = await rotationOf(session);
  if (rotation.state.phase === 0) {
    for (const urn of unused(rotation)) {
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
  await up({ [PROGRAM_VARIABLES.rotateAuthority]: new Date().toISOString() });
  return NEXT[(await rotationOf(session)).state.phase] ?? "";
}
