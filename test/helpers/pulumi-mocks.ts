import * as pulumi from "@pulumi/pulumi";

/** A resource as a program registered it. */
export interface Registered {
  readonly type: string;
  readonly name: string;
  readonly parent: string | undefined;
  /** Inputs, secrets opened. */
  readonly inputs: Record<string, any>;
  /** Paths of inputs that are marked secret, such as `files`. */
  readonly secretInputs: readonly string[];
  readonly protect: boolean;
  readonly retainOnDelete: boolean;
  readonly deleteBeforeReplace: boolean;
  readonly additionalSecretOutputs: readonly string[];
  /** Logical names of the resources that it depends on. */
  readonly dependsOn: readonly string[];
  readonly deletedWith: string | undefined;
  /** Inputs whose changes are ignored (`ignoreChanges`). */
  readonly ignoreChanges: readonly string[];
  /** The id of an object that it imports into the state. Empty if the object is created. */
  readonly importId: string;
}

const SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270";
const SIGNATURE_KEY = "4dabf18193072939515e22adb298388d";

const nameOf = (urn: string) => urn.split("::").at(-1) ?? "";

/**
 * Runs a program without an engine and returns what it registers. Outputs are the inputs, an id, and what `outputs`
 * adds; everything about a registration is read from the request that would have gone to the engine.
 */
export async function register(
  program: () => unknown,
  options: { stack?: string; outputs?: (type: string, name: string) => Record<string, unknown> } = {},
): Promise<Registered[]> {
  const registered: Registered[] = [];
  await pulumi.runtime.setMocks(
    {
      call: ({ inputs }) => inputs,
      newResource: ({ type, name, inputs }) => ({
        id: `${name}-id`,
        state: { ...inputs, ...options.outputs?.(type, name) },
      }),
    },
    "ai-workflow-database",
    options.stack ?? "dev",
    false,
  );
  const monitor = pulumi.runtime.getMonitor() as unknown as Record<
    string,
    (request: any, callback: unknown) => unknown
  >;
  const send = monitor["registerResource"]?.bind(monitor);
  monitor["registerResource"] = (request: any, callback: unknown) => {
    const raw = (request.getObject()?.toJavaScript() ?? {}) as Record<string, unknown>;
    registered.push({
      type: request.getType(),
      name: request.getName(),
      parent: request.getParent() ? nameOf(request.getParent()) : undefined,
      inputs: opened(raw) as Record<string, any>,
      secretInputs: secretPaths(raw),
      protect: request.getProtect() ?? false,
      retainOnDelete: request.getRetainondelete() ?? false,
      deleteBeforeReplace: request.getDeletebeforereplace(),
      additionalSecretOutputs: request.getAdditionalsecretoutputsList(),
      dependsOn: (request.getDependenciesList() as string[]).map(nameOf),
      deletedWith: request.getDeletedwith() ? nameOf(request.getDeletedwith()) : undefined,
      ignoreChanges: request.getIgnorechangesList(),
      importId: request.getImportid(),
    });
    return send?.(request, callback);
  };
  await pulumi.runtime.runInPulumiStack(async () => {
    program();
  });
  await pulumi.runtime.disconnect();
  return registered;
}

function isSecret(value: unknown): value is { value: unknown } {
  return (
    typeof value === "object" &&
    value !== null &&
    (value as Record<string, unknown>)[SIGNATURE_KEY] === SECRET_SIGNATURE
  );
}

function opened(value: unknown): unknown {
  if (isSecret(value)) return opened(value.value);
  if (Array.isArray(value)) return value.map(opened);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, opened(inner)]));
}

function secretPaths(value: unknown, prefix = ""): string[] {
  if (isSecret(value)) return [prefix];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => secretPaths(inner, prefix === "" ? key : `${prefix}.${key}`));
}
