//go:build tools

// Package cosign pins cosign 3, which verifies in tests what Interlock signs.
package cosign

import _ "github.com/sigstore/cosign/v3/cmd/cosign"
