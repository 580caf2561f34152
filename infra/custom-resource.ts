import * as pulumi from "@pulumi/pulumi";
import { TYPE_PREFIX, type ResourceType, type RunOptions } from "./provider/resource.ts";
import type { TYPES } from "./provider/types.ts";

/** A resource type of the package's own provider, by the name in its type token. */
type TypeName = keyof typeof TYPES;
type Handler<Name extends TypeName> = Awaited<ReturnType<(typeof TYPES)[Name]>>;
type Inputs<Name extends TypeName> = Handler<Name> extends ResourceType<infer Declared, infer _> ? Declared : never;
type Outputs<Name extends TypeName> = Handler<Name> extends ResourceType<infer _, infer Declared> ? Declared : never;

/** A value that may still be on its way, as a whole or in any of its parts. */
type InputOf<Value> = pulumi.Input<
  [Value] extends [object] ? { readonly [Key in keyof Value]: InputOf<Value[Key]> } : Value
>;

/** Properties that may each still be on their way. */
export type InputsOf<Properties> = { readonly [Key in keyof Properties]: InputOf<Properties[Key]> };

/** What a program gives a resource: what its handler declares as inputs, and what holds for this run only. */
export type Args<Name extends TypeName> = InputsOf<Inputs<Name>> & { readonly run?: RunOptions };

/** A property of a resource's state, as a program gets it. */
export type Property<Name extends TypeName, Key extends keyof (Inputs<Name> & Outputs<Name>)> = pulumi.Output<
  NonNullable<(Inputs<Name> & Outputs<Name>)[Key]>
>;

/**
 * A resource of the package's own provider. The classes beside the components derive from it; what it does, and what its
 * inputs and outputs are, is in infra/provider/resources.
 */
export abstract class OwnResource<Name extends TypeName> extends pulumi.CustomResource {
  constructor(
    type: Name,
    name: string,
    args: Args<Name>,
    outputs: readonly (keyof Outputs<Name> & string)[],
    opts: pulumi.CustomResourceOptions | undefined,
  ) {
    // An output must be declared as undefined for the engine to fill it in.
    const declared = Object.fromEntries(outputs.map((output) => [output, undefined]));
    super(`${TYPE_PREFIX}${type}`, name, { ...declared, ...args }, opts ?? {});
  }
}
