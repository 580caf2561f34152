import { beforeAll, describe, expect, test } from "vitest";
import { parseConfig } from "../../infra/settings/check.ts";
import { DatabaseStack } from "../../infra/database-stack.ts";
import { register, type Registered } from "../helpers/pulumi-mocks.ts";
import { migrationsFolder, named, outputsOf, stackOf } from "../helpers/registered-stack.ts";

const dev = await stackOf({});

describe("certificates", () => {
  const request = (part: string, resources = dev) => named(resources, `database-certificates-${part}-request`).inputs;

  test("of clients carry the role as common name and no host", () => {
    for (const role of ["app_user", "app_readonly", "app_monitor", "ai_workflow_owner", "postgres"]) {
      expect(request(`client-${role}`)["subject"].commonName).toBe(role);
      expect(request(`client-${role}`)["dnsNames"]).toBeUndefined();
      expect(named(dev, `database-certificates-client-${role}-cert`).inputs["allowedUses"]).toEqual([
        "digital_signature",
        "client_auth",
      ]);
    }
    expect(request("pgbouncer-client")["subject"].commonName).toBe("pgbouncer");
  });

  test("of servers carry the names clients and the pooler use, and further ones from the settings", async () => {
    expect(request("postgres-server")).toMatchObject({
      dnsNames: ["aiwdb-dev-postgres", "postgres", "localhost"],
      ipAddresses: ["127.0.0.1", "::1", "10.218.86.114"],
    });
    const more = await stackOf({ certServerHostNames: ["db.example.org"], pgbouncerPublishAddress: "192.0.2.7" });
    expect(request("pgbouncer-server", more)).toMatchObject({
      dnsNames: ["aiwdb-dev-pgbouncer", "pgbouncer", "localhost", "db.example.org"],
      ipAddresses: ["127.0.0.1", "::1", "10.218.86.115", "192.0.2.7"],
    });
    expect(named(dev, "database-certificates-postgres-server-cert").inputs["allowedUses"]).toEqual([
      "digital_signature",
      "server_auth",
    ]);
  });

  test("live as long as the settings say, below an authority that signs leaves only", async () => {
    const resources = await stackOf({ certLeafValidityDays: 7, certRenewBeforeDays: 1, certCaValidityDays: 100 });
    expect(named(resources, "database-certificates-postgres-server-cert").inputs["validityPeriodHours"]).toBe(168);
    expect(named(resources, "database-certificates-ca-cert").inputs).toMatchObject({
      validityPeriodHours: 2_400,
      isCaCertificate: true,
      maxPathLength: 0,
    });
    expect(named(resources, "database-certificates-ca-key").inputs).toMatchObject({
      algorithm: "ECDSA",
      ecdsaCurve: "P256",
    });
  });
});

describe("certificates that are bound to roles", () => {
  const POOLED = ["app_user", "app_readonly", "app_monitor"];
  const BOUND = { pgbouncerBindCertificates: true, pgbouncerMaxDbConnections: 54 };
  /** Certificates by who issued them; the second authority is about to sign. */
  const rotating = (type: string, name: string): Record<string, unknown> => {
    if (type.endsWith(":AuthorityRotation"))
      return { phase: 1, signer: "second", trusted: ["first", "second"], firstGeneration: 1, secondGeneration: 2 };
    if (type.endsWith(":SelfSignedCert")) return { certPem: `<${name}>` };
    if (type.endsWith(":PrivateKey")) return { privateKeyPem: `<${name}>`, privateKeyPemPkcs8: `<${name}>` };
    return outputsOf(type);
  };
  let resources: Registered[];
  beforeAll(async () => {
    resources = await register(
      () => new DatabaseStack("database", { stack: "dev", ...BOUND, migrationsFolder, clientDirectory: "/clients" }),
      { stack: "dev", outputs: rotating },
    );
  });
  const at = (part: string) => named(resources, `database-certificates-${part}`).inputs;
  const pem = (part: string) => `<database-certificates-${part}-cert>`;
  const file = (service: string, name: string) =>
    named(resources, `database-${service}-files`).inputs["files"][name].content;

  test("are signed under the role's own name of the authority that signs, with its key", () => {
    for (const role of POOLED) {
      expect(at(`first-ca-${role}-cert`)).toMatchObject({
        privateKeyPem: "<database-certificates-ca-key>",
        isCaCertificate: true,
        maxPathLength: 0,
        subject: { commonName: `dev CA ${role}` },
      });
      expect(at(`second-ca-${role}-cert`)).toMatchObject({
        privateKeyPem: "<database-certificates-second-ca-key>",
        subject: { commonName: `dev CA 2 ${role}` },
      });
      expect(at(`client-${role}-cert`)).toMatchObject({
        caCertPem: pem(`second-ca-${role}`),
        caPrivateKeyPem: "<database-certificates-second-ca-key>",
      });
    }
    for (const part of ["client-ai_workflow_owner", "client-postgres", "pgbouncer-client", "postgres-server"])
      expect(at(`${part}-cert`)["caCertPem"], part).toBe(pem("second-ca"));
  });

  test("are taken by their role's listener only, and by PostgreSQL; nobody takes a server's from their authorities", () => {
    for (const role of POOLED)
      expect(file("pgbouncer", `tls/clients-${role}.crt`)).toBe(pem(`first-ca-${role}`) + pem(`second-ca-${role}`));
    const servers = pem("ca") + pem("second-ca");
    expect(file("pgbouncer", "tls/ca.crt")).toBe(servers);
    expect(at("client-files")["files"]["ca.crt"]).toBe(servers);
    expect(file("postgres", "tls/ca.crt")).toBe(
      servers + POOLED.map((role) => pem(`first-ca-${role}`) + pem(`second-ca-${role}`)).join(""),
    );
  });

  test("come with a port for each role, beside PgBouncer's", () => {
    const { pgbouncerPort } = parseConfig("dev", BOUND);
    expect(named(resources, "database-pgbouncer-container").inputs["ports"]).toEqual(
      [0, 1, 2].map((n) => ({ internal: 6_432 + n, external: pgbouncerPort + n, ip: "127.0.0.1" })),
    );
    expect(named(resources, "database-pgbouncer-files").inputs).toMatchObject({
      port: pgbouncerPort,
      furtherPorts: [pgbouncerPort + 1, pgbouncerPort + 2],
    });
  });
});
