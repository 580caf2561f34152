// Package shim re-exports the upstream TLS provider, which sits in an internal package: Go lets only import paths
// below the module's own path see it, and this module's name is such a path.
package shim

import (
	"github.com/hashicorp/terraform-plugin-framework/provider"
	upstream "github.com/hashicorp/terraform-provider-tls/internal/provider"
)

// New makes the upstream provider.
func New() provider.Provider { return upstream.New() }
