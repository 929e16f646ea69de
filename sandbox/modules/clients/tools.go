//go:build tools

// Package clients pins programs that people have, and that Interlock's files and signatures are held against: cosign,
// sops and age. They stand together because they share most packages, which are compiled once for all. Cosign 2 stands
// apart: with the libraries of cosign 3 it asks the network where it should not.
package clients

import (
	_ "filippo.io/age/cmd/age"
	_ "filippo.io/age/cmd/age-keygen"
	_ "github.com/getsops/sops/v3/cmd/sops"
	_ "github.com/sigstore/cosign/v3/cmd/cosign"
)
