import { createHash } from "node:crypto";

function hash(stack: string): number {
  return createHash("sha256").update(stack).digest().readUInt32BE(0);
}

/** Settings that are derived from the stack's name where they are not given. */
export const ADDRESS_SETTINGS = ["postgresPort", "pgbouncerPort", "networkSubnet"] as const;

/** Where a stack is reached, and its network. */
export interface Addresses {
  readonly postgresPort: number;
  readonly pgbouncerPort: number;
  /** An IPv4 network such as 10.213.7.0/28. */
  readonly networkSubnet: string;
}

/** True for a setting that is not given, or given as "derive it". */
export function isDerived(setting: unknown): boolean {
  return setting === undefined || String(setting) === "0";
}

/** Pairs of ports from 20000 on, which end below the ports of the dev stack's file. */
const PORT_PAIRS = 2_700;
/**
 * Ranges for subnets: first address, and number of /28 networks. Engines do not hand out addresses of 10.208.0.0/12 by
 * themselves. The other ranges are for machines where a VPN has all of 10.0.0.0/8.
 */
const RANGES = [
  ["10.208.0.0", 65_536],
  ["172.24.0.0", 32_768],
  ["192.168.128.0", 2_048],
] as const;

/**
 * Ports and subnet that follow from the stack's name: an even port for PostgreSQL, the next one for the pooler, and a
 * /28 network. They are the same on every machine, so that URLs stay valid.
 *
 * @param attempt another number gives other ones, for a name whose ports or network are taken
 */
export function derivedAddresses(stack: string, attempt = 0): Addresses {
  const postgresPort = 20_000 + ((hash(stack) + attempt) % PORT_PAIRS) * 2;
  return { postgresPort, pgbouncerPort: postgresPort + 1, networkSubnet: derivedSubnet(stack, attempt) };
}

/** Attempts take turns among the ranges, so that few of them come by all. */
function derivedSubnet(stack: string, attempt: number): string {
  const [first, count] = RANGES[attempt % RANGES.length] ?? RANGES[0];
  return `${addressIn(first, ((hash(`subnet ${stack}`) + attempt) % count) * 16)}/28`;
}

function toNumber(address: string): number {
  return address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

/** Whether two IPv4 subnets have addresses in common; never for IPv6, which no stack uses. */
export function subnetsOverlap(a: string, b: string): boolean {
  if (a.includes(":") || b.includes(":")) return false;
  const [one, two] = [rangeOf(a), rangeOf(b)];
  return one.start < two.start + two.size && two.start < one.start + one.size;
}

/** An address alone is a network of one. */
function rangeOf(subnet: string): { readonly start: number; readonly size: number } {
  const [address = "", bits = "32"] = subnet.split("/");
  return { start: toNumber(address), size: 2 ** (32 - Number(bits)) };
}

/** Whether it is the first address of its network. */
function isFirst(subnet: string): boolean {
  const { start, size } = rangeOf(subnet);
  return start % size === 0;
}

/** Whether it is the first address of a private IPv4 network. */
export function isNetworkAddress(subnet: string): boolean {
  if (subnet.split(/[./]/).some((part) => Number(part) > 255)) return false;
  return /^(10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.)/.test(subnet) && isFirst(subnet);
}

/** An IPv4 address, or a network of /8 to /32 by its first address: wider ones are no list of clients any more. */
export function isAddressOrNetwork(text: string): boolean {
  const [, address = "", bits = "32"] = /^((?:\d{1,3}\.){3}\d{1,3})(?:\/(\d{1,2}))?$/.exec(text) ?? [];
  if (address === "" || address.split(".").some((part) => Number(part) > 255 || /^0\d/.test(part))) return false;
  return Number(bits) >= 8 && Number(bits) <= 32 && isFirst(text);
}

/**
 * The n-th address of a subnet.
 *
 * @example addressIn("10.213.7.0/28", 2) // "10.213.7.2"
 */
export function addressIn(subnet: string, n: number): string {
  const first = toNumber(subnet.split("/")[0] ?? "") + n;
  return [24, 16, 8, 0].map((shift) => Math.floor(first / 2 ** shift) % 256).join(".");
}
