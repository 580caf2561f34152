import { createCipheriv, pbkdf2Sync, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
import { type Checkpoint, outputsIn } from "../../stack/state-outputs.ts";

const SALT = randomBytes(8).toString("base64");
const KEY = pbkdf2Sync("right", Buffer.from(SALT, "base64"), 1_000_000, 32, "sha256");

/** As Pulumi writes it. */
function secret(value: unknown, form = "v1") {
  const nonce = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", KEY, nonce);
  const text = Buffer.concat([cipher.update(JSON.stringify(value)), cipher.final(), cipher.getAuthTag()]);
  return {
    "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
    ciphertext: `${form}:${nonce.toString("base64")}:${text.toString("base64")}`,
  };
}

function checkpoint(outputs: Record<string, unknown>, { version = 3, provider = "passphrase" } = {}): Checkpoint {
  const secrets_providers = { type: provider, state: { salt: `v1:${SALT}:v1:of-no-interest:here` } };
  return {
    version,
    checkpoint: { latest: { secrets_providers, resources: [{ type: "pulumi:pulumi:Stack", outputs }] } },
  };
}

const OUTPUTS = { connections: { port: 5432, hosts: ["a", null] }, passwords: { app_user: "s3cret" } };
const RIGHT = { PULUMI_CONFIG_PASSPHRASE: "right" };

test("opens secrets wherever they are in the outputs", () => {
  const nested = { ...OUTPUTS, passwords: { app_user: secret("s3cret") } };
  expect(outputsIn(checkpoint(nested), RIGHT)).toEqual(OUTPUTS);
  expect(outputsIn(checkpoint({ ...OUTPUTS, passwords: secret(OUTPUTS.passwords) }), RIGHT)).toEqual(OUTPUTS);
});

test("takes the passphrase from a file, as it is without the end of its line", () => {
  const folder = mkdtempSync(path.join(tmpdir(), "aiwdb-outputs-"));
  const file = path.join(folder, "passphrase");
  writeFileSync(file, "right\n");
  try {
    const state = checkpoint({ passwords: secret(OUTPUTS.passwords) });
    expect(outputsIn(state, { PULUMI_CONFIG_PASSPHRASE_FILE: file })).toEqual({ passwords: OUTPUTS.passwords });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

const sealed = { passwords: secret(OUTPUTS.passwords) };
test.each([
  ["another passphrase", checkpoint(sealed), { PULUMI_CONFIG_PASSPHRASE: "wrong" }],
  ["none", checkpoint(sealed), {}],
  ["a file that is not there", checkpoint(sealed), { PULUMI_CONFIG_PASSPHRASE_FILE: "/nowhere" }],
  ["another secrets provider", checkpoint(sealed, { provider: "awskms" }), RIGHT],
  ["another form of the checkpoint", checkpoint(sealed, { version: 4 }), RIGHT],
  ["another form of a secret", checkpoint({ passwords: secret(OUTPUTS.passwords, "v2") }), RIGHT],
  ["a value that is no secret", checkpoint({ file: { "4dabf18193072939515e22adb298388d": "asset" } }), RIGHT],
  ["no outputs", { version: 3, checkpoint: { latest: null } }, RIGHT],
])("leaves it to Pulumi with %s", (_what, state, env) => {
  expect(outputsIn(state, env)).toBeUndefined();
});
