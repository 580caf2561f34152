import { rmSync } from "node:fs";
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
import { addressFile } from "../infra/settings/local-files.ts";
import { replaceFile } from "../base/text-file.ts";
import { hostRoutes } from "../toolchain/routes.ts";
import { addressProblems } from "./engine-objects.ts";
import { readSettingsFile } from "./settings-file.ts";

/** After so many taken ones something else is wrong, and the last problem is reported. */
const MAX_ATTEMPTS = 100;

/**
 * Settles the ports and the subnet of a stack that is about to be made. Two names may derive the same ones, and another
 * program may have them, or the subnet is one that this machine reaches elsewhere, as by a VPN; then the next free ones are taken
 * and remembered on this machine. What the settings file gives is left alone.
 */
export async function settleAddresses(
  docker: Docker,
  stack: string,
  report: (line: string) => void,
): Promise<StackConfig> {
  forgetAddresses(stack);
  const { settings } = readSettingsFile(stack);
  let chosen: Partial<Addresses> = {};
  let config = parseConfig(stack, settings);
  const routes = hostRoutes();
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
    const taken = new Set((await addressProblems(docker, config)).map(({ subject }) => subject));
    const route = routes.find(({ subnet }) => subnetsOverlap(subnet, config.networkSubnet));
    if (route && isDerived(settings["networkSubnet"])) taken.add("networkSubnet");
    const next = derivedAddresses(stack, attempt);
    const moved = movedAddresses(taken, settings, config.pgbouncerBindCertificates);
    if (moved.length === 0) break;
    chosen = { ...chosen, ...Object.fromEntries(moved.map((key) => [key, next[key]])) };
    config = parseConfig(stack, { ...settings, ...chosen });
  }
  const given = routes.find(({ subnet }) => subnetsOverlap(subnet, config.networkSubnet));
  if (given)
    report(
      `networkSubnet ${config.networkSubnet} lies in ${given.subnet}, which this machine reaches by ${given.device}: those addresses will not be reached any more`,
    );
  if (Object.keys(chosen).length > 0) {
    report(
      `the addresses derived from the stack's name are taken; using ${Object.entries(chosen)
        .map(([key, value]) => `${key} ${value}`)
        .join(", ")}`,
    );
    remember(stack, chosen);
  }
  return config;
}

/** Which derived addresses take their next choice. Where the pooler has several ports, both servers' move, lest they meet. */
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

function remember(stack: string, chosen: Partial<Addresses>): void {
  replaceFile(addressFile(stack), `${JSON.stringify(chosen)}\n`);
}

/** For a stack that is gone. */
export function forgetAddresses(stack: string): void {
  rmSync(addressFile(stack), { force: true });
}
