// Package wire is the protocol between esignd and a plugin: the constants on which both sides must agree, and the
// conversions between the types of package core and the messages of pluginv1, in both directions.
//
// What it guarantees:
//
//   - What is encoded and decoded again is the same value, with two exceptions: text that is not UTF-8 is repaired
//     where it is prose and refused by [Check] where it is data, and an error that is not a [*core.VendorError] or
//     [errors.ErrUnsupported] becomes one, without its text.
//   - A decoded VendorError holds a code that esignd knows, one line of bounded printable text, and an outcome that
//     does not contradict its status. No other value is judged here: whoever decodes checks what it uses.
//
// The messages hold secrets as plain strings. They are made last before sending, taken apart first after receiving,
// and never printed: protobuf's own String takes no notice of debug_redact.
package wire

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/internal/wire/pluginv1"
)

const (
	// ProtocolVersion is the version of the protocol, as go-plugin negotiates it.
	ProtocolVersion = 1
	// PluginName is the name under which go-plugin knows the adapter.
	PluginName = "adapter"
	// CookieKey is the variable that tells a plugin that a host started it and not a person. It protects nothing.
	CookieKey = "ESIGND_PLUGIN"
	// CookieValue is what a host sets it to.
	CookieValue = "b1c2f7d5-esignd-plugin-adapter"
	// LogLevelKey is the variable in which the host tells a plugin from which level on it should log.
	LogLevelKey = "ESIGND_PLUGIN_LOG_LEVEL"
	// VendorTimeKey is the trailer of a call in which a plugin may say how long it waited for the vendor, in whole
	// microseconds.
	VendorTimeKey = "esignd-vendor-time"
	// MaxMessageSize bounds each message, in bytes.
	MaxMessageSize = 1 << 20
	// ServicePrefix begins the names of the gRPC services that are ours and not go-plugin's.
	ServicePrefix = "esignd.plugin."
	// FilePrefix begins the name of a plugin's file; the vendor's name follows.
	FilePrefix = "esignd-plugin-"
)

// Check returns an error where m cannot be sent: too large, or with text that is not UTF-8. The error holds nothing of
// the message.
func Check(m proto.Message) error {
	if size := proto.Size(m); size > MaxMessageSize {
		return fmt.Errorf("the message is %d bytes, at most %d are allowed", size, MaxMessageSize)
	}
	if _, err := proto.Marshal(m); err != nil {
		return errors.New("the message has text that is not UTF-8")
	}
	return nil
}

// encodeDuration returns d as a message, nil for zero.
func encodeDuration(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

// decodeDuration returns d, saturated where it does not fit; zero where it is absent or no duration at all.
func decodeDuration(d *durationpb.Duration) time.Duration {
	if d == nil || d.CheckValid() != nil {
		return 0
	}
	return d.AsDuration()
}

func encodeScope(values []string) *pluginv1.Scope {
	if values == nil {
		return nil
	}
	return &pluginv1.Scope{Values: values}
}

func decodeScope(s *pluginv1.Scope) []string {
	if s == nil {
		return nil
	}
	return append([]string{}, s.GetValues()...)
}

func encodeCredentials(c core.Credentials) *pluginv1.Credentials {
	m := &pluginv1.Credentials{
		ClientId:     c.ClientID,
		ClientSecret: c.ClientSecret.Reveal(),
		Settings:     c.Settings,
	}
	if len(c.SecretSettings) > 0 {
		m.SecretSettings = make(map[string]string, len(c.SecretSettings))
	}
	for name, secret := range c.SecretSettings {
		m.SecretSettings[name] = secret.Reveal()
	}
	return m
}

func decodeCredentials(m *pluginv1.Credentials) core.Credentials {
	c := core.Credentials{
		ClientID:     m.GetClientId(),
		ClientSecret: core.NewSecret(m.GetClientSecret()),
		Settings:     m.GetSettings(),
	}
	if len(m.GetSecretSettings()) > 0 {
		c.SecretSettings = make(map[string]core.Secret, len(m.GetSecretSettings()))
	}
	for name, secret := range m.GetSecretSettings() {
		c.SecretSettings[name] = core.NewSecret(secret)
	}
	return c
}
