import { authorityName, HOLD, otherPlace, type Place, type RotationState } from "../certs/rotation.ts";
import type { KeyPair } from "../certs/verify.ts";
import { PROGRAM_VARIABLES } from "../infra/settings/program-variables.ts";
import { StateError } from "../base/errors.ts";
import { resourcesOf, type StateResource } from "./backend.ts";
import type { Session } from "./pulumi-run.ts";
import { readResourceOutputs, readState, runPulumi } from "./session.ts";

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
    throw new StateError(`Stack "${session.stack}" has no certificate authority yet.`, [
      { subject: session.stack, problem: "is not up", remedy: `Run \`npm run up -- --stack ${session.stack}\`.` },
    ]);
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

/** The stack's authorities as its state has them. */
export interface Authorities {
  /** Of a replacement; see `RotationState`. */
  readonly phase: number;
  /** Certificates that clients trust, PEM: what `ca.crt` holds. */
  readonly trustedPem: string;
  /** The same, and the authorities of single roles: whose certificates a server takes. */
  readonly clientsTrustedPem: string;
  /** What signs a role's certificates now. Its key is secret. */
  signerOf(role: string): Promise<KeyPair>;
}

/** @throws UserError when the state cannot be read, or the stack was never brought up */
export async function readAuthorities(session: Session): Promise<Authorities> {
  const { state, certificates, all } = await rotationOf(session);
  const component = nameOf(certificates);
  const byName = new Map(all.map((resource) => [nameOf(resource.urn), resource]));
  const certificateNamed = (name: string) => byName.get(`${name}-cert`)?.outputs?.["certPem"] as string | undefined;
  const own = (place: Place) => certificateNamed(authorityName(component, place)) ?? "";
  const trustedPem = state.trusted.map(own).join("");
  const roles = all
    .filter(({ type }) => type === "aiwdb:index:RoleAuthority")
    .map(({ urn }) => nameOf(urn))
    .filter((name) => state.trusted.some((place) => name.startsWith(`${component}-${place}-ca-`)));
  return {
    phase: state.phase,
    trustedPem,
    clientsTrustedPem: trustedPem + roles.map((name) => certificateNamed(name) ?? "").join(""),
    async signerOf(role) {
      const key = byName.get(`${authorityName(component, state.signer)}-key`);
      const outputs = key && (await readResourceOutputs(session, key.urn));
      const certPem = certificateNamed(`${component}-${state.signer}-ca-${role}`) ?? own(state.signer);
      const keyPem = outputs?.["privateKeyPemPkcs8"];
      if (typeof keyPem !== "string") throw new Error("the state has no key of the certificate authority");
      return { certPem, keyPem };
    },
  };
}
