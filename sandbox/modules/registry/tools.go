//go:build tools

// Package registry pins the sandbox's image registry.
package registry

import _ "github.com/distribution/distribution/v3/cmd/registry"
