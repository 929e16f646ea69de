//go:build tools

// Package sops pins sops and age, whose files Interlock reads and writes.
package sops

import (
	_ "filippo.io/age/cmd/age"
	_ "filippo.io/age/cmd/age-keygen"
	_ "github.com/getsops/sops/v3/cmd/sops"
)
