import { describe, expect, test } from "vitest";
import type { Registered } from "../helpers/pulumi-mocks.ts";
import { named, ofType, PROD, stackOf } from "../helpers/registered-stack.ts";

const dev = await stackOf({});
const prod = await stackOf(PROD, "prod");

test("registers exactly these resources below these parents; a changed name or parent would recreate what it stands for", () => {
  const lines = dev.map(({ type, name, parent }) => `${parent ?? "(root)"} > ${name}: ${type}`).sort();
  const leaf = (part: string) => [
    `database-certificates > database-certificates-${part}: aiwdb:index:LeafCertificate`,
    `database-certificates-${part} > database-certificates-${part}-key: tls:index/privateKey:PrivateKey`,
    `database-certificates-${part} > database-certificates-${part}-request: tls:index/certRequest:CertRequest`,
    `database-certificates-${part} > database-certificates-${part}-cert: tls:index/locallySignedCert:LocallySignedCert`,
  ];
  const clients = ["app_user", "app_readonly", "app_monitor", "ai_workflow_owner", "postgres"].map(
    (role) => `client-${role}`,
  );
  const inDatabase = (name: string, type: string) => `database-database > database-database-${name}: ${type}`;
  expect(lines).toEqual(
    [
      "(root) > ai-workflow-database-dev: pulumi:pulumi:Stack",
      "ai-workflow-database-dev > database: aiwdb:index:DatabaseStack",
      "database > database-certificates: aiwdb:index:StackCertificates",
      "database > database-identity: aiwdb:index:StateIdentity",
      "database > database-data-owner: aiwdb:index:DataOwner",
      "database > database-network: aiwdb:index:DatabaseNetwork",
      "database > database-postgres: aiwdb:index:PostgresServer",
      "database > database-pgbouncer: aiwdb:index:PgBouncer",
      "database > database-database: aiwdb:index:Database",
      ...["ai_workflow_owner", "app_user", "app_readonly", "app_monitor", "pgbouncer"].map(
        (role) => `database > database-password-${role}: aiwdb:index:Password`,
      ),
      "database-certificates > database-certificates-ca: aiwdb:index:CertificateAuthority",
      "database-certificates-ca > database-certificates-ca-key: tls:index/privateKey:PrivateKey",
      "database-certificates-ca > database-certificates-ca-cert: tls:index/selfSignedCert:SelfSignedCert",
      "database-certificates > database-certificates-authority: aiwdb:index:AuthorityRotation",
      "database-certificates > database-certificates-second-ca: aiwdb:index:CertificateAuthority",
      "database-certificates-second-ca > database-certificates-second-ca-key: tls:index/privateKey:PrivateKey",
      "database-certificates-second-ca > database-certificates-second-ca-cert: tls:index/selfSignedCert:SelfSignedCert",
      "database-certificates > database-certificates-renewal: aiwdb:index:Renewal",
      "database-certificates > database-certificates-client-files: aiwdb:index:ClientFiles",
      ...["postgres-server", "pgbouncer-server", "pgbouncer-client", ...clients].flatMap(leaf),
      "database-network > database-network-network: aiwdb:index:Network",
      "database-postgres > database-postgres-image: aiwdb:index:Image",
      "database-postgres > database-postgres-data: docker:index/volume:Volume",
      "database-postgres > database-postgres-config: docker:index/volume:Volume",
      "database-postgres > database-postgres-files: aiwdb:index:VolumeFiles",
      "database-postgres > database-postgres-container: docker:index/container:Container",
      "database-postgres > database-postgres-ready: aiwdb:index:ContainerReady",
      "database-postgres > database-postgres-superuser-password: aiwdb:index:Password",
      "database-postgres > database-postgres-superuser: aiwdb:index:SuperuserPassword",
      "database-pgbouncer > database-pgbouncer-image: aiwdb:index:Image",
      "database-pgbouncer > database-pgbouncer-config: docker:index/volume:Volume",
      "database > database-maintenance: aiwdb:index:Maintenance",
      "database-maintenance > database-maintenance-config: docker:index/volume:Volume",
      "database-maintenance > database-maintenance-files: aiwdb:index:VolumeFiles",
      "database-maintenance > database-maintenance-container: docker:index/container:Container",
      "database-maintenance > database-maintenance-ready: aiwdb:index:ContainerReady",
      "database-pgbouncer > database-pgbouncer-files: aiwdb:index:VolumeFiles",
      "database-pgbouncer > database-pgbouncer-container: docker:index/container:Container",
      "database-pgbouncer > database-pgbouncer-ready: aiwdb:index:ContainerReady",
      inDatabase("provider", "pulumi:providers:postgresql"),
      inDatabase("login-roles", "aiwdb:index:LoginRoles"),
      ...["ai_workflow_owner", "app_user", "app_readonly", "app_monitor", "pgbouncer", "pgbouncer_lookup"].map((role) =>
        inDatabase(`role-${role}`, "postgresql:index/role:Role"),
      ),
      ...["ai_workflow_owner", "app_user", "app_readonly", "app_monitor", "pgbouncer"].map((role) =>
        inDatabase(`secret-${role}`, "aiwdb:index:ScramSecret"),
      ),
      inDatabase("database", "postgresql:index/database:Database"),
      inDatabase("pg-stat-statements", "postgresql:index/extension:Extension"),
      inDatabase("extensions", "aiwdb:index:Extensions"),
      inDatabase("baseline", "aiwdb:index:DatabaseBaseline"),
      ...["app_user", "app_readonly", "app_monitor", "pgbouncer"].map((role) =>
        inDatabase(`connect-${role}`, "postgresql:index/grant:Grant"),
      ),
      ...["app_user-table", "app_user-sequence", "app_readonly-table"].map((part) =>
        inDatabase(`default-${part}`, "postgresql:index/defaultPrivileges:DefaultPrivileges"),
      ),
      inDatabase("migrations", "aiwdb:index:Migrations"),
    ].sort(),
  );
});

test("registers the same resources in prod as in dev", () => {
  const shape = (resources: readonly Registered[]) =>
    resources
      .slice(1)
      .map(({ type, name }) => `${type} ${name}`)
      .sort();
  expect(shape(prod)).toEqual(shape(dev));
});

test("puts the stack into every name on the engine", () => {
  const engineObjects = prod.filter(({ type }) => type.startsWith("docker:") || type === "aiwdb:index:Network");
  expect(engineObjects.map(({ inputs }) => inputs["name"]).sort()).toEqual([
    "aiwdb-prod-data",
    "aiwdb-prod-maintenance",
    "aiwdb-prod-maintenance-config",
    "aiwdb-prod-network",
    "aiwdb-prod-pgbouncer",
    "aiwdb-prod-pgbouncer-config",
    "aiwdb-prod-postgres",
    "aiwdb-prod-postgres-config",
  ]);
  const label = { label: "ai-workflow-database.stack", value: "prod" };
  for (const { type, inputs } of engineObjects) {
    // Our own resource takes them as the engine does.
    expect(inputs["labels"]).toEqual(
      type.startsWith("docker:")
        ? [label]
        : { [label.label]: label.value, "ai-workflow-database.state": "database-identity-id" },
    );
  }
});

test("publishes nothing beyond loopback in dev, and only the pooler in prod", () => {
  const ports = (resources: readonly Registered[]) =>
    ofType(resources, "Container")
      .flatMap(({ inputs }) =>
        ((inputs["ports"] ?? []) as { internal: number; ip: string }[]).map(({ internal, ip }) => `${ip}:${internal}`),
      )
      .sort();
  expect(ports(dev)).toEqual(["127.0.0.1:5432", "127.0.0.1:6432"]);
  expect(ports(prod)).toEqual(["0.0.0.0:6432", "127.0.0.1:5432"]);
});

describe("protection", () => {
  test("guards data volume, database and authority in prod", () => {
    expect(
      prod
        .filter(({ protect }) => protect)
        .map(({ name }) => name)
        .sort(),
    ).toEqual([
      "database-certificates-ca-cert",
      "database-certificates-ca-key",
      "database-certificates-second-ca-cert",
      "database-certificates-second-ca-key",
      "database-database-database",
      "database-postgres-data",
    ]);
    expect(named(prod, "database-postgres-data").retainOnDelete).toBe(true);
  });

  test("guards nothing in dev", () => {
    expect(dev.filter(({ protect, retainOnDelete }) => protect || retainOnDelete)).toEqual([]);
  });
});

test("makes no volume before the network, which only one of two states has, and removes nothing before the data's owner is known", () => {
  for (const volume of ["postgres-data", "postgres-config", "pgbouncer-config", "maintenance-config"])
    expect(named(dev, `database-${volume}`).dependsOn).toContain("database-network-network");
  const { dependsOn } = named(dev, "database-data-owner");
  const last = ["postgres-superuser", "pgbouncer-ready", "maintenance-ready", "database-migrations"];
  expect(dependsOn).toEqual(expect.arrayContaining(last.map((name) => `database-${name}`)));
});
