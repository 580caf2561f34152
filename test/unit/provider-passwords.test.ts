import { describe, expect, test } from "vitest";
import { changedProperties } from "../../infra/provider/resource.ts";
import { password as passwordType } from "../../infra/provider/resources/password.ts";
import { scramSecretResource as scramSecretType } from "../../infra/provider/resources/scram-secret.ts";
import { scramSecret } from "../../database/scram.ts";
import { called, recorder, type Properties } from "../helpers/provider.ts";
import { clientProof, proves } from "../helpers/scram.ts";

const quiet = recorder();
const password = called(passwordType);
const scramSecretResource = called(scramSecretType);

describe("a generated password", () => {
  test("has 32 characters that need no quoting in URLs, SQL or files, and is never the same twice", async () => {
    const passwords = new Set<string>();
    for (let run = 0; run < 200; run += 1) {
      const { outputs } = await password.create({ version: 1 }, quiet);
      expect(outputs?.["password"]).toMatch(/^[A-Za-z0-9_-]{32}$/);
      passwords.add(outputs?.["password"]);
    }
    expect(passwords.size).toBe(200);
  });

  test("is replaced by another one when its version rises", async () => {
    const { outputs } = await password.create({ version: 1 }, quiet);
    const after = await password.update("generated", { version: 1, ...outputs }, { version: 2 }, quiet);
    expect((after as Properties)["password"]).toMatch(/^[A-Za-z0-9_-]{32}$/);
    expect((after as Properties)["password"]).not.toBe(outputs?.["password"]);
  });
});

describe("what the server stores for a password", () => {
  const { create, update } = scramSecretResource;

  test("is made with a salt of its own and stays while password and iterations do", async () => {
    const inputs = { password: "one", iterations: 64 };
    const { outputs } = await create(inputs, quiet);
    expect(outputs?.["secret"]).toMatch(/^SCRAM-SHA-256\$64:[A-Za-z0-9+/]{22}==\$/);
    expect((await create(inputs, quiet)).outputs).not.toEqual(outputs);
    // No `diff` of its own: the provider's, which compares inputs.
    expect(scramSecretResource.diff).toBeUndefined();
    const state = { ...inputs, ...outputs };
    expect(changedProperties(state, inputs)).toEqual([]);
    expect(changedProperties(state, { ...inputs, password: "two" })).toEqual(["password"]);
    expect(changedProperties(state, { ...inputs, iterations: 65 })).toEqual(["iterations"]);
  });

  test("is another one that the new password proves after a change", async () => {
    const olds = { password: "one", iterations: 64, secret: scramSecret("one", 64) };
    const after = (await update("made", olds, { password: "two", iterations: 64 }, quiet)) as Properties;
    const salt = Buffer.from(/:([^$]+)\$/.exec(after["secret"])?.[1] ?? "", "base64");
    expect(proves(after["secret"], "message", clientProof("two", salt, 64, "message"))).toBe(true);
    expect(proves(after["secret"], "message", clientProof("one", salt, 64, "message"))).toBe(false);
  });
});
