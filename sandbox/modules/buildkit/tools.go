//go:build tools

// Package buildkit pins the builder, and the program that asks it to build.
package buildkit

import (
	_ "github.com/docker/buildx/cmd/buildx"
	_ "github.com/moby/buildkit/cmd/buildkitd"
)
