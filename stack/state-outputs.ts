import { createDecipheriv, pbkdf2Sync } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";

interface RecordedResource {
  readonly urn?: string;
  readonly type: string;
  readonly outputs?: Readonly<Record<string, unknown>>;
}

/** The parts of a checkpoint of Pulumi's file backend that this file reads. */
export interface Checkpoint {
  readonly version?: number;
  readonly checkpoint?: {
    readonly latest?: {
      readonly secrets_providers?: { readonly type?: string; readonly state?: { readonly salt?: string } };
      readonly resources?: readonly RecordedResource[];
    } | null;
  };
}

/** The form of checkpoints and of their secrets that this file can read. */
const CHECKPOINT_VERSION = 3;
/** Marks a value of Pulumi's that is more than JSON. A stack's outputs have no other such values than secrets. */
const SIGNATURE = "4dabf18193072939515e22adb298388d";
const SECRET = "1b47061264138c4ac30d75fd1eb44270";
/** https://github.com/pulumi/pulumi/blob/v3.265.0/sdk/go/common/resource/config/crypt.go */
const KEY_ITERATIONS = 1_000_000;
const KEY_BYTES = 32;
const TAG_BYTES = 16;

/** Thrown for a form that this file cannot read, so that Pulumi has to. */
class NotKnown extends Error {}

const isStackItself = ({ type }: RecordedResource): boolean => type === "pulumi:pulumi:Stack";

/**
 * The outputs of a stack in a checkpoint, with their secrets. Pulumi takes three times as long for them.
 *
 * Each secret has a seal, so that this notices a wrong passphrase.
 *
 * @param isWanted chooses a resource whose outputs are wanted instead
 * @returns undefined where the passphrase or the form is another one, so that Pulumi has to read them
 */
export function outputsIn(
  { version, checkpoint }: Checkpoint,
  env: NodeJS.ProcessEnv,
  isWanted: (resource: RecordedResource) => boolean = isStackItself,
): object | undefined {
  const latest = checkpoint?.latest;
  const { type, state } = latest?.secrets_providers ?? {};
  const outputs = latest?.resources?.find(isWanted)?.outputs;
  const passphrase = passphraseIn(env);
  if (version !== CHECKPOINT_VERSION || type !== "passphrase" || !state?.salt || !outputs || !passphrase)
    return undefined;
  const [form, salt = ""] = state.salt.split(":");
  if (form !== "v1") return undefined;
  const key = pbkdf2Sync(passphrase, Buffer.from(salt, "base64"), KEY_ITERATIONS, KEY_BYTES, "sha256");
  try {
    return revealed(outputs, key) as object;
  } catch (error) {
    if (error instanceof NotKnown) return undefined;
    throw error;
  }
}

/** As Pulumi reads it: https://www.pulumi.com/docs/iac/cli/environment-variables/ */
function passphraseIn(env: NodeJS.ProcessEnv): string | undefined {
  if (env["PULUMI_CONFIG_PASSPHRASE"]) return env["PULUMI_CONFIG_PASSPHRASE"];
  const file = env["PULUMI_CONFIG_PASSPHRASE_FILE"];
  return file && existsSync(file) ? readFileSync(file, "utf8").trim() : undefined;
}

function revealed(value: unknown, key: Buffer): unknown {
  if (Array.isArray(value)) return value.map((each) => revealed(each, key));
  if (typeof value !== "object" || value === null) return value;
  const object = value as Readonly<Record<string, unknown>>;
  if (!(SIGNATURE in object))
    return Object.fromEntries(Object.entries(object).map(([name, each]) => [name, revealed(each, key)]));
  const { ciphertext } = object;
  if (object[SIGNATURE] !== SECRET || typeof ciphertext !== "string") throw new NotKnown();
  return revealed(JSON.parse(opened(ciphertext, key)), key);
}

function opened(ciphertext: string, key: Buffer): string {
  const [form, nonce = "", text = ""] = ciphertext.split(":");
  if (form !== "v1") throw new NotKnown();
  const sealed = Buffer.from(text, "base64");
  const decipher = createDecipheriv("aes-256-gcm", key, Buffer.from(nonce, "base64"), { authTagLength: TAG_BYTES });
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
  const plain = decipher.update(sealed.subarray(0, -TAG_BYTES));
  try {
    return Buffer.concat([plain, decipher.final()]).toString("utf8");
  } catch (cause) {
    throw new NotKnown("the seal is another key's", { cause });
  }
}
