import { authorityName, HOLD, otherPlace, type RotationState } from "../certs/rotation.ts";
import { PROGRAM_VARIABLES } from "../infra/settings/program-variables.ts";
import { StateError } from "../base/errors.ts";
import { resourcesOf, type StateResource } from "./backend.ts";
import type { Session } from "./pulumi-run.ts";
import { readState, runPulumi } from "./session.ts";

interface Rotation {
  readonly state: RotationState;
  /** URN of the component that has all certificates. */
  readonly certificates: string;
  readonly all: readonly StateResource[];
}

async function rotationOf(session: Session): Promise<Rotation> {
  const all = resourcesOf(await readState(session));
  const found = all.find(({ type }) => type === "aiwdb:index:AuthorityRotation");
  if (!found?.outputs || found.parent === undefined)
    throw new StateError(`Stack "${session.stack}" has no certificate authority to replace.`);
  return { state: found.outputs as unknown as RotationState, certificates: found.parent, all };
}

const nameOf = (urn: string): string => urn.split("::").at(-1) ?? "";

/**
 * URNs of the key and certificate that the first phase makes anew. Nobody trusts them, so that they need no protection.
 */
function unused({ state, certificates, all }: Rotation): string[] {
  const name = authorityName(nameOf(certificates), otherPlace(state.signer));
  const authority = all.find(({ urn, parent }) => parent === certificates && nameOf(urn) === name);
  if (authority === undefined) return [];
  return all.filter(({ parent, protect }) => protect && parent === authority.urn).map(({ urn }) => urn);
}

/** What each phase did, and what the user has to do before the next one. */
const NEXT: Readonly<Record<number, string>> = {
  1: "certificate authority, phase 1 of 3: the new one is trusted beside the old one. Give ca.crt to clients on other machines, then run this again.",
  2: "certificate authority, phase 2 of 3: all certificates are of the new one; those of the old one are still taken. Give clients on other machines their new certificates and keys, then run this again.",
  0: "certificate authority, phase 3 of 3: the old one is trusted no more. Done.",
};

/**
 * Replaces the certificate authority by one phase.
 *
 * @param up deploys the stack with these variables
 * @returns a line on what was done and what comes next
 */
export async function rotateAuthority(
  session: Session,
  up: (variables: Record<string, string>) => Promise<void>,
): Promise<string> {
  // This finishes a phase that was cut off. The next phase relies on it at every server and client.
  await up({ [PROGRAM_VARIABLES.rotateAuthority]: HOLD });
  const rotation = await rotationOf(session);
  if (rotation.state.phase === 0) {
    for (const urn of unused(rotation)) {
      const unprotect = ["state", "unprotect", urn, "--yes", ...session.stackArguments];
      await runPulumi(session, unprotect, "The protection of the unused authority could not be lifted: ");
    }
  }
  await up({ [PROGRAM_VARIABLES.rotateAuthority]: new Date().toISOString() });
  return NEXT[(await rotationOf(session)).state.phase] ?? "";
}
