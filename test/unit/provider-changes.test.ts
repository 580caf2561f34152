import { describe, expect, test } from "vitest";
import { changedProperties } from "../../infra/provider/resource.ts";

describe("changed inputs", () => {
  test("are found whatever the order of keys, and only where values differ", () => {
    expect(changedProperties({ a: { x: 1, y: [1, 2] }, b: 1 }, { b: 1, a: { y: [1, 2], x: 1 } })).toEqual([]);
    expect(changedProperties({ a: { x: 1, y: [1, 2] }, b: 1 }, { a: { x: 1, y: [2, 1] }, b: 2 }, ["b"])).toEqual(["a"]);
    expect(changedProperties({}, { a: 1 })).toEqual(["a"]);
  });
});
