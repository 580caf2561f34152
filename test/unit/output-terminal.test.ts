import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createOutput } from "../../base/output.ts";

describe("what the application wrote, on a terminal,", () => {
  let printed = "";
  beforeEach(() => {
    printed = "";
    const take = (text: string | Uint8Array): boolean => {
      printed += String(text);
      return true;
    };
    vi.spyOn(process.stdout, "write").mockImplementation(take);
    vi.spyOn(process.stderr, "write").mockImplementation(take);
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });
  const odd = "a\u001B[2Jb\u009B2Jc\u202Ed\u2066e\u0007";

  it("is shown and not obeyed, by whatever it is printed", () => {
    const [people, machines] = [createOutput({ json: false }), createOutput({ json: true })];
    people.text(odd);
    people.warn(odd);
    people.progress(odd);
    people.error(new Error(odd));
    machines.json({ odd });
    expect(printed.replaceAll(/\u001B\[\d+m/g, "")).not.toMatch(/[\u001B\u0007\u0080-\u009F]|\p{Bidi_Control}/u);
  });

  it("is the same value for a program", () => {
    createOutput({ json: true }).json({ odd });
    expect(JSON.parse(printed)).toEqual({ odd });
  });
});
