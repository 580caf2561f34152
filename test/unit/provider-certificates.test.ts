import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { UNKNOWN } from "../../infra/provider/resource.ts";
import type { RotationState } from "../../certs/rotation.ts";
import { authorityRotation as authorityRotationType } from "../../infra/provider/resources/authority-rotation.ts";
import { isDue, renewal as renewalType } from "../../infra/provider/resources/renewal.ts";
import { called, recorder, type Properties } from "../helpers/provider.ts";

const quiet = recorder();
const authorityRotation = called(authorityRotationType);
const renewal = called(renewalType);

describe("certificate renewal", () => {
  const start = Date.parse("2026-01-01T00:00:00Z");
  const day = 86_400_000;

  beforeEach(() => {
    vi.useFakeTimers({ now: start });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  test("happens once in each window when `up` runs daily for two years, and no certificate ever runs out", async () => {
    const inputs = { validityDays: 90, renewBeforeDays: 30 };
    let state: Properties = { ...inputs, ...(await renewal.create(inputs, quiet)).outputs };
    const renewedOn: number[] = [];
    for (let today = 1; today <= 730; today += 1) {
      vi.setSystemTime(start + today * day);
      expect(Date.now()).toBeLessThan(Date.parse(state["issuedAt"]) + 90 * day);
      const { changed } = await renewal.diff!(state, inputs, quiet);
      if (changed.length === 0) continue;
      state = { ...state, ...((await renewal.update("renewal", state, inputs, quiet)) as Properties) };
      renewedOn.push(today);
    }
    expect(renewedOn).toEqual(Array.from({ length: 12 }, (_, index) => (index + 1) * 60));
    expect(state["generation"]).toBe(13);
  });

  test("happens in time when `up` runs only once in the window, on its last day", async () => {
    const inputs = { validityDays: 90, renewBeforeDays: 30 };
    const state = { ...inputs, ...(await renewal.create(inputs, quiet)).outputs };
    vi.setSystemTime(start + 89.9 * day);
    expect((await renewal.diff!(state, inputs, quiet)).changed).toEqual(["renewBeforeDays"]);
  });

  test("is due from the first moment of the window, and not a millisecond before", () => {
    const issued = new Date(start).toISOString();
    expect(isDue(issued, 90, 30, start + 60 * day - 1)).toBe(false);
    expect(isDue(issued, 90, 30, start + 60 * day)).toBe(true);
  });

  test("happens at once when certificates are to live shorter, or when it is forced, and then not again", async () => {
    const inputs = { validityDays: 90, renewBeforeDays: 30 };
    const state = { ...inputs, ...(await renewal.create(inputs, quiet)).outputs };
    expect((await renewal.diff!(state, { ...inputs, validityDays: 30, renewBeforeDays: 10 }, quiet)).changed).toEqual([
      "validityDays",
    ]);
    expect((await renewal.diff!(state, { ...inputs, force: "2" }, quiet)).changed).toEqual(["force"]);
    const forced = {
      ...state,
      force: "2",
      ...((await renewal.update("renewal", state, { ...inputs, force: "2" }, quiet)) as Properties),
    };
    expect(await renewal.diff!(forced, { ...inputs, force: "2" }, quiet)).toEqual({ changed: [] });
  });

  test("is refused at preview when its certificates would outlive the authority, and nothing is while none is issued", async () => {
    const authorityEnd = new Date(start + 100 * day).toISOString();
    const inputs = { validityDays: 90, renewBeforeDays: 30, hosts: ["a"], authorityEnd };
    const state = { ...inputs, ...(await renewal.create(inputs, quiet)).outputs };
    const refusal = /90 days outlive the certificate authority.*--rotate-authority/;
    expect(await renewal.check!(inputs, {}, quiet)).toEqual([]);
    vi.setSystemTime(start + 50 * day); // 50 days are left to the authority, and the certificates are not due
    expect(await renewal.diff!(state, inputs, quiet)).toEqual({ changed: [] });
    expect(await renewal.check!(inputs, inputs, quiet)).toEqual([]);
    expect(await renewal.check!(inputs, {}, quiet)).toEqual([
      { property: "validityDays", reason: expect.stringMatching(refusal) },
    ]);
    for (const news of [
      { ...inputs, hosts: ["a", "b"] },
      { ...inputs, force: "2" },
    ])
      expect(() => renewal.diff!(state, news, quiet)).toThrow(refusal);
    vi.setSystemTime(start + 61 * day);
    expect(() => renewal.diff!(state, inputs, quiet)).toThrow(refusal);
    // The run that brings the new authority in is not held up by it.
    expect(await renewal.diff!(state, { ...inputs, hold: true }, quiet)).toEqual({ changed: [] });
    expect((await renewal.diff!(state, { ...inputs, authorityEnd: UNKNOWN }, quiet)).changed).toContain("authorityEnd");
    const longer = { ...inputs, authorityEnd: new Date(start + 3_650 * day).toISOString() };
    expect((await renewal.diff!(state, longer, quiet)).changed).toEqual(["renewBeforeDays", "authorityEnd"]);
  });

  test("does not happen only because a host, or an authority, is another one: those sign anew with the same keys", async () => {
    const inputs = { validityDays: 90, renewBeforeDays: 30 };
    const { outputs } = await renewal.create(inputs, quiet);
    const news = { ...inputs, hosts: ["a"], authorityEnd: new Date(start + 3_650 * day).toISOString() };
    expect((await renewal.diff!({ ...inputs, ...outputs }, news, quiet)).changed).toEqual(["hosts", "authorityEnd"]);
    expect(await renewal.update("renewal", { ...inputs, ...outputs }, news, quiet)).toEqual(outputs);
  });

  test("does not happen only because the window was made smaller", async () => {
    const inputs = { validityDays: 90, renewBeforeDays: 30 };
    const state = { ...inputs, ...(await renewal.create(inputs, quiet)).outputs };
    vi.setSystemTime(start + 65 * day);
    expect(await renewal.diff!(state, { ...inputs, renewBeforeDays: 10 }, quiet)).toEqual({ changed: [] });
  });
});

describe("the rotation of the authority", () => {
  const phases = async (count: number): Promise<RotationState[]> => {
    let state: Properties = (await authorityRotation.create({}, quiet)).outputs ?? {};
    const seen = [state];
    for (let phase = 1; phase <= count; phase += 1) {
      const inputs = { step: String(phase) };
      state = { ...state, ...inputs, ...((await authorityRotation.update("id", state, inputs, quiet)) as Properties) };
      expect(await authorityRotation.diff!(state, inputs, quiet)).toEqual({ changed: [] });
      seen.push(state);
    }
    return seen as unknown as RotationState[];
  };

  test("trusts a new one, then signs with it, then drops the old one, and can do so again and again", async () => {
    const seen = await phases(6);
    expect(seen.map(({ phase, signer, trusted }) => [phase, signer, ...trusted].join(" "))).toEqual([
      "0 first first",
      "1 first first second",
      "2 second second first",
      "0 second second",
      "1 second second first",
      "2 first first second",
      "0 first first",
    ]);
  });

  test("makes a new key only in the place that nobody trusts, and only when it is taken into use", async () => {
    const seen = await phases(12);
    for (const [index, now] of seen.entries()) {
      const before = seen[index - 1];
      if (!before) continue;
      for (const [place, generation] of [
        ["first", "firstGeneration"],
        ["second", "secondGeneration"],
      ] as const) {
        const isNew = now[generation] !== before[generation];
        expect(isNew).toBe(now.phase === 1 && place !== before.signer);
        if (isNew) expect(before.trusted).not.toContain(place);
      }
      // Neighbours have what signs in common, on both sides.
      expect(now.trusted).toContain(before.signer);
      expect(before.trusted).toContain(now.signer);
    }
  });

  test("tells in a preview what it will do, so that nothing else shows as changed", async () => {
    const created = (await authorityRotation.create({}, quiet)).outputs as Properties;
    expect(authorityRotation.plan!({}, {})).toEqual(created);
    const step = { step: "1" };
    expect(authorityRotation.plan!(created, step)).toEqual(await authorityRotation.update("id", created, step, quiet));
    const state = { validityDays: 90, renewBeforeDays: 30, generation: 3, issuedAt: new Date().toISOString() };
    expect(renewal.plan!({}, {})).toEqual({ generation: 1 });
    expect(renewal.plan!(state, { ...state, hosts: ["a"] })).toEqual({ generation: 3 });
    expect(renewal.plan!(state, { ...state, force: "2" })).toEqual({ generation: 4 });
  });

  test("goes on only when it is told to", async () => {
    expect(await authorityRotation.diff!({ step: "1", phase: 1 }, { step: "1" }, quiet)).toEqual({ changed: [] });
    expect(await authorityRotation.diff!({ step: "1", phase: 1 }, { step: "2" }, quiet)).toEqual({ changed: ["step"] });
  });
});
