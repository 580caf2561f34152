import * as pulumi from "@pulumi/pulumi";

/** Package name of the provider in this folder; Pulumi.yaml names the folder that its executable is in. */
export const PROVIDER = "aiwdb";

/** A value that may still be on its way, as a whole or in any of its parts. */
export type InputOf<Value> = pulumi.Input<
  [Value] extends [object] ? { readonly [Key in keyof Value]: InputOf<Value[Key]> } : Value
>;

/** What a program gives a resource, whose handler gets `Inputs` once all of them are known. */
export type InputsOf<Inputs> = { readonly [Key in keyof Inputs]: InputOf<Inputs[Key]> };

/**
 * A resource of the package's own provider. The typed classes beside the components derive from it; what it does, and what
 * its inputs and outputs are, is in infra/provider/resources.
 */
export abstract class OwnResource<Inputs, Outputs = object> extends pulumi.CustomResource {
  constructor(
    type: string,
    name: string,
    inputs: InputsOf<Inputs>,
    outputs: readonly (keyof Outputs & string)[],
    opts: pulumi.CustomResourceOptions | undefined,
  ) {
    // An output must be declared as undefined for the engine to fill it in.
    const declared = Object.fromEntries(outputs.map((output) => [output, undefined]));
    super(`${PROVIDER}:index:${type}`, name, { ...declared, ...inputs }, opts ?? {});
  }
}
