import { outlivesAuthority } from "../../../certs/verify.ts";
import { StateError } from "../../../base/errors.ts";
import { changedProperties, UNKNOWN, type Properties, type ResourceType } from "../resource.ts";

const MS_PER_DAY = 86_400_000;

/** True once certificates issued at `issuedAt` have to be replaced. */
export function isDue(issuedAt: string, validityDays: number, renewBeforeDays: number, now = Date.now()): boolean {
  return now >= Date.parse(issuedAt) + (validityDays - renewBeforeDays) * MS_PER_DAY;
}

/** Inputs that decide whether keys and certificates are made anew, as far as they speak for it now. */
function reasons(olds: Properties, news: Properties): string[] {
  const changed = changedProperties(olds, news).filter((name) => ["validityDays", "force"].includes(name));
  // While the authority is being replaced: its last phase but one makes all certificates anew.
  const due = !news["hold"] && isDue(olds["issuedAt"], olds["validityDays"], news["renewBeforeDays"]);
  return due ? [...changed, "renewBeforeDays"] : changed;
}

/** Why the certificates that are about to be issued cannot have the life they are to have. */
function problem({ validityDays, authorityEnd, hold }: Properties): string | undefined {
  if (hold || authorityEnd === undefined || authorityEnd === UNKNOWN) return undefined;
  return outlivesAuthority(validityDays, authorityEnd);
}

/**
 * Decides when leaf certificates are renewed. The TLS provider has been seen not to renew inside its own window
 * (pulumi-tls#39), so the certificates follow this resource's output `generation` instead.
 *
 * Inputs `validityDays`, `renewBeforeDays`, `force` (any change renews), `hosts` (names in the certificates) and
 * `authorityEnd`: a certificate that is about to be issued and would outlive its authority is refused at preview; one that
 * stays as it is never is. `hold`: nothing is due. Outputs `generation` and `issuedAt`.
 */
export const renewal: ResourceType = {
  check(news, olds) {
    const reason = Object.keys(olds).length === 0 ? problem(news) : undefined;
    return reason === undefined ? [] : [{ property: "validityDays", reason }];
  },
  diff(olds: Properties, news: Properties) {
    const renewed = reasons(olds, news);
    // These sign or name anew without a new key; a state of an older release knows neither.
    const issued = changedProperties(olds, news).filter((name) => ["hosts", "authorityEnd"].includes(name));
    const reason = renewed.length > 0 || issued.some((name) => olds[name] !== undefined) ? problem(news) : undefined;
    if (reason !== undefined) throw new StateError(reason);
    return { changed: [...renewed, ...issued] };
  },
  plan: (olds, news) =>
    olds["generation"] === undefined
      ? { generation: 1 }
      : { generation: olds["generation"] + (reasons(olds, news).length > 0 ? 1 : 0) },
  create: async () => ({ id: "renewal", outputs: { generation: 1, issuedAt: new Date().toISOString() } }),
  async update(_id, olds, news) {
    const { generation, issuedAt } = olds;
    if (reasons(olds, news).length === 0) return { generation, issuedAt };
    return { generation: generation + 1, issuedAt: new Date().toISOString() };
  },
};
