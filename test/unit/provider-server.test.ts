import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import emptyProto from "google-protobuf/google/protobuf/empty_pb.js";
import structProto from "google-protobuf/google/protobuf/struct_pb.js";
import engineGrpc from "@pulumi/pulumi/proto/engine_grpc_pb.js";
import type engineProto from "@pulumi/pulumi/proto/engine_pb.js";
import providerGrpc from "@pulumi/pulumi/proto/provider_grpc_pb.js";
import proto from "@pulumi/pulumi/proto/provider_pb.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

// The executable that the engine starts, talked to as the engine does.
const EXECUTABLE = fileURLToPath(new URL("../../infra/provider/pulumi-resource-aiwdb", import.meta.url));

type Properties = Record<string, unknown>;

let plugin: ChildProcessWithoutNullStreams;
let client: InstanceType<typeof providerGrpc.ResourceProviderClient>;
let engine: grpc.Server;
let folder: string;
const logged: { message: string; urn: string; ephemeral: boolean }[] = [];

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "provider-"));
  engine = new grpc.Server();
  engine.addService(
    engineGrpc.EngineService as grpc.ServiceDefinition,
    {
      log: ({ request }: { request: engineProto.LogRequest }, done: grpc.sendUnaryData<emptyProto.Empty>) => {
        logged.push({ message: request.getMessage(), urn: request.getUrn(), ephemeral: request.getEphemeral() });
        done(null, new emptyProto.Empty());
      },
    } as unknown as grpc.UntypedServiceImplementation,
  );
  const enginePort = await new Promise<number>((resolve, reject) => {
    engine.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) =>
      error ? reject(error) : resolve(port),
    );
  });
  const env = { ...process.env, AIWDB_TAKE_OVER: "1", DOCKER_HOST: "unix:///nowhere/docker.sock" };
  plugin = spawn(process.execPath, [EXECUTABLE, `127.0.0.1:${enginePort}`], { cwd: folder, env });
  const [port] = (await once(createInterface(plugin.stdout), "line")) as [string];
  client = new providerGrpc.ResourceProviderClient(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
});
afterAll(async () => {
  client.close();
  plugin.kill();
  await once(plugin, "exit");
  engine.forceShutdown();
  rmSync(folder, { recursive: true });
});

const token = (type: string) => `aiwdb:index:${type}`;
const urn = (type: string, name = "name") =>
  `urn:pulumi:dev::ai-workflow-database::aiwdb:index:DatabaseStack$${token(type)}::${name}`;
const struct = (properties: Properties) => structProto.Struct.fromJavaScript(properties as never);

function call<Request, Response>(method: keyof typeof client & string, request: Request): Promise<Response> {
  return new Promise((resolve, reject) => {
    const send = client[method] as unknown as (
      request: Request,
      done: (error: unknown, response: Response) => void,
    ) => void;
    send.call(client, request, (error, response) => (error ? reject(error) : resolve(response)));
  });
}

async function check(type: string, news: Properties, olds: Properties = {}, name?: string) {
  const request = new proto.CheckRequest();
  request.setUrn(urn(type, name));
  request.setType(token(type));
  request.setNews(struct(news));
  request.setOlds(struct(olds));
  const response = await call<proto.CheckRequest, proto.CheckResponse>("check", request);
  return {
    inputs: response.getInputs()?.toJavaScript(),
    failures: response.getFailuresList().map((each) => [each.getProperty(), each.getReason()]),
  };
}

async function diff(type: string, olds: Properties, news: Properties, name?: string) {
  const request = new proto.DiffRequest();
  request.setUrn(urn(type, name));
  request.setType(token(type));
  request.setOlds(struct(olds));
  request.setNews(struct(news));
  const response = await call<proto.DiffRequest, proto.DiffResponse>("diff", request);
  return {
    changes: response.getChanges() === proto.DiffResponse.DiffChanges.DIFF_SOME,
    diffs: response.getDiffsList(),
    replaces: response.getReplacesList(),
    deleteBeforeReplace: response.getDeletebeforereplace(),
  };
}

async function create(type: string, properties: Properties, preview = false) {
  const request = new proto.CreateRequest();
  request.setPreview(preview);
  request.setUrn(urn(type));
  request.setType(token(type));
  request.setProperties(struct(properties));
  const response = await call<proto.CreateRequest, proto.CreateResponse>("create", request);
  return { id: response.getId(), properties: response.getProperties()?.toJavaScript() as Properties };
}

async function update(type: string, id: string, olds: Properties, news: Properties, preview = false) {
  const request = new proto.UpdateRequest();
  request.setPreview(preview);
  request.setUrn(urn(type));
  request.setType(token(type));
  request.setId(id);
  request.setOlds(struct(olds));
  request.setNews(struct(news));
  const response = await call<proto.UpdateRequest, proto.UpdateResponse>("update", request);
  return response.getProperties()?.toJavaScript() as Properties;
}

async function read(type: string, id: string, properties: Properties, inputs: Properties) {
  const request = new proto.ReadRequest();
  request.setUrn(urn(type));
  request.setType(token(type));
  request.setId(id);
  request.setProperties(struct(properties));
  request.setInputs(struct(inputs));
  const response = await call<proto.ReadRequest, proto.ReadResponse>("read", request);
  return {
    id: response.getId(),
    properties: response.getProperties()?.toJavaScript(),
    inputs: response.getInputs()?.toJavaScript(),
  };
}

async function remove(type: string, id: string, properties: Properties): Promise<void> {
  const request = new proto.DeleteRequest();
  request.setUrn(urn(type));
  request.setType(token(type));
  request.setId(id);
  request.setProperties(struct(properties));
  await call<proto.DeleteRequest, emptyProto.Empty>("delete", request);
}

test("carries a resource through its whole life", async () => {
  const directory = path.join(folder, "life");
  const inputs = { directory, files: { "ca.crt": "one\n" } };
  expect(await check("ClientFiles", inputs)).toEqual({ inputs, failures: [] });
  const created = await create("ClientFiles", inputs);
  expect(created).toEqual({ id: directory, properties: inputs });
  expect(readFileSync(path.join(directory, "ca.crt"), "utf8")).toBe("one\n");
  expect(await diff("ClientFiles", created.properties, inputs)).toMatchObject({ changes: false, diffs: [] });

  const news = { directory, files: { "ca.crt": "two\n" } };
  expect(await diff("ClientFiles", created.properties, news)).toEqual({
    changes: true,
    diffs: ["files"],
    replaces: [],
    deleteBeforeReplace: true,
  });
  expect(await update("ClientFiles", directory, created.properties, news)).toEqual(news);
  expect(readFileSync(path.join(directory, "ca.crt"), "utf8")).toBe("two\n");

  expect(await read("ClientFiles", directory, news, news)).toEqual({ id: directory, properties: news, inputs: news });
  writeFileSync(path.join(directory, "ca.crt"), "edited\n");
  expect(await read("ClientFiles", directory, news, news)).toMatchObject({
    properties: { files: {} },
    inputs: { files: {} },
  });
  await remove("ClientFiles", directory, news);
  expect(() => readFileSync(path.join(directory, "ca.crt"))).toThrow(/ENOENT/);
});

test("keeps outputs of the state beside new inputs, and reads inputs back without outputs", async () => {
  const created = await create("Renewal", { validityDays: 90, renewBeforeDays: 30 });
  expect(created.properties).toMatchObject({ validityDays: 90, generation: 1 });
  expect(
    await update("Renewal", created.id, created.properties, { validityDays: 60, renewBeforeDays: 30 }),
  ).toMatchObject({ validityDays: 60, generation: 2 });
  const found = await read("Renewal", created.id, created.properties, { validityDays: 90, renewBeforeDays: 30 });
  expect(found.inputs).toEqual({ validityDays: 90, renewBeforeDays: 30 });
  expect(found.properties).toEqual(created.properties);
});

test("obeys what the user said for this run, and keeps it out of the state", async () => {
  const run = { takeOver: true, stateIdentity: "an-id somebody@a-host" };
  const { inputs = {} } = await check("StateIdentity", { stack: "dev", run });
  expect(inputs).toEqual({ stack: "dev" });
  expect(await create("StateIdentity", inputs)).toEqual({
    id: "an-id",
    properties: { stack: "dev", stateId: "an-id", madeBy: "somebody@a-host" },
  });
});

test("goes by the environment where no program says anything, as in a refresh and a removal", async () => {
  // A take-over asks nobody whose the stack is. Otherwise the engine would be asked, and there is none.
  const state = { stack: "dev", stateId: "an-id", madeBy: "somebody@a-host" };
  expect((await diff("StateIdentity", state, { stack: "dev" }, "refreshed")).changes).toBe(false);
  await remove("DataOwner", "a-container", { stack: "dev", container: "a-container", identity: "an-id a@b" });
  await check("StateIdentity", { stack: "dev", run: {} }, state, "registered");
  await expect(diff("StateIdentity", state, { stack: "dev" }, "registered")).rejects.toThrow(/ENOENT|connect/);
});

test("does nothing in a preview, and tells what it knows already", async () => {
  const directory = path.join(folder, "previewed");
  const inputs = { directory, files: { "ca.crt": "one\n" } };
  expect(await create("ClientFiles", inputs, true)).toEqual({ id: "", properties: inputs });
  expect(await update("ClientFiles", directory, {}, inputs, true)).toEqual(inputs);
  expect(existsSync(directory)).toBe(false);
  // An output that is absent is one that is not known yet.
  expect((await create("Password", { version: 1 }, true)).properties).toEqual({ version: 1 });
  const rotation = (await create("AuthorityRotation", {}, true)).properties;
  expect(rotation).toMatchObject({ phase: 0, signer: "first", firstGeneration: 1 });
  expect(await update("AuthorityRotation", "id", rotation, { step: "1" }, true)).toMatchObject({
    phase: 1,
    signer: "first",
    firstGeneration: 1,
    secondGeneration: 2,
  });
});

const migrationInputs = (names: string[]) => ({
  connection: { database: "db" },
  folder: fileURLToPath(new URL("../../migrations", import.meta.url)),
  migrations: names,
  checksums: Object.fromEntries(names.map((name) => [name, `sum of ${name}`])),
});

test("hands check failures over by property", async () => {
  const olds = migrationInputs(["0001_a"]);
  const { failures } = await check("Migrations", { ...olds, checksums: { "0001_a": "other" } }, olds);
  expect(failures).toEqual([["0001_a", expect.stringContaining("changed after it had been applied")]]);
});

test("tells the engine what the user should see, on the resource it is about", async () => {
  logged.length = 0;
  const [one, two] = ["0001_create_schemas", "0002_create_set_updated_at"] as const;
  expect(await diff("Migrations", migrationInputs([one]), migrationInputs([one, two]))).toMatchObject({
    diffs: ["migrations"],
  });
  await expect
    .poll(() => logged)
    .toContainEqual({
      message: `phase 1 foundation: 1 pending: ${two}`,
      urn: urn("Migrations"),
      ephemeral: false,
    });
});

describe("an error", () => {
  const failing = async (work: Promise<unknown>): Promise<string> => {
    const error = await work.then(
      () => undefined,
      (reason: grpc.ServiceError) => reason,
    );
    return error?.details ?? "no error";
  };

  test("made for the user comes without a stack", async () => {
    const mixed = {
      volume: "v",
      service: "postgres",
      container: "c",
      files: { "tls/ca.crt": { content: "x" }, "tls/server.crt": { content: "x" }, "tls/server.key": { content: "x" } },
    };
    const details = await failing(create("VolumeFiles", mixed));
    expect(details).toMatch(
      /^Certificates that cannot be used; nothing has been replaced:\n- files\.tls\/server\.key: the certificate is no complete PEM/,
    );
    expect(details).not.toMatch(/\n\s+at /);
  });

  test("that is a bug comes with its stack", async () => {
    expect(await failing(create("ClientFiles", { directory: 5, files: {} }))).toMatch(
      /TypeError.*\n\s+at .*client-files/s,
    );
  });

  test("names a resource type the provider does not have", async () => {
    expect(await failing(create("Nonsense", {}))).toContain("the provider has no resource type Nonsense");
  });

  test("does not end the provider", async () => {
    await failing(create("Nonsense", {}));
    expect((await create("Password", { version: 1 })).id).toBe("generated");
  });
});

test("knows every type the program registers", async () => {
  const source = readFileSync(new URL("../../infra/resources.ts", import.meta.url), "utf8");
  const registered = [...source.matchAll(/ownResource\("(\w+)"/g)].map(([, name]) => name ?? "");
  expect(registered.length).toBeGreaterThan(7);
  for (const name of registered)
    expect(
      await diff(name, {}, {}).then(
        () => "known",
        (error: grpc.ServiceError) => error.details,
      ),
    ).not.toContain("no resource type");
});

test("answers what the engine asks of every provider", async () => {
  const info = await call<emptyProto.Empty, { getVersion(): string }>("getPluginInfo", new emptyProto.Empty());
  const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  expect(info.getVersion()).toBe(manifest.version);
  const configured = await call<proto.ConfigureRequest, proto.ConfigureResponse>(
    "configure",
    new proto.ConfigureRequest(),
  );
  // The engine opens secrets for a provider that does not accept them, and marks them again in what it returns.
  expect(configured.getAcceptsecrets()).toBe(false);
});
