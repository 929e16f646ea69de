//go:build tools

// Package kwok pins what plays the kubelet for nodes that are none.
package kwok

import _ "sigs.k8s.io/kwok/cmd/kwok"
