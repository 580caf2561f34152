import { networkInterfaces } from "node:os";
import { readIfThere } from "../base/text-file.ts";

/** An IPv4 network that this machine reaches by an interface of its own, such as a VPN's or the office's. */
export interface Route {
  /** As 10.8.0.0/16. */
  readonly subnet: string;
  readonly device: string;
}

/** Interfaces of container engines, whose networks are seen by asking them, and the machine itself. */
const NOT_OURS = /^(lo|docker|br-|veth|podman|cni)/;
/** A VPN that takes everything sends it by two halves. */
const WIDEST_BITS = 4;

/**
 * Networks that a new one must not overlap, since this machine would not reach them any more. Without /proc, only those
 * of the machine's own interfaces are known.
 */
export function hostRoutes(): readonly Route[] {
  const routes = [...parseRoutes(readIfThere("/proc/net/route") ?? ""), ...interfaceNetworks()];
  return routes.filter(({ subnet, device }) => !NOT_OURS.test(device) && Number(subnet.split("/")[1]) >= WIDEST_BITS);
}

/** The text of /proc/net/route: addresses and masks are hexadecimal, the last byte first. */
export function parseRoutes(text: string): Route[] {
  return text
    .split("\n")
    .slice(1)
    .flatMap((line) => {
      const [device, destination, , , , , , mask] = line.trim().split(/\s+/);
      if (device === undefined || destination === undefined || mask === undefined) return [];
      const bits = [...bytes(mask)].reduce((sum, byte) => sum + byte.toString(2).replaceAll("0", "").length, 0);
      return [{ subnet: `${bytes(destination).join(".")}/${bits}`, device }];
    });
}

const bytes = (hexadecimal: string): number[] =>
  (hexadecimal.match(/../g) ?? []).map((byte) => Number.parseInt(byte, 16)).toReversed();

function interfaceNetworks(): Route[] {
  return Object.entries(networkInterfaces()).flatMap(([device, addresses = []]) =>
    addresses.flatMap(({ family, cidr }) =>
      family === "IPv4" && cidr !== null ? [{ subnet: networkOf(cidr), device }] : [],
    ),
  );
}

/** The network of an address such as 10.8.3.7/16. */
function networkOf(cidr: string): string {
  const [address = "", bits = "32"] = cidr.split("/");
  const number = address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
  const size = 2 ** (32 - Number(bits));
  const first = Math.floor(number / size) * size;
  return `${[24, 16, 8, 0].map((shift) => Math.floor(first / 2 ** shift) % 256).join(".")}/${bits}`;
}
