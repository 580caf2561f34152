import { outlivesAuthority } from "../../../certs/verify.ts";
import { StateError } from "../../../base/errors.ts";
import { changedProperties, UNKNOWN, type Planned, type Recorded, type ResourceType } from "../resource.ts";

const MS_PER_DAY = 86_400_000;

export interface RenewalInputs {
  readonly validityDays: number;
  readonly renewBeforeDays: number;
  /** Any change renews. */
  readonly force?: string | undefined;
  /** DNS names and addresses in the certificates. */
  readonly hosts: readonly string[];
  /** When the authority's certificate ends. A preview refuses to issue a certificate that would outlive it. */
  readonly authorityEnd: string;
  /** Nothing is due: the last phase but one of an authority's replacement makes all certificates anew. */
  readonly hold: boolean;
}

export interface RenewalOutputs {
  /** Leaf certificates follow it. */
  readonly generation: number;
  readonly issuedAt: string;
}

type State = Partial<Recorded<RenewalInputs, RenewalOutputs>>;

/** True once certificates issued at `issuedAt` have to be replaced. */
export function isDue(issuedAt: string, validityDays: number, renewBeforeDays: number, now = Date.now()): boolean {
  return now >= Date.parse(issuedAt) + (validityDays - renewBeforeDays) * MS_PER_DAY;
}

/** Names of inputs because of which keys and certificates are made anew now. */
function reasons(olds: State, news: Planned<RenewalInputs>): string[] {
  const changed = changedProperties(olds, news).filter((name) => ["validityDays", "force"].includes(name));
  const { issuedAt, validityDays } = olds;
  if (news.hold || issuedAt === undefined || validityDays === undefined) return changed;
  return isDue(issuedAt, validityDays, Number(news.renewBeforeDays)) ? [...changed, "renewBeforeDays"] : changed;
}

/** Why certificates issued now could not have their whole life; undefined if they can. */
function problem({ validityDays, authorityEnd, hold }: Planned<RenewalInputs>): string | undefined {
  if (hold || authorityEnd === undefined || authorityEnd === UNKNOWN || validityDays === UNKNOWN) return undefined;
  return outlivesAuthority(validityDays, authorityEnd);
}

/**
 * Decides when leaf certificates are renewed. The TLS provider has been seen not to renew inside its own window
 * (pulumi-tls#39), so the certificates follow this resource's output `generation` instead.
 */
export const renewal: ResourceType<RenewalInputs, RenewalOutputs> = {
  check(news, olds) {
    const reason = Object.keys(olds).length === 0 ? problem(news) : undefined;
    return reason === undefined ? [] : [{ property: "validityDays", reason }];
  },
  diff(olds, news) {
    const renewed = reasons(olds, news);
    // A change of these issues certificates for the same keys. A state of an older release has neither.
    const issued = changedProperties(olds, news).filter((name) => ["hosts", "authorityEnd"].includes(name));
    const reason = renewed.length > 0 || issued.some((name) => name in olds) ? problem(news) : undefined;
    if (reason !== undefined) throw new StateError(reason);
    return { changed: [...renewed, ...issued] };
  },
  plan: (olds, news) => ({
    generation: olds.generation === undefined ? 1 : olds.generation + (reasons(olds, news).length > 0 ? 1 : 0),
  }),
  create: async () => ({ id: "renewal", outputs: { generation: 1, issuedAt: new Date().toISOString() } }),
  async update(_id, olds, news) {
    const { generation = 1, issuedAt } = olds;
    if (issuedAt !== undefined && reasons(olds, news).length === 0) return { generation, issuedAt };
    return { generation: generation + 1, issuedAt: new Date().toISOString() };
  },
};
