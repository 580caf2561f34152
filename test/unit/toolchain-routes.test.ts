import { expect, test } from "vitest";
import { derivedAddresses, subnetsOverlap } from "../../infra/settings/addresses.ts";
import { hostRoutes, parseRoutes } from "../../toolchain/routes.ts";

const TABLE = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0101A8C0	0003	0	0	100	00000000	0	0	0
tun0	0000000A	00000000	0001	0	0	50	000000FF	0	0	0
tun0	00000080	00000000	0001	0	0	50	00000080	0	0	0
eth0	0001A8C0	00000000	0001	0	0	100	00FFFFFF	0	0	0
br-12	0000D00A	00000000	0001	0	0	0	0000FFFF	0	0	0
`;

test("the kernel's routes are networks by their first address and bits", () => {
  expect(parseRoutes(TABLE)).toEqual([
    { subnet: "0.0.0.0/0", device: "eth0" },
    { subnet: "10.0.0.0/8", device: "tun0" },
    { subnet: "128.0.0.0/1", device: "tun0" },
    { subnet: "192.168.1.0/24", device: "eth0" },
    { subnet: "10.208.0.0/16", device: "br-12" },
  ]);
});

test("this machine's routes are none that take everything, and none of engines' bridges", () => {
  for (const { subnet, device } of hostRoutes()) {
    expect(subnet).toMatch(/^\d+\.\d+\.\d+\.\d+\/([4-9]|[12]\d|3[0-2])$/);
    expect(device).not.toMatch(/^(lo|docker|br-)/);
  }
});

test("where a VPN takes all of 10.0.0.0/8, a stack finds a subnet outside it in a few attempts", () => {
  const attempts = Array.from({ length: 8 }, (_each, attempt) => derivedAddresses("dev", attempt).networkSubnet);
  expect(attempts.some((subnet) => !subnetsOverlap(subnet, "10.0.0.0/8"))).toBe(true);
  expect(new Set(attempts).size).toBe(attempts.length);
  for (const subnet of attempts) expect(subnet).toMatch(/^(10\.2(0[89]|1\d|2[0-3])|172\.(2[4-9]|3[01])|192\.168)\./);
});
