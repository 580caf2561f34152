// Package shim re-exports the upstream Docker provider, which sits in an internal package: Go lets only import paths
// below the module's own path see it, and this module's name is such a path.
package shim

import (
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/terraform-providers/terraform-provider-docker/internal/provider"
)

// New makes the upstream provider.
func New(version string) *schema.Provider { return provider.New(version)() }
