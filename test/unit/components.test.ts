import { fileURLToPath } from "node:url";
import * as pulumi from "@pulumi/pulumi";
import { beforeAll, describe, expect, test } from "vitest";
import { ConfigError } from "../../base/errors.ts";
import { checkPassword } from "../../infra/arguments.ts";
import { parseConfig } from "../../infra/settings/check.ts";
import { DatabaseStack, type DatabaseStackArgs } from "../../infra/database-stack.ts";
import { register, type Registered } from "../helpers/pulumi-mocks.ts";

const migrationsFolder = fileURLToPath(new URL("../../migrations", import.meta.url));

/** Marks that are easy to find again where they must not be. */
const KEY = `-----BEGIN ${"PRIVATE"} KEY----- mark`;
const PASSWORD = "generated-password-mark";
const STORED = "SCRAM-secret-mark";

function outputsOf(type: string): Record<string, unknown> {
  if (type === "tls:index/privateKey:PrivateKey") return { privateKeyPem: KEY, privateKeyPemPkcs8: KEY };
  if (type.startsWith("tls:"))
    return {
      certPem: "CERT",
      certRequestPem: "REQUEST",
      validityEndTime: new Date(Date.now() + 3_650 * 86_400_000).toISOString(),
    };
  if (type.endsWith(":AuthorityRotation"))
    return { phase: 0, signer: "first", trusted: ["first"], firstGeneration: 1, secondGeneration: 1 };
  if (type.endsWith(":Password")) return { password: pulumi.secret(PASSWORD) };
  if (type.endsWith(":ScramSecret")) return { secret: pulumi.secret(STORED) };
  if (type.endsWith(":Renewal")) return { generation: 1 };
  if (/:(ContainerReady|SuperuserPassword)$/.test(type)) return { readyHost: "127.0.0.1", readyPort: 15_432 };
  return {};
}

const stackOf = (args: Partial<DatabaseStackArgs>, stack = "dev") =>
  register(() => new DatabaseStack("database", { stack, migrationsFolder, clientDirectory: "/clients", ...args }), {
    stack,
    outputs: outputsOf,
  });

const PROD = {
  protect: true,
  postgresPort: 15_432,
  postgresMemoryMiB: 4_096,
  postgresCpus: 2.5,
  postgresMaxConnections: 100,
  pgbouncerPort: 6_432,
  pgbouncerPublishAddress: "0.0.0.0",
  pgbouncerMemoryMiB: 256,
};

let dev: Registered[];
let prod: Registered[];

beforeAll(async () => {
  dev = await stackOf({});
  prod = await stackOf(PROD, "prod");
});

const named = (resources: readonly Registered[], name: string): Registered => {
  const found = resources.find((each) => each.name === name);
  if (!found) throw new Error(`no resource ${name}`);
  return found;
};
const ofType = (resources: readonly Registered[], type: string) =>
  resources.filter((each) => each.type.split(":").at(-1) === type);

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

describe.each(["postgres", "pgbouncer", "maintenance"])("the %s container", (service) => {
  const container = (resources: readonly Registered[]) => named(resources, `database-${service}-container`);

  test("may write nowhere but to its volumes and to memory, with no capability and no way to get one", () => {
    const { inputs } = container(dev);
    expect(inputs).toMatchObject({
      readOnly: true,
      capabilities: { drops: ["ALL"] },
      securityOpts: ["no-new-privileges:true"],
      init: true,
    });
    expect(inputs["capabilities"].adds ?? []).toEqual([]);
    expect(inputs["privileged"] ?? false).toBe(false);
    for (const options of Object.values(inputs["tmpfs"] as Record<string, string>)) {
      expect(options).toMatch(/noexec,nosuid,nodev,size=\d+m,uid=99[89],gid=99[89],mode=0700/);
    }
    const configuration = (inputs["volumes"] as { containerPath: string; readOnly?: boolean }[]).find(
      ({ containerPath }) => containerPath.startsWith("/etc/"),
    );
    expect(configuration?.readOnly).toBe(true);
  });

  test("has limits on memory, CPUs, processes, open files and logs, and time to stop", () => {
    const { inputs } = container(prod);
    const memory = { postgres: 4_096, pgbouncer: 256, maintenance: 64 }[service];
    expect(inputs).toMatchObject({
      memory,
      memorySwap: memory,
      cpus: { postgres: "2.5", pgbouncer: "1.0", maintenance: "0.5" }[service],
      ulimits: [{ name: "nofile", soft: 16_384, hard: 16_384 }],
      logOpts: { "max-size": "20m", "max-file": "3" },
      stopTimeout: 120,
      destroyGraceSeconds: 120,
      restart: "unless-stopped",
    });
    expect(named(prod, `database-${service}-ready`).inputs["pidsLimit"]).toBe(service === "postgres" ? 264 : 32);
  });

  test("is not replaced when a limit of the pooler changes, which would end every session", async () => {
    const more = await stackOf({ ...PROD, pgbouncerMaxClientConn: 2_000, pgbouncerMaxDbConnections: 60 }, "prod");
    expect(container(more).inputs).toEqual(container(prod).inputs);
    const many = await stackOf({ pgbouncerMaxClientConn: 20_000, pgbouncerMemoryMiB: 2_048 });
    expect(named(many, "database-pgbouncer-container").inputs["ulimits"]).toEqual([
      { name: "nofile", soft: 32_768, hard: 32_768 },
    ]);
  });

  test("is asked whether it is healthy, by a query if it is a server, every 30 s", () => {
    expect(container(prod).inputs["healthcheck"]).toMatchObject({
      tests:
        service === "maintenance"
          ? ["CMD-SHELL", expect.stringContaining("/tmp/last-success")]
          : ["CMD", "healthcheck"],
      interval: "30s",
    });
  });

  test("starts only after its files are in place, and is removed before another takes its name and port", () => {
    expect(container(dev).dependsOn).toContain(`database-${service}-files`);
    expect(container(dev).deleteBeforeReplace).toBe(true);
  });

  test("has no secret in environment, labels, command, entrypoint or any other input", () => {
    for (const { inputs, secretInputs } of [container(dev), container(prod)]) {
      const given = Object.keys(inputs)
        .filter((key) => ["envs", "uploads", "command", "entrypoints"].includes(key))
        .sort();
      expect(given).toEqual(service === "maintenance" ? ["command", "entrypoints", "envs"] : []);
      expect(secretInputs).toEqual([]);
      expect(JSON.stringify(inputs)).not.toMatch(/mark/);
    }
  });
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

test("stops PostgreSQL by a fast shutdown", () => {
  expect(named(dev, "database-postgres-container").inputs["stopSignal"]).toBe("SIGINT");
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

describe("secrets", () => {
  test("are marked wherever a password or a key is an input", () => {
    for (const resource of [...dev, ...prod]) {
      for (const [key, value] of Object.entries(resource.inputs)) {
        if (!/mark/.test(JSON.stringify(value))) continue;
        expect(resource.secretInputs, `${resource.name}.${key}`).toContain(key);
      }
    }
    // The mocks do hand them out, so the loop above has something to find.
    expect(dev.filter(({ inputs }) => /mark/.test(JSON.stringify(inputs))).length).toBeGreaterThan(20);
  });

  test("are outputs of keys and passwords, so that the state encrypts them", () => {
    for (const { additionalSecretOutputs } of ofType(dev, "PrivateKey")) {
      expect(additionalSecretOutputs).toEqual(
        expect.arrayContaining(["privateKeyPem", "privateKeyPemPkcs8", "privateKeyOpenssh"]),
      );
    }
    for (const { additionalSecretOutputs } of ofType(dev, "Password"))
      expect(additionalSecretOutputs).toContain("password");
    for (const { additionalSecretOutputs } of ofType(dev, "Role"))
      expect(additionalSecretOutputs).toContain("password");
    for (const { additionalSecretOutputs } of ofType(dev, "ScramSecret"))
      expect(additionalSecretOutputs).toContain("secret");
  });

  test("go to the server as what it stores for a password: no role of the provider's gets a password", () => {
    const roles = ofType(dev, "Role").filter(({ inputs }) => inputs["login"]);
    expect(roles).toHaveLength(5);
    for (const { inputs, secretInputs } of roles) {
      const secret = named(dev, `database-database-secret-${inputs["name"]}`);
      expect(inputs["password"]).toBe(STORED);
      expect(secretInputs).toEqual(["password"]);
      expect(secret.inputs).toEqual({ password: PASSWORD, iterations: 4_096 });
      expect(secret.secretInputs).toEqual(["password"]);
    }
    // The server's own setting would apply only to passwords that it is given in clear.
    expect(JSON.stringify(ofType(dev, "Role").map(({ inputs }) => inputs))).not.toContain(PASSWORD);
  });

  test("are made with as many iterations as the server's setting says", async () => {
    const resources = await stackOf({ postgresSettings: { scram_iterations: "1024" } });
    expect(ofType(resources, "ScramSecret").map(({ inputs }) => inputs["iterations"])).toEqual(
      Array.from({ length: 5 }, () => 1_024),
    );
  });

  test("are refused as plain texts of a program, where they would be in clear", () => {
    const settings = { appUserPassword: "appuser-password-that-is-given-mark" };
    expect(() => new DatabaseStack("database", { stack: "dev", clientDirectory: "/clients", ...settings })).toThrow(
      expect.objectContaining({
        name: "ConfigError",
        problems: [expect.objectContaining({ subject: "appUserPassword" })],
        message: expect.not.stringContaining(settings.appUserPassword) as string,
      }),
    );
  });

  test("that are given do not reach the state through the component's own inputs", async () => {
    const given = "appuser-password-that-is-given-mark";
    const resources = await stackOf({ appUserPassword: pulumi.secret(given) });
    for (const { type, inputs } of resources.filter(
      (each) => each.type.startsWith("aiwdb:index:") && each.parent === "database",
    )) {
      expect(JSON.stringify(inputs), type).not.toContain(given);
    }
    const secret = named(resources, "database-database-secret-app_user");
    expect([secret.inputs["password"], secret.secretInputs]).toEqual([given, ["password"]]);
    expect(resources.map(({ name }) => name)).not.toContain("database-password-app_user");
  });

  test("leave the stack only as secret outputs", async () => {
    let connections: unknown;
    let passwordsSecret: boolean | undefined;
    await register(
      async () => {
        const database = new DatabaseStack("database", {
          stack: "dev",
          migrationsFolder,
          clientDirectory: "/clients",
        });
        database.connections.apply((value) => {
          connections = value;
        });
        passwordsSecret = await pulumi.isSecret(database.passwords);
      },
      { outputs: outputsOf },
    );
    await expect.poll(() => [passwordsSecret, connections !== undefined]).toEqual([true, true]);
    expect(JSON.stringify(connections)).not.toMatch(/mark/);
    expect(connections).toMatchObject({
      database: "ai_workflow_db",
      direct: { host: "127.0.0.1", port: 15_432, database: "ai_workflow_db" },
      session: { database: "ai_workflow_db_session" },
      certificates: {
        app_user: { sslRootCert: "/clients/ca.crt", sslCert: "/clients/app_user.crt", sslKey: "/clients/app_user.key" },
      },
    });
  });
});

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
  const BOUND = { pgbouncerBindCertificates: true, pgbouncerMaxDbConnections: 68, postgresMaxConnections: 90 };
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

const rightsIn = (resources: typeof dev): string[] =>
  [...ofType(resources, "Grant"), ...ofType(resources, "DefaultPrivileges")]
    .map(({ inputs }) => `${inputs["role"]} ${inputs["objectType"]}: ${inputs["privileges"].join(",")}`)
    .sort();

describe("roles", () => {
  const role = (name: string) => named(dev, `database-database-role-${name}`).inputs;

  test("have no attribute beyond login, and the lookup's owner not even that", () => {
    for (const name of ["ai_workflow_owner", "app_user", "app_readonly", "app_monitor", "pgbouncer"]) {
      expect(Object.keys(role(name)).sort()).toEqual(
        [
          "login",
          "name",
          "password",
          ...(name.startsWith("app_") ? ["connectionLimit"] : []),
          ...(name === "app_monitor" ? ["roles"] : []),
        ].sort(),
      );
      expect(role(name)["login"]).toBe(true);
    }
    expect(role("pgbouncer_lookup")).toEqual({ name: "pgbouncer_lookup", login: false });
    expect(role("app_monitor")["roles"]).toEqual(["pg_monitor"]);
    // The pooler's share, and half of what is left to direct connections.
    for (const name of ["app_user", "app_readonly", "app_monitor"]) expect(role(name)["connectionLimit"]).toBe(55);
  });

  test("get exactly these rights", () => {
    expect(rightsIn(dev)).toEqual([
      "app_monitor database: CONNECT",
      "app_readonly database: CONNECT",
      "app_readonly table: SELECT",
      "app_user database: CONNECT",
      "app_user sequence: USAGE,SELECT",
      "app_user table: SELECT,INSERT,UPDATE,DELETE",
      "pgbouncer database: CONNECT",
    ]);
  });

  test("get temporary tables with the setting for them only", async () => {
    expect(rightsIn(await stackOf({ appUserTemporary: true }))).toEqual(
      rightsIn(dev).map((right) => (right === "app_user database: CONNECT" ? `${right},TEMPORARY` : right)),
    );
  });
});

test("takes the address of the database provider from the readiness gate, never from the settings", () => {
  const provider = named(dev, "database-database-provider").inputs;
  expect(provider).toMatchObject({
    host: "127.0.0.1",
    port: "15432",
    sslmode: "verify-full",
    expectedVersion: "16.0.0",
  });
  expect(named(dev, "database-database-provider").dependsOn).toContain("database-postgres-superuser");
});

test("makes no volume before the network, which only one of two states has, and removes nothing before the data's owner is known", () => {
  for (const volume of ["postgres-data", "postgres-config", "pgbouncer-config", "maintenance-config"])
    expect(named(dev, `database-${volume}`).dependsOn).toContain("database-network-network");
  const { dependsOn } = named(dev, "database-data-owner");
  const last = ["postgres-superuser", "pgbouncer-ready", "maintenance-ready", "database-migrations"];
  expect(dependsOn).toEqual(expect.arrayContaining(last.map((name) => `database-${name}`)));
});

test("gives migrations their names and checksums, up to the wanted phase", async () => {
  const all = named(dev, "database-database-migrations").inputs;
  const some = named(await stackOf({ rolloutPhase: 1 }), "database-database-migrations").inputs;
  expect(all["migrations"].length).toBeGreaterThan(some["migrations"].length);
  expect(all["migrations"].slice(0, some["migrations"].length)).toEqual(some["migrations"]);
  expect(Object.keys(all["checksums"]).sort()).toEqual([...all["migrations"]].sort());
  expect(all["connection"]).toMatchObject({
    user: "ai_workflow_owner",
    port: 15_432,
    sslKey: "/clients/ai_workflow_owner.key",
  });
});

describe("arguments", () => {
  const refusal = (args: object): ConfigError => {
    try {
      new DatabaseStack("database", { stack: "dev", clientDirectory: "/clients", ...args });
    } catch (error) {
      if (error instanceof ConfigError) return error;
      throw error;
    }
    throw new Error("accepted");
  };

  test("that are wrong are refused before anything is registered", () => {
    expect(refusal({ pgbouncerPort: "x" }).message).toMatch(
      /Configuration of stack "dev" is not usable \(1 problem\); nothing has been changed:\n- pgbouncerPort: must be a whole number/,
    );
  });

  test("are checked as a settings file is, all problems at once, and the remedies are the program's", async () => {
    const args = {
      stack: "Dev",
      clientDirectory: 7,
      adopt: "app_user",
      rotateAuthority: 1,
      resetPasswords: "yes",
      postgresMaxConnection: 1,
      postgresCpus: "many",
      pgbouncerSettings: { verbose: "1" },
      certLeafValidityDays: 5_000,
      certRenewBeforeDays: 95,
      postgresMaxConnections: 20,
      ownerPassword: "owner-password-in-clear-mark",
    };
    const { message, problems } = refusal(args);
    expect(problems.map(({ subject }) => subject).sort()).toEqual([
      "adopt",
      "certLeafValidityDays",
      "clientDirectory",
      "ownerPassword",
      "pgbouncerMaxDbConnections",
      "pgbouncerSettings.verbose",
      "postgresCpus",
      "postgresMaxConnection",
      "resetPasswords",
      "rotateAuthority",
      'stack "Dev"',
    ]);
    expect(message).not.toMatch(/mark|config set/);
    const registered = await register(() => expect(() => new DatabaseStack("database", args as never)).toThrow());
    expect(registered.map(({ type }) => type)).toEqual(["pulumi:pulumi:Stack"]);
    expect(refusal({ stack: undefined }).problems).toEqual([
      { subject: "stack", problem: "must be text", remedy: "Correct it in the program." },
      expect.objectContaining({ subject: 'stack ""' }),
    ]);
  });

  test("that a program leaves undefined mean the defaults, also those of the profile", async () => {
    const resources = await stackOf({ postgresMemoryMiB: undefined } as object, "ci-1");
    expect(named(resources, "database-postgres-container").inputs["memory"]).toBe(6_144);
  });

  test.each([
    ["too-short-mark", "must have at least 20 characters"],
    ["no-printable-ASCII-\n-mark", "must be printable ASCII"],
  ])("are checked also where a password is known only later, and %j is not shown", (password, problem) => {
    const check = () => checkPassword("dev", "appUserPassword", password);
    expect(check).toThrow(
      expect.objectContaining({
        name: "ConfigError",
        problems: [expect.objectContaining({ subject: "appUserPassword", problem })],
        message: expect.not.stringContaining(password) as string,
      }),
    );
  });

  test("make a password secret whatever the program says", async () => {
    const resources = await stackOf({ appUserPassword: pulumi.output("not-marked-as-a-secret-by-anybody") });
    const { inputs, secretInputs } = named(resources, "database-database-secret-app_user");
    expect([inputs["password"], secretInputs]).toEqual(["not-marked-as-a-secret-by-anybody", ["password"]]);
  });

  test("say what is taken over into the state, and nothing else is", async () => {
    const adopting = await stackOf({ adopt: ["app_user", "ai_workflow_db"] });
    const imported = (resources: readonly Registered[]) =>
      resources.flatMap(({ importId, name }) => (importId ? [[name, importId]] : []));
    expect(imported(adopting).sort()).toEqual([
      ["database-database-database", "ai_workflow_db"],
      ["database-database-role-app_user", "app_user"],
    ]);
    expect(imported(dev)).toEqual([]);
  });

  test("say how far the authority's replacement goes, and that all certificates are replaced", async () => {
    const inputs = (resources: readonly Registered[], part: string) =>
      named(resources, `database-certificates-${part}`).inputs;
    expect([inputs(dev, "authority")["step"], inputs(dev, "renewal")]).toMatchObject([undefined, { hold: false }]);
    const step = await stackOf({ rotateAuthority: "one", rotateCertificates: "two" });
    expect([inputs(step, "authority")["step"], inputs(step, "renewal")]).toMatchObject([
      "one",
      { hold: true, force: "two" },
    ]);
    const hold = await stackOf({ rotateAuthority: "hold" });
    expect([inputs(hold, "authority")["step"], inputs(hold, "renewal")]).toMatchObject([undefined, { hold: true }]);
    const kept = (resources: readonly Registered[], part: string) =>
      named(resources, `database-certificates-${part}`).ignoreChanges;
    expect([kept(dev, "authority"), kept(hold, "authority"), kept(step, "authority")]).toEqual([
      ["step"],
      ["step"],
      [],
    ]);
    expect([kept(dev, "renewal"), kept(step, "renewal")]).toEqual([["force"], []]);
  });
});
