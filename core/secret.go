package core

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
)

// redacted stands wherever a Secret is printed.
const redacted = "[redacted]"

// ErrSecretMarshal is returned by every attempt to marshal a Secret. Code that must write one down calls
// [Secret.Reveal] and says so by that.
var ErrSecretMarshal = errors.New("core: a secret is not marshalled; call Reveal where it must be written")

// Secret is a token, code, client secret or key. It prints as "[redacted]" under every fmt verb and in slog, and
// marshalling it is an error. The zero value is the empty secret.
//
// It holds a pointer, so that fmt shows an address and not the value where a Secret sits in an unexported field,
// which is where fmt does not call methods. For that reason Secrets are compared with Equal, not with ==.
type Secret struct{ value *string }

// NewSecret returns s as a Secret.
func NewSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{value: &s}
}

// Reveal returns the secret itself. What it returns must not reach a log, a span, an event or an error.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether the secret is empty.
func (s Secret) IsZero() bool { return s.value == nil }

// Equal compares two secrets in time that does not depend on where they differ.
func (s Secret) Equal(t Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(t.Reveal())) == 1
}

// String returns "[redacted]", and "" for the empty secret.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return redacted
}

// Format implements fmt.Formatter: every verb and flag prints what String returns.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON always returns ErrSecretMarshal.
func (s Secret) MarshalJSON() ([]byte, error) { return nil, ErrSecretMarshal }

// MarshalText always returns ErrSecretMarshal.
func (s Secret) MarshalText() ([]byte, error) { return nil, ErrSecretMarshal }

// MarshalBinary always returns ErrSecretMarshal; gob uses it.
func (s Secret) MarshalBinary() ([]byte, error) { return nil, ErrSecretMarshal }
