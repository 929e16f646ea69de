//go:build tools

// Package cosign pins cosign 2, which verifies in tests what Interlock signs.
package cosign

import _ "github.com/sigstore/cosign/v2/cmd/cosign"
