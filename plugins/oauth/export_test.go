package oauth

import "crypto/tls"

// DefaultTLS is the TLS configuration of a client whose Config has none.
func DefaultTLS() *tls.Config { return baseTransport(Config{}).TLSClientConfig }
