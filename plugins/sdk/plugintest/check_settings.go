package plugintest

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/esignd/esignd/core"
)

func checkSettings(ctx context.Context, b *bench, r *recorder) {
	b.withSubject(ctx, r, func(s *subject) {
		b.checkPlainHTTP(ctx, s, r)
		schema, err := compile(b.metadata.SettingsSchema)
		if err != nil {
			r.errorf("the schema cannot be read: %v", err)
			return
		}
		for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
			checkProperty(r, name, schema.Properties[name])
		}
		if schema.Validate(map[string]any{"no-such-setting": "x"}) == nil {
			r.notef(`an unknown setting is taken: with "additionalProperties": false a mistyped name would be told`)
		}
		b.checkSandboxSettings(r, schema)
	})
}

// checkSandboxSettings checks the settings that this very client has. Findings hold no values: some are secrets.
func (b *bench) checkSandboxSettings(r *recorder, schema *jsonschema.Schema) {
	values := map[string]any{}
	check := func(name, value string, secret bool) {
		p := target(schema.Properties[name])
		values[name] = typed(value, p)
		switch {
		case p == nil:
			r.errorf("the sandbox's setting %s is not in the schema", name)
		case p.WriteOnly && !secret:
			r.errorf("%s is writeOnly, a secret, and the sandbox has it among its plain settings", name)
		case !p.WriteOnly && secret:
			r.errorf(`%s is a secret of the sandbox and is not "writeOnly": true: it would stand in the configuration in clear`, name)
		case p.Validate(values[name]) != nil:
			r.errorf("the sandbox's value of %s does not pass the schema", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.cfg.Sandbox.Settings)) {
		check(name, b.cfg.Sandbox.Settings[name], false)
	}
	for _, name := range slices.Sorted(maps.Keys(b.cfg.Sandbox.SecretSettings)) {
		check(name, b.cfg.Sandbox.SecretSettings[name], true)
	}
	if !r.failed() && schema.Validate(values) != nil {
		r.errorf("the sandbox's settings, each in order, do not pass the schema together: is one required that is not there?")
	}
}

// checkPlainHTTP lets the settings lead over the network in the clear, where whoever listens would read the client secret.
// Nobody listens at that host.
func (b *bench) checkPlainHTTP(ctx context.Context, s *subject, r *recorder) {
	if len(b.links) == 0 {
		return
	}
	client := b.credentialsBy(func(*link) string { return "http://plugintest.invalid" })
	if b.metadata.Supports(core.AuthorizationCode) {
		request, _ := b.authorizationRequest()
		request.Client = client
		if _, err := s.AuthorizationURL(ctx, request); err == nil {
			r.errorf("a setting with an http URL that is not on the loopback is taken by AuthorizationURL: codes and secrets would go in the clear")
		}
	}
	request := b.clientRequest()
	if !b.metadata.Supports(core.ClientCredentials) {
		request = b.refreshRequest(core.TokenResponse{RefreshToken: core.NewSecret(wrongToken)})
	}
	request.Client = client
	_, err := s.Token(ctx, request)
	if e, ok := b.vendorError(r, "a token endpoint at an http URL that is not on the loopback", err); ok && attempted(e) {
		r.errorf("a setting with an http URL that is not on the loopback is taken by Token: the client secret would go in the clear")
	}
}

// attempted reports whether an error is that of a request that was made.
func attempted(e *core.VendorError) bool {
	return e.Outcome != core.NotSent || e.Status != 0 || e.Code == core.CodeNetwork || e.Code == core.CodeTimeout
}

// target is the schema that another one refers to.
func target(p *jsonschema.Schema) *jsonschema.Schema {
	for p != nil && p.Ref != nil {
		p = p.Ref
	}
	return p
}

// checkProperty looks at one setting.
func checkProperty(r *recorder, name string, p *jsonschema.Schema) {
	p = target(p)
	if p.Description == "" {
		r.notef("%s has no description: that is what an operator reads about it", name)
	}
	if p.Default == nil {
		return
	}
	if p.WriteOnly {
		r.errorf("%s is a secret and has a default", name)
	}
	if p.Validate(*p.Default) != nil {
		r.errorf("the default of %s does not pass its own schema", name)
	}
}

// Settings checks an adapter's schema of settings: that each is described, which are secrets, and which JSON documents
// esignd takes, and which not.
func Settings(t testing.TB, m core.Metadata, secrets []string, taken map[string]bool) {
	t.Helper()
	schema, err := compile(m.SettingsSchema)
	if err != nil {
		t.Fatal(err)
	}
	var hidden []string
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		p := target(schema.Properties[name])
		if p.Description == "" {
			t.Errorf("%s has no description", name)
		}
		if p.WriteOnly {
			hidden = append(hidden, name)
		}
	}
	if !slices.Equal(hidden, secrets) {
		t.Errorf("the secrets are %q, not %q", hidden, secrets)
	}
	for document, ok := range taken {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(document))
		if err != nil {
			t.Fatalf("%s: %v", document, err)
		}
		if err := schema.Validate(value); (err == nil) != ok {
			t.Errorf("%s: %v", document, err)
		}
	}
}

// compile reads a schema that refers to nothing outside of itself.
func compile(schema []byte) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, err
	}
	if _, ok := doc.(map[string]any); !ok {
		return nil, errors.New("it is no object")
	}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(noLoader{})
	if err := compiler.AddResource("settings.json", doc); err != nil {
		return nil, err
	}
	return compiler.Compile("settings.json")
}

type noLoader struct{}

func (noLoader) Load(string) (any, error) {
	return nil, errors.New("it refers to another document")
}

// typed returns a setting as the type that the schema wants: adapters get strings.
func typed(value string, p *jsonschema.Schema) any {
	if p == nil || p.Types == nil {
		return value
	}
	for _, t := range p.Types.ToStrings() {
		switch t {
		case "string":
			return value
		case "boolean":
			if b, err := strconv.ParseBool(value); err == nil {
				return b
			}
		case "integer", "number":
			if n, err := strconv.ParseFloat(value, 64); err == nil {
				return n
			}
		}
	}
	return value
}

func sameMetadata(a, b core.Metadata) bool {
	same := slices.Equal(a.GrantTypes, b.GrantTypes) && bytes.Equal(a.SettingsSchema, b.SettingsSchema)
	return same && a.Vendor == b.Vendor && a.Title == b.Title && a.Version == b.Version &&
		a.AccessLifetime == b.AccessLifetime && a.RefreshIdleLifetime == b.RefreshIdleLifetime && a.ConsentLifetime == b.ConsentLifetime &&
		a.RotatesRefreshTokens == b.RotatesRefreshTokens && a.RevokesTokens == b.RevokesTokens && a.PKCE == b.PKCE
}
