import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { certificatesOf, type KeyPair } from "../../certs/verify.ts";
import { engineNames } from "../../infra/settings/names.ts";
import { offeredCertificate } from "../../database/handshake.ts";
import { connectionFor } from "../../stack/connections.ts";
import type { IssuedCertificate } from "../../stack/issued-certificates.ts";
import type { StackOutputs } from "../../stack/session.ts";
import type { Checkout } from "../helpers/checkout.ts";
import { docker, eventually, open, query, refusal } from "../helpers/connect.ts";
import { ownStack, type OwnStack } from "../helpers/own-stack.ts";
import { mustSucceed } from "../helpers/real-stack.ts";
import { authority } from "../helpers/throw-away-ca.ts";

const NAME = `ci-a${process.pid}`;
let checkout: Checkout;
let own: OwnStack;
let outputs: StackOutputs;

const up = () => own.up();
const settings = (changed: Record<string, unknown> = {}) => own.settings(changed);
const started = () => own.started();

beforeAll(async () => {
  own = await ownStack(NAME);
  ({ checkout, outputs } = own);
});
afterAll(() => own.remove());

describe("the authority is replaced in three phases", () => {
  const rotate = () => checkout.aiwdb(["up", "--stack", NAME, "--rotate-authority"]);
  const MODES = ["direct", "transaction", "session"] as const;
  const files = (): Files => {
    const { sslRootCert, sslCert, sslKey } = connectionFor(outputs, "app_user", "direct");
    const read = (file: string) => readFileSync(file, "utf8");
    return { ca: read(sslRootCert), certificate: { certPem: read(sslCert), keyPem: read(sslKey) } };
  };
  interface Files {
    readonly ca: string;
    readonly certificate: KeyPair;
  }
  const connects = async ({ ca, certificate }: Files, what: string) => {
    for (const mode of MODES)
      expect(await query("app_user", mode, "select 1 as one", { outputs, certificate, ssl: { ca } }), what).toEqual([
        { one: 1 },
      ]);
  };
  /** A further certificate in a folder of its own, and what the command said on stderr. */
  const issue = async (name: string) => {
    const folder = path.join(checkout.root, "..", name);
    const issued = await checkout.aiwdb(["certs", "issue", "app_user", "--stack", NAME, "--output", folder]);
    const read = (file: string) => readFileSync(path.join(folder, file), "utf8");
    mustSucceed(issued);
    const certificate = { certPem: read("app_user.crt"), keyPem: read("app_user.key") };
    return { files: { ca: read("ca.crt"), certificate }, warned: issued.stderr };
  };
  const issuerOf = (pem: string) => new X509Certificate(pem).issuer;
  let old: Files;
  let both: string;
  let before: string[];

  beforeAll(async () => {
    settings({ protect: true });
    mustSucceed(await up());
    before = await started();
    old = files();
  });
  afterAll(async () => {
    settings();
    mustSucceed(await up());
  });

  test("first a new one is trusted beside the old one, also where the key is protected; no client notices", async () => {
    expect(mustSucceed(await rotate()).all).toMatch(/phase 1 of 3/);
    both = files().ca;
    expect(certificatesOf(both)).toHaveLength(2);
    expect(both.startsWith(old.ca)).toBe(true);
    expect(issuerOf(files().certificate.certPem)).toBe(issuerOf(old.certificate.certPem));
    await connects(old, "a client that knows nothing of it");
    await connects(files(), "one that has the new files");
    const own = authority(await authorityOf("second-ca"));
    await connects({ ca: both, certificate: await own.issue({ commonName: "app_user" }) }, "one of the new authority");
    const { files: issued, warned } = await issue("issued-in-phase-1");
    expect(warned).toContain("the third phase ends this certificate");
    expect(issued.ca).toBe(both);
    await connects(issued, "one that was issued");
  });

  test("then it signs, and a run that is killed in the middle leaves both sides with an authority in common", async () => {
    const cut = checkout.start(["up", "--stack", NAME, "--rotate-authority"]);
    await eventually(async () => {
      if (!/database-certificates-authority.*updat/.test(cut.output())) throw new Error("not yet");
      await docker()
        .getContainer(`${engineNames(NAME).pgbouncerConfigVolume}-files`)
        .inspect();
    }, 90_000);
    cut.kill();
    await cut.result;
    const withOld = { ca: both, certificate: old.certificate };
    await connects(withOld, "old certificate, half-way");
    await connects({ ...files(), ca: both }, "whatever certificate there is now, half-way");

    mustSucceed(await up()); // a plain one finishes the phase, and does not begin the next
    const { host, port } = connectionFor(outputs, "app_user", "direct");
    const offered = new X509Certificate((await offeredCertificate(host, port)).raw);
    expect(offered.issuer).not.toBe(issuerOf(old.certificate.certPem));
    expect(issuerOf(files().certificate.certPem)).toBe(offered.issuer);
    expect(certificatesOf(files().ca)).toHaveLength(2);
    await connects(withOld, "old certificate");
    await connects(files(), "new certificate");
    const { files: issued, warned } = await issue("issued-in-phase-2");
    expect(warned).toBe("");
    expect(issuerOf(issued.certificate.certPem)).toBe(offered.issuer);
    await connects(issued, "one that was issued");
  });

  test("last the old one is dropped, and its certificates are refused everywhere", async () => {
    expect(mustSucceed(await rotate()).all).toMatch(/phase 3 of 3/);
    expect(certificatesOf(files().ca)).toHaveLength(1);
    await connects(files(), "new certificate");
    for (const mode of MODES)
      expect(
        await refusal(open("app_user", mode, { outputs, certificate: old.certificate, ssl: { ca: both } })),
        mode,
      ).toMatch(/alert unknown ca|ECONNRESET|closed|terminated/i);
    expect(await refusal(open("app_user", "direct", { outputs, ssl: { ca: old.ca } }))).toMatch(
      /unable to verify|self.signed|unable to get/i,
    );
    const { stdout } = mustSucceed(await checkout.aiwdb(["certs", "list", "--stack", NAME, "--json"]));
    const { issued } = JSON.parse(stdout) as { issued: IssuedCertificate[] };
    expect(issued.map(({ state }) => state)).toEqual(["untrusted", "valid"]);
    expect(await started()).toEqual(before);
    expect(mustSucceed(await up()).all).not.toMatch(/(created|updated|replaced|deleted) \(/);
  });

  /** Key and certificate of one place, out of the state. */
  async function authorityOf(place: string): Promise<KeyPair> {
    const { stdout } = mustSucceed(
      await checkout.aiwdb(["pulumi", "--stack", NAME, "--", "stack", "export", "--show-secrets"]),
    );
    const resources = JSON.parse(stdout).deployment.resources as { urn: string; outputs: Record<string, any> }[];
    const outputsOf = (part: string) => resources.find(({ urn }) => urn.endsWith(`-${place}-${part}`))?.outputs ?? {};
    return {
      keyPem: JSON.parse(outputsOf("key")["privateKeyPemPkcs8"].plaintext) as string,
      certPem: outputsOf("cert")["certPem"] as string,
    };
  }
});
