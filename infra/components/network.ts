import * as pulumi from "@pulumi/pulumi";
import { addressIn } from "../settings/addresses.ts";
import type { StackConfig } from "../settings/table.ts";
import { engineNames, EXPIRY_LABEL, STACK_LABEL, STATE_LABEL } from "../settings/names.ts";
import { Network, type StateIdentity } from "../resources.ts";

/** The stack's own bridge network, with fixed addresses, so that pg_hba.conf can name the pooler. */
export class DatabaseNetwork extends pulumi.ComponentResource {
  /**
   * If the first runs of two states meet on an engine, only one gets the network. Volumes come after it, since both
   * states could make those.
   */
  readonly network: Network;

  constructor(
    name: string,
    args: { config: StackConfig; identity: StateIdentity },
    opts?: pulumi.ComponentResourceOptions,
  ) {
    super("aiwdb:index:DatabaseNetwork", name, {}, opts);
    const { config } = args;
    this.network = new Network(
      `${name}-network`,
      {
        name: engineNames(config.stack).network,
        subnet: config.networkSubnet,
        gateway: addressIn(config.networkSubnet, 1),
        labels: {
          [STACK_LABEL]: config.stack,
          [STATE_LABEL]: args.identity.id,
          ...(config.expiresAfterHours > 0 ? { [EXPIRY_LABEL]: String(config.expiresAfterHours) } : {}),
        },
      },
      { parent: this },
    );
    this.registerOutputs({ networkName: this.network.name });
  }
}
