import * as pulumi from "@pulumi/pulumi";

/** Package name of the provider in this folder; Pulumi.yaml names the folder that its executable is in. */
export const PROVIDER = "aiwdb";

/**
 * A resource of the package's own provider. The typed classes beside the components derive from it; what it does is in
 * infra/provider/resources.
 */
export abstract class OwnResource extends pulumi.CustomResource {
  constructor(
    type: string,
    name: string,
    props: pulumi.Inputs,
    outputs: readonly string[],
    opts: pulumi.CustomResourceOptions | undefined,
  ) {
    // An output must be declared as undefined for the engine to fill it in.
    const declared = Object.fromEntries(outputs.map((output) => [output, undefined]));
    super(`${PROVIDER}:index:${type}`, name, { ...declared, ...props }, opts ?? {});
  }
}
