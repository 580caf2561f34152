// Command tls is the Pulumi provider plugin "tls": the upstream Terraform provider behind Pulumi's bridge.
package main

import (
	"context"

	"github.com/hashicorp/terraform-provider-tls/shim"
	pf "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge/tokens"
)

// Set by the linker to the version of the npm package, which is the version the engine asks for.
var version = "0.0.0"

func main() {
	info := tfbridge.ProviderInfo{
		P:                              pf.ShimProvider(shim.New()),
		Name:                           "tls",
		Version:                        version,
		EnableZeroDefaultSchemaVersion: true,
		MetadataInfo:                   tfbridge.NewProviderMetadata([]byte("{}")),
	}
	info.MustComputeTokens(tokens.SingleModule("tls_", "index", tokens.MakeStandard("tls")))
	// The schema only serves code generation; programs use the npm packages.
	pf.Main(context.Background(), info.Name, info, pf.ProviderMetadata{PackageSchema: []byte("{}")})
}
