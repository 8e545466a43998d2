// Package tlsfiles keeps what TLS shows and trusts as its PEM files have it, and reads them again when they change.
//
// A Source reads its files every ten seconds, and at once when it is told to. A handshake uses what they held when they
// were last read and in order: a certificate with its key, or authorities, never half of a change. Files that cannot be
// used are reported once, and what was read before goes on being used. Connections that are open stay as they are. Nothing
// older than TLS 1.2 is spoken, and no session is resumed, so that each connection is judged by the authorities of now.
//
// It looks at no revocation list.
package tlsfiles
