// The gRPC side of the provider. Pulumi's own `provider.main` loads the whole SDK (0.5 s in every preview), knows no
// detailed diff and hands secrets over still wrapped; the generated protocol classes alone are enough. See docs/adr.
import { flushCompileCache } from "node:module";
import grpc from "@grpc/grpc-js";
import emptyProto from "google-protobuf/google/protobuf/empty_pb.js";
import structProto from "google-protobuf/google/protobuf/struct_pb.js";
import engineGrpc from "@pulumi/pulumi/proto/engine_grpc_pb.js";
import engineProto from "@pulumi/pulumi/proto/engine_pb.js";
import pluginProto from "@pulumi/pulumi/proto/plugin_pb.js";
import providerGrpc from "@pulumi/pulumi/proto/provider_grpc_pb.js";
import proto from "@pulumi/pulumi/proto/provider_pb.js";
import { messageOf, StateError, UserError } from "../../base/errors.ts";
import { changedProperties, TYPE_PREFIX, type AnyResourceType, type Operation, type RunOptions } from "./resource.ts";

/** Properties as the protocol has them: plain JSON; secrets already opened. */
type Properties = Readonly<Record<string, structProto.JavaScriptValue>>;
type Loader = () => Promise<AnyResourceType>;

interface OfResource {
  getType(): string;
  getUrn(): string;
}

/** By then a preview has loaded what it needs. */
const COMPILE_CACHE_DELAY_MS = 1_500;
const MESSAGE_LIMIT = { "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 };

/**
 * Serves resource types to the Pulumi engine until it ends the process.
 *
 * @param engineAddress where progress goes to, as given by the engine on the command line
 * @param withoutProgram what the user said where no program registers the resource: `pulumi destroy` and `pulumi
 *   refresh` run none that could hand it over
 * @param types loaders by the name in the type token, so that a preview loads only what it needs
 */
export function serve(
  engineAddress: string | undefined,
  version: string,
  withoutProgram: RunOptions,
  types: Readonly<Record<string, Loader>>,
): void {
  const cancelled = new AbortController();
  const engine =
    engineAddress === undefined
      ? undefined
      : new engineGrpc.EngineClient(engineAddress, grpc.credentials.createInsecure(), MESSAGE_LIMIT);

  // By URN. The engine calls `check` first for whatever the program registers.
  const said = new Map<string, RunOptions>();

  const operationOn = (urn: string): Operation => {
    const log = (severity: number, ephemeral: boolean) => (message: string) => {
      const request = new engineProto.LogRequest();
      request.setSeverity(severity as engineProto.LogSeverity);
      request.setMessage(message);
      request.setUrn(urn);
      request.setEphemeral(ephemeral);
      engine?.log(request, () => {}); // a line of progress that is lost must not fail the work it is about
    };
    const { INFO, WARNING } = engineProto.LogSeverity;
    const report = { status: log(INFO, true), info: log(INFO, false), warn: log(WARNING, false) };
    return { report, signal: cancelled.signal, run: said.get(urn) ?? withoutProgram };
  };

  /** A method that is about one resource. */
  const onResource = <Request extends OfResource, Response>(
    work: (request: Request, type: AnyResourceType, operation: Operation) => Promise<Response>,
  ) =>
    answered(async (request: Request) => {
      const name = request.getType().replace(TYPE_PREFIX, "");
      const load = types[name];
      if (!load) throw new Error(`the provider has no resource type ${name}`);
      return work(request, await load(), operationOn(request.getUrn()));
    });

  const server = new grpc.Server(MESSAGE_LIMIT);
  server.addService(providerGrpc.ResourceProviderService, {
    attach: answered(async () => new emptyProto.Empty()),
    cancel: answered(async () => {
      // The engine says so on the user's first Ctrl-C.
      cancelled.abort(new StateError("Cancelled; the next `up` goes on from here."));
      return new emptyProto.Empty();
    }),
    configure: answered(async () => {
      // Without acceptSecrets the engine opens secrets for us and marks the same properties of the outputs again.
      const response = new proto.ConfigureResponse();
      response.setSupportspreview(true);
      return response;
    }),
    getPluginInfo: answered(async () => {
      const info = new pluginProto.PluginInfo();
      info.setVersion(version);
      return info;
    }),
    getSchema: answered(async () => {
      const response = new proto.GetSchemaResponse();
      response.setSchema(JSON.stringify({ name: "aiwdb", version }));
      return response;
    }),
    check: onResource(async (request: proto.CheckRequest, type) => {
      const { run, ...news } = toProperties(request.getNews());
      if (run) said.set(request.getUrn(), run as RunOptions);
      const failures = await type.check?.(news, toProperties(request.getOlds()), operationOn(request.getUrn()));
      const response = new proto.CheckResponse();
      response.setInputs(toStruct(news));
      for (const { property, reason } of failures ?? []) {
        const failure = response.addFailures();
        failure.setProperty(property);
        failure.setReason(reason);
      }
      return response;
    }),
    diff: onResource(async (request: proto.DiffRequest, type, operation) => {
      const olds = toProperties(request.getOlds());
      const news = toProperties(request.getNews());
      const { changed, replaces = [] } = type.diff
        ? await type.diff(olds, news, operation)
        : { changed: changedProperties(olds, news) };
      const { DIFF_SOME, DIFF_NONE } = proto.DiffResponse.DiffChanges;
      const response = new proto.DiffResponse();
      response.setChanges(changed.length > 0 ? DIFF_SOME : DIFF_NONE);
      response.setDiffsList([...changed]);
      response.setReplacesList([...replaces]);
      // All of them own something with a fixed name, which two resources cannot own at once.
      response.setDeletebeforereplace(true);
      return response;
    }),
    create: onResource(async (request: proto.CreateRequest, type, operation) => {
      const inputs = toProperties(request.getProperties());
      const { id, outputs } = request.getPreview()
        ? { id: "", outputs: type.plan?.({}, inputs) }
        : await type.create(inputs, operation);
      const response = new proto.CreateResponse();
      response.setId(id);
      response.setProperties(toStruct({ ...inputs, ...outputs }));
      return response;
    }),
    read: onResource(async (request: proto.ReadRequest, type, operation) => {
      const state = toProperties(request.getProperties());
      const found = type.read ? await type.read(request.getId(), state, operation) : state;
      const response = new proto.ReadResponse();
      if (!found) return response; // an empty id: it is gone
      response.setId(request.getId());
      response.setProperties(toStruct(found));
      const inputs = toProperties(request.getInputs());
      response.setInputs(toStruct(Object.fromEntries(Object.entries(found).filter(([key]) => key in inputs))));
      return response;
    }),
    update: onResource(async (request: proto.UpdateRequest, type, operation) => {
      const olds = toProperties(request.getOlds());
      const news = toProperties(request.getNews());
      const response = new proto.UpdateResponse();
      response.setProperties(
        toStruct(
          request.getPreview()
            ? { ...news, ...type.plan?.(olds, news) }
            : { ...olds, ...news, ...(await type.update(request.getId(), olds, news, operation)) },
        ),
      );
      return response;
    }),
    delete: onResource(async (request: proto.DeleteRequest, type, operation) => {
      await type.delete?.(request.getId(), toProperties(request.getProperties()), operation);
      return new emptyProto.Empty();
    }),
  });

  server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
    if (error) throw error;
    // Its end of this pipe closes with the engine, also with one that is killed and ends no plugin.
    process.stdin.on("end", () => process.exit()).resume();
    process.stdout.write(`${port}\n`); // the engine reads the port from the first line
    // The engine ends the process by a signal, so what was compiled would never be kept for the next start.
    setTimeout(flushCompileCache, COMPILE_CACHE_DELAY_MS).unref();
  });
}

/** A method of the service. Its answer is what the work returns, or throws. */
function answered<Request, Response>(work: (request: Request) => Promise<Response>) {
  return ({ request }: { request: Request }, callback: grpc.sendUnaryData<Response>): void => {
    work(request).then(
      (response) => callback(null, response),
      (error: unknown) => {
        // A UserError's message is made for people; the stack of anything else is what a bug report needs.
        const stack = error instanceof Error && !(error instanceof UserError) ? error.stack : undefined;
        callback({ code: grpc.status.UNKNOWN, details: stack ?? messageOf(error) }, null);
      },
    );
  };
}

function toProperties(struct: structProto.Struct | undefined): Properties {
  return struct?.toJavaScript() ?? {};
}

function toStruct(properties: object): structProto.Struct {
  // undefined has no place in JSON: such a property is simply absent.
  return structProto.Struct.fromJavaScript(
    JSON.parse(JSON.stringify(properties)) as Record<string, structProto.JavaScriptValue>,
  );
}
