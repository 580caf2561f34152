import * as pulumi from "@pulumi/pulumi";
import { TYPE_PREFIX, type ResourceType, type RunOptions } from "./provider/resource.ts";
import type { TYPES } from "./provider/types.ts";

/** A resource type of the package's own provider, by the name in its type token. */
type TypeName = keyof typeof TYPES;
type Handler<Name extends TypeName> = Awaited<ReturnType<(typeof TYPES)[Name]>>;
type Inputs<Name extends TypeName> = Handler<Name> extends ResourceType<infer Declared, infer _> ? Declared : never;
type Outputs<Name extends TypeName> = Handler<Name> extends ResourceType<infer _, infer Declared> ? Declared : never;
type State<Name extends TypeName> = Inputs<Name> & Outputs<Name>;

/** A value that may still be on its way, as a whole or in any of its parts. */
type InputOf<Value> = pulumi.Input<
  [Value] extends [object] ? { readonly [Key in keyof Value]: InputOf<Value[Key]> } : Value
>;

/** Properties that may each still be on their way. */
export type InputsOf<Properties> = { readonly [Key in keyof Properties]: InputOf<Properties[Key]> };

/** What a program gives a resource: what its handler declares as inputs, and what holds for this run only. */
type Args<Name extends TypeName> = InputsOf<Inputs<Name>> & { readonly run?: RunOptions };

/** A resource, and its state as a program gets it. */
type Resource<Name extends TypeName> = pulumi.CustomResource & {
  readonly [Key in keyof State<Name>]-?: pulumi.Output<NonNullable<State<Name>[Key]>>;
};

/** What a program has to say of a resource type besides its handler. */
interface Declared<Name extends TypeName> {
  /** Outputs that the program reads. */
  readonly outputs?: readonly (keyof Outputs<Name> & string)[];
  /** Inputs and outputs that are secret. */
  readonly secrets?: readonly (keyof State<Name> & string)[];
}

/**
 * Makes the class of a resource of the package's own provider. The resource's inputs, outputs and work are in
 * infra/provider/resources.
 */
export function ownResource<Name extends TypeName>(
  type: Name,
  { outputs = [], secrets = [] }: Declared<Name> = {},
): new (name: string, args: Args<Name>, opts?: pulumi.CustomResourceOptions) => Resource<Name> {
  class OwnResource extends pulumi.CustomResource {
    constructor(name: string, args: Args<Name>, opts: pulumi.CustomResourceOptions = {}) {
      // An output must be declared as undefined for the engine to fill it in.
      const properties: Record<string, unknown> = {
        ...Object.fromEntries(outputs.map((output) => [output, undefined])),
        ...args,
      };
      for (const input of secrets.filter((each) => each in args)) properties[input] = pulumi.secret(properties[input]);
      const secretOutputs = outputs.filter((output) => (secrets as readonly string[]).includes(output));
      const marked = secretOutputs.length > 0 ? { ...opts, additionalSecretOutputs: secretOutputs } : opts;
      super(`${TYPE_PREFIX}${type}`, name, properties, marked);
    }
  }
  return OwnResource as unknown as new (...args: ConstructorParameters<typeof OwnResource>) => Resource<Name>;
}
