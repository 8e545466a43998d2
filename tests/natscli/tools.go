//go:build tools

// Package natscli pins the nats command line, with which the tests act as an operator and as a caller in another
// language. It is a module of its own, so that the daemon does not take on the libraries of a tool. `make nats-cli`
// builds it.
package natscli

import _ "github.com/nats-io/natscli/nats"
