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
type Call<T> = grpc.ServerUnaryCall<T, unknown>;

/** By then a preview has loaded what it needs. */
const COMPILE_CACHE_DELAY_MS = 1_500;
const MESSAGE_LIMIT = { "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 };

/**
 * Serves resource types to the Pulumi engine until it ends the process.
 *
 * @param engineAddress where progress goes to, as given by the engine on the command line
 * @param destroying what the user said for removals: `pulumi destroy` runs no program that could hand it over
 * @param types loaders by the name in the type token, so that a preview loads only what it needs
 */
export function serve(
  engineAddress: string | undefined,
  version: string,
  destroying: RunOptions,
  types: Readonly<Record<string, Loader>>,
): void {
  const cancelled = new AbortController();
  const engine =
    engineAddress === undefined
      ? undefined
      : new engineGrpc.EngineClient(engineAddress, grpc.credentials.createInsecure(), MESSAGE_LIMIT);

  // By URN. The engine calls `check` first for whatever the program registers.
  const said = new Map<string, RunOptions>();

  const operationOn = (urn: string, run = said.get(urn) ?? {}): Operation => {
    const log = (message: string, severity: number, ephemeral: boolean) => {
      const request = new engineProto.LogRequest();
      request.setSeverity(severity as engineProto.LogSeverity);
      request.setMessage(message);
      request.setUrn(urn);
      request.setEphemeral(ephemeral);
      engine?.log(request, () => {}); // a line of progress that is lost must not fail the work it is about
    };
    const report = {
      status: (message: string) => log(message, engineProto.LogSeverity.INFO, true),
      info: (message: string) => log(message, engineProto.LogSeverity.INFO, false),
      warn: (message: string) => log(message, engineProto.LogSeverity.WARNING, false),
    };
    return { report, signal: cancelled.signal, run };
  };

  const typeOf = (token: string): Promise<AnyResourceType> => {
    const name = token.replace(TYPE_PREFIX, "");
    const loader = types[name];
    if (!loader) throw new Error(`the provider has no resource type ${name}`);
    return loader();
  };

  const respond = async <R>(callback: grpc.sendUnaryData<R>, work: () => Promise<R>) => {
    try {
      callback(null, await work());
    } catch (error) {
      // A UserError's message is made for people; the stack of anything else is what a bug report needs.
      const details =
        error instanceof UserError
          ? error.message
          : error instanceof Error
            ? (error.stack ?? error.message)
            : messageOf(error);
      callback({ code: grpc.status.UNKNOWN, details }, null);
    }
  };
  const done = (_call: unknown, callback: grpc.sendUnaryData<emptyProto.Empty>) =>
    callback(null, new emptyProto.Empty());

  const server = new grpc.Server(MESSAGE_LIMIT);
  server.addService(providerGrpc.ResourceProviderService, {
    attach: done,
    cancel: (call: unknown, callback: grpc.sendUnaryData<emptyProto.Empty>) => {
      // The engine says so on the user's first Ctrl-C.
      cancelled.abort(new StateError("Cancelled; the next `up` goes on from here."));
      done(call, callback);
    },
    configure: (_call: unknown, callback: grpc.sendUnaryData<proto.ConfigureResponse>) => {
      // Without acceptSecrets the engine opens secrets for us and marks the same properties of the outputs again.
      const response = new proto.ConfigureResponse();
      response.setSupportspreview(true);
      callback(null, response);
    },
    getPluginInfo: (_call: unknown, callback: grpc.sendUnaryData<pluginProto.PluginInfo>) => {
      const info = new pluginProto.PluginInfo();
      info.setVersion(version);
      callback(null, info);
    },
    getSchema: (_call: unknown, callback: grpc.sendUnaryData<proto.GetSchemaResponse>) => {
      const response = new proto.GetSchemaResponse();
      response.setSchema(JSON.stringify({ name: "aiwdb", version }));
      callback(null, response);
    },
    check: ({ request }: Call<proto.CheckRequest>, callback: grpc.sendUnaryData<proto.CheckResponse>) =>
      respond(callback, async () => {
        const type = await typeOf(request.getType());
        const { run, ...news } = toProperties(request.getNews());
        if (run) said.set(request.getUrn(), run as RunOptions);
        const failures =
          (await type.check?.(news, toProperties(request.getOlds()), operationOn(request.getUrn()))) ?? [];
        const response = new proto.CheckResponse();
        response.setInputs(toStruct(news));
        response.setFailuresList(
          failures.map(({ property, reason }) => {
            const failure = new proto.CheckFailure();
            failure.setProperty(property);
            failure.setReason(reason);
            return failure;
          }),
        );
        return response;
      }),
    diff: ({ request }: Call<proto.DiffRequest>, callback: grpc.sendUnaryData<proto.DiffResponse>) =>
      respond(callback, async () => {
        const type = await typeOf(request.getType());
        const olds = toProperties(request.getOlds());
        const news = toProperties(request.getNews());
        const { changed, replaces = [] } = type.diff
          ? await type.diff(olds, news, operationOn(request.getUrn()))
          : { changed: changedProperties(olds, news) };
        const response = new proto.DiffResponse();
        response.setChanges(
          changed.length > 0 ? proto.DiffResponse.DiffChanges.DIFF_SOME : proto.DiffResponse.DiffChanges.DIFF_NONE,
        );
        response.setDiffsList([...changed]);
        response.setReplacesList([...replaces]);
        // All of them own something with a fixed name, which two resources cannot own at once.
        response.setDeletebeforereplace(true);
        return response;
      }),
    create: ({ request }: Call<proto.CreateRequest>, callback: grpc.sendUnaryData<proto.CreateResponse>) =>
      respond(callback, async () => {
        const type = await typeOf(request.getType());
        const inputs = toProperties(request.getProperties());
        if (request.getPreview()) {
          const planned = new proto.CreateResponse();
          planned.setProperties(toStruct({ ...inputs, ...type.plan?.({}, inputs) }));
          return planned;
        }
        const { id, outputs } = await type.create(inputs, operationOn(request.getUrn()));
        const response = new proto.CreateResponse();
        response.setId(id);
        response.setProperties(toStruct({ ...inputs, ...outputs }));
        return response;
      }),
    read: ({ request }: Call<proto.ReadRequest>, callback: grpc.sendUnaryData<proto.ReadResponse>) =>
      respond(callback, async () => {
        const type = await typeOf(request.getType());
        const state = toProperties(request.getProperties());
        const found = type.read ? await type.read(request.getId(), state, operationOn(request.getUrn())) : state;
        const response = new proto.ReadResponse();
        if (!found) return response; // an empty id: it is gone
        response.setId(request.getId());
        response.setProperties(toStruct(found));
        const inputs = toProperties(request.getInputs());
        response.setInputs(toStruct(Object.fromEntries(Object.entries(found).filter(([key]) => key in inputs))));
        return response;
      }),
    update: ({ request }: Call<proto.UpdateRequest>, callback: grpc.sendUnaryData<proto.UpdateResponse>) =>
      respond(callback, async () => {
        const type = await typeOf(request.getType());
        const olds = toProperties(request.getOlds());
        const news = toProperties(request.getNews());
        if (request.getPreview()) {
          const planned = new proto.UpdateResponse();
          planned.setProperties(toStruct({ ...news, ...type.plan?.(olds, news) }));
          return planned;
        }
        const outputs = await type.update(request.getId(), olds, news, operationOn(request.getUrn()));
        const response = new proto.UpdateResponse();
        response.setProperties(toStruct({ ...olds, ...news, ...outputs }));
        return response;
      }),
    delete: ({ request }: Call<proto.DeleteRequest>, callback: grpc.sendUnaryData<emptyProto.Empty>) =>
      respond(callback, async () => {
        const type = await typeOf(request.getType());
        const state = toProperties(request.getProperties());
        await type.delete?.(request.getId(), state, operationOn(request.getUrn(), destroying));
        return new emptyProto.Empty();
      }),
  } as unknown as grpc.UntypedServiceImplementation);

  server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
    if (error) throw error;
    // Its end of this pipe closes with the engine, also with one that is killed and ends no plugin.
    process.stdin.on("end", () => process.exit()).resume();
    process.stdout.write(`${port}\n`); // the engine reads the port from the first line
    // The engine ends the process by a signal, so what was compiled would never be kept for the next start.
    setTimeout(flushCompileCache, COMPILE_CACHE_DELAY_MS).unref();
  });
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
