import { expect, test } from "vitest";
import { serverToKill, surviveKills } from "../helpers/testdb-chaos.ts";

// More of them in test/long/testdb-chaos.test.ts.
const ROUNDS = 20;

serverToKill();

test(`survives ${ROUNDS} kills of takers, pool, builders and server: nothing wrong is handed out, nothing is left`, async () => {
  const said = await surviveKills(ROUNDS);
  expect(said.replaceAll(/[+\n]/g, "")).toBe("");
});
