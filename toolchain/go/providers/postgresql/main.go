// Command postgresql is the Pulumi provider plugin "postgresql": the upstream Terraform provider behind Pulumi's bridge.
package main

import (
	"github.com/hashicorp/terraform-plugin-sdk/helper/schema"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge/tokens"
	sdkv1 "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim/sdk-v1"
	"github.com/terraform-providers/terraform-provider-postgresql/postgresql"
)

// Set by the linker to the version of the npm package, which is the version the engine asks for.
var version = "0.0.0"

func main() {
	info := tfbridge.ProviderInfo{
		P:       sdkv1.NewProvider(postgresql.Provider().(*schema.Provider)),
		Name:    "postgresql",
		Version: version,
		Config: map[string]*tfbridge.SchemaInfo{
			"sslmode":         {Default: &tfbridge.DefaultInfo{EnvVars: []string{"PGSSLMODE"}}},
			"connect_timeout": {Default: &tfbridge.DefaultInfo{EnvVars: []string{"PGCONNECT_TIMEOUT"}, Value: 180}},
		},
		// What differs here from the names the bridge would derive is what @pulumi/postgresql calls it.
		Resources: map[string]*tfbridge.ResourceInfo{
			// A right deleted after its replacement was created would be gone.
			"postgresql_grant":              {DeleteBeforeReplace: true},
			"postgresql_default_privileges": {Tok: "postgresql:index/defaultPrivileges:DefaultPrivileges"},
		},
	}
	info.MustComputeTokens(tokens.SingleModule("postgresql_", "index", tokens.MakeStandard("postgresql")))
	info.SetAutonaming(255, "-")
	// The schema only serves code generation; programs use the npm packages.
	tfbridge.Main(info.Name, version, info, []byte("{}"))
}
