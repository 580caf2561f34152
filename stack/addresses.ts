import type Docker from "dockerode";
import {
  ADDRESS_SETTINGS,
  derivedAddresses,
  isDerived,
  subnetsOverlap,
  type Addresses,
} from "../infra/settings/addresses.ts";
import { type StackConfig } from "../infra/settings/table.ts";
import { parseConfig } from "../infra/settings/check.ts";
import { forgetAddresses, rememberAddresses } from "../infra/settings/chosen-addresses.ts";
import { readSettingsFile } from "../infra/settings/file.ts";
import { hostRoutes } from "../toolchain/routes.ts";
import type { Report } from "../base/progress.ts";
import { addressProblems } from "./engine-objects.ts";

/** After so many taken addresses something else is wrong, and `up` reports the last problem. */
const MAX_ATTEMPTS = 100;

/**
 * Settles the ports and the subnet of a new stack. Two stack names may derive the same ones, another program may have
 * them, and this machine may reach the subnet elsewhere, as by a VPN. Then the stack takes the next free ones, and this
 * machine remembers them. Addresses in the settings file stay as they are.
 */
export async function settleAddresses(docker: Docker, stack: string, report: Report): Promise<StackConfig> {
  forgetAddresses(stack);
  const { settings } = readSettingsFile(stack);
  let chosen: Partial<Addresses> = {};
  let config = parseConfig(stack, settings);
  const routes = hostRoutes();
  const routeInTheWay = () => routes.find(({ subnet }) => subnetsOverlap(subnet, config.networkSubnet));
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
    const taken = new Set((await addressProblems(docker, config)).map(({ subject }) => subject));
    if (routeInTheWay() && isDerived(settings["networkSubnet"])) taken.add("networkSubnet");
    const next = derivedAddresses(stack, attempt);
    const moved = movedAddresses(taken, settings, config.pgbouncerBindCertificates);
    if (moved.length === 0) break;
    chosen = { ...chosen, ...Object.fromEntries(moved.map((key) => [key, next[key]])) };
    config = parseConfig(stack, { ...settings, ...chosen });
  }
  const given = routeInTheWay();
  if (given)
    report(
      `networkSubnet ${config.networkSubnet} lies in ${given.subnet}, which this machine reaches by ${given.device}: those addresses will not be reached any more`,
    );
  const used = Object.entries(chosen).map(([key, value]) => `${key} ${value}`);
  if (used.length > 0) {
    report(`the addresses derived from the stack's name are taken; using ${used.join(", ")}`);
    rememberAddresses(stack, chosen);
  }
  return config;
}

/**
 * Derived addresses that take their next choice. Where the pooler has several ports, both servers' ports move together.
 */
export function movedAddresses(
  taken: ReadonlySet<string>,
  settings: Readonly<Record<string, unknown>>,
  several: boolean,
): (typeof ADDRESS_SETTINGS)[number][] {
  const together = several && (taken.has("postgresPort") || taken.has("pgbouncerPort"));
  return ADDRESS_SETTINGS.filter(
    (key) => isDerived(settings[key]) && (taken.has(key) || (together && key !== "networkSubnet")),
  );
}
