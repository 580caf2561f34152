import { changedProperties, type Properties, type ResourceType } from "../resource.ts";

const MS_PER_DAY = 86_400_000;

/** True once certificates issued at `issuedAt` have to be replaced. */
export function isDue(issuedAt: string, validityDays: number, renewBeforeDays: number, now = Date.now()): boolean {
  return now >= Date.parse(issuedAt) + (validityDays - renewBeforeDays) * MS_PER_DAY;
}

/**
 * Decides when leaf certificates are renewed. The TLS provider has been seen not to renew inside its own window
 * (pulumi-tls#39), so the certificates follow this resource's output `generation` instead.
 *
 * Inputs `validityDays`, `renewBeforeDays`, `force` (any change renews); outputs `generation` and `issuedAt`.
 */
export const renewal: ResourceType = {
  diff(olds: Properties, news: Properties) {
    const changed = changedProperties(olds, news, ["renewBeforeDays"]);
    const due = isDue(olds["issuedAt"], olds["validityDays"], news["renewBeforeDays"]);
    return { changed: due ? [...changed, "renewBeforeDays"] : changed };
  },
  create: async () => ({ id: "renewal", outputs: { generation: 1, issuedAt: new Date().toISOString() } }),
  update: async (_id, olds) => ({ generation: olds["generation"] + 1, issuedAt: new Date().toISOString() }),
};
