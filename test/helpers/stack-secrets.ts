import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { inject } from "vitest";
import type { KeyPair } from "../../certs/verify.ts";

interface ExportedResource {
  readonly type: string;
  readonly urn: string;
  readonly inputs?: Record<string, unknown>;
  readonly outputs?: Record<string, unknown>;
}

/** `pulumi stack export` of the real stack. */
export async function exportStack(showSecrets: boolean): Promise<{ text: string; resources: ExportedResource[] }> {
  const { name, home } = inject("stack");
  const { stdout } = await promisify(execFile)(
    path.join(home, "checkout/bin/aiwdb"),
    ["pulumi", "--stack", name, "--", "stack", "export", ...(showSecrets ? ["--show-secrets"] : [])],
    { env: environment(home), maxBuffer: 64 * 1_024 * 1_024 },
  );
  return { text: stdout, resources: JSON.parse(stdout).deployment.resources };
}

/** The text of an output. In a state exported with --show-secrets a secret is an object around its JSON text. */
function opened(value: unknown): string {
  return typeof value === "object" && value !== null
    ? (JSON.parse((value as { plaintext: string }).plaintext) as string)
    : (value as string);
}

/** Every private key in a state exported with --show-secrets: the name of its resource, and one line of the key. */
export function privateKeyLines(exported: string): [name: string, line: string][] {
  const { resources } = (JSON.parse(exported) as { deployment: { resources: ExportedResource[] } }).deployment;
  return resources
    .filter(({ type }) => type === "tls:index/privateKey:PrivateKey")
    .map(({ urn, outputs }) => [urn.split("::").at(-1) ?? "", opened(outputs?.["privateKeyPem"]).split("\n")[1] ?? ""]);
}

/** The environment in which the real stack's checkout was brought up. */
export function environment(home: string): NodeJS.ProcessEnv {
  const { PULUMI_CONFIG_PASSPHRASE, PULUMI_CONFIG_PASSPHRASE_FILE, ...rest } = process.env;
  void [PULUMI_CONFIG_PASSPHRASE, PULUMI_CONFIG_PASSPHRASE_FILE];
  return {
    ...rest,
    XDG_STATE_HOME: path.join(home, "state"),
    XDG_DATA_HOME: path.join(home, "data"),
    PULUMI_BACKEND_URL: `file://${path.join(home, "backend")}`,
  };
}

/** Key and certificate of the stack's authority, out of the state. Nothing else reads them from there. */
export async function stackAuthority(): Promise<KeyPair> {
  const { resources } = await exportStack(true);
  const output = (type: string, property: string) => {
    const found = resources.find((each) => each.type === type && each.urn.includes("database-certificates-ca-"));
    return opened(found?.outputs?.[property]);
  };
  return {
    keyPem: output("tls:index/privateKey:PrivateKey", "privateKeyPemPkcs8"),
    certPem: output("tls:index/selfSignedCert:SelfSignedCert", "certPem"),
  };
}
