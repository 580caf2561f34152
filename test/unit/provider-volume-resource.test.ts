import { describe, expect, test } from "vitest";
import { pairProblems, volumeFiles as volumeFilesType } from "../../infra/provider/resources/volume-files.ts";
import { called, recorder } from "../helpers/provider.ts";
import { createCa } from "../helpers/throw-away-ca.ts";

const quiet = recorder();
const volumeFiles = called(volumeFilesType);

describe("files in a volume", () => {
  const inputs = {
    volume: "v",
    image: "i:1",
    uid: 999,
    files: { "postgresql.conf": { content: "a", mode: 0o600 } },
    service: "postgres",
    container: "c",
    restartKey: "k",
    host: "127.0.0.1",
    port: 1,
  };

  test("are refused before anything is touched when key and certificate do not belong together", async () => {
    const ca = await createCa();
    const [one, two] = [await ca.issue({ commonName: "a" }), await ca.issue({ commonName: "b" })];
    const mixed = {
      ...inputs,
      files: {
        "tls/ca.crt": { content: ca.certPem, mode: 0o600 },
        "tls/server.crt": { content: one.certPem, mode: 0o600 },
        "tls/server.key": { content: two.keyPem, mode: 0o600 },
      },
    };
    const refusal = expect.objectContaining({
      name: "StateError",
      message:
        "Certificates that cannot be used; nothing has been replaced:\n- files.tls/server.key: key and certificate do not belong together",
    });
    await expect(volumeFiles.update("v", inputs, mixed, quiet)).rejects.toEqual(refusal);
    await expect(volumeFiles.create(mixed, quiet)).rejects.toEqual(refusal);
  });
});

test("a pair in force that has expired stands in nobody's way, and is still held against the authorities", async () => {
  const [ca, next] = [await createCa("old"), await createCa("new")];
  const expired = await ca.issue({ commonName: "a", fromDays: -90, toDays: -1 });
  const files = (caPem: string, { certPem, keyPem } = expired) =>
    Object.fromEntries(
      Object.entries({ "tls/ca.crt": caPem, "tls/server.crt": certPem, "tls/server.key": keyPem }).map(
        ([name, content]) => [name, { content, mode: 0o600 }],
      ),
    );
  const reasons = (...args: Parameters<typeof pairProblems>) => pairProblems(...args).map(({ reason }) => reason);
  const before = files(ca.certPem);
  expect(reasons(before)).toEqual([expect.stringContaining("expired on")]);
  // The first phase of a new authority changes nothing but who is trusted.
  expect(reasons(files(ca.certPem + next.certPem), before)).toEqual([]);
  expect(reasons(files(next.certPem), before)).toEqual(["the certificate was not signed by the authority"]);
  const other = await ca.issue({ commonName: "a", fromDays: -90, toDays: -1 });
  expect(reasons(files(ca.certPem, other), before)).toEqual([expect.stringContaining("expired on")]);
});
