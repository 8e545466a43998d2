// Package connect attacks the connect flow as RFC 9700 and experience tell it is attacked: over HTTP and NATS, with the
// embedded server, and with vendors that hold codes to their challenge.
//
// It has no code but tests.
package connect
