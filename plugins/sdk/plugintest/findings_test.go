package plugintest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/sdk/plugintest"
)

// flaw is an adapter that is wrong in one way, called in process, and the finding that tells of it.
type flaw struct {
	check string
	says  string
	bad   bad
	// sandbox changes what the kit is told; nil: nothing.
	sandbox func(*plugintest.Sandbox)
	still   bool // the vendor does not rotate
}

func flaws() []flaw {
	all := append(pageFlaws(), callbackFlaws()...)
	all = append(append(all, tokenFlaws()...), callFlaws()...)
	return append(append(all, metadataFlaws()...), settingFlaws()...)
}

func TestEachFlawIsTold(t *testing.T) {
	t.Parallel()
	for _, f := range flaws() {
		t.Run(f.check+"/"+strings.ReplaceAll(f.says, "/", "-"), func(t *testing.T) {
			t.Parallel()
			f.bad.example = newExample()
			sandbox := startVendor(t, !f.still).sandbox()
			if f.sandbox != nil {
				f.sandbox(&sandbox)
			}
			report := examine(t, plugintest.Config{
				Adapter: f.bad, Sandbox: sandbox, Deadline: 300 * time.Millisecond, Only: regexp.MustCompile("^" + f.check + "$"),
			})
			r := outcome(t, report, f.check)
			if r.Status != plugintest.Failed || !strings.Contains(strings.Join(r.Findings, "\n"), f.says) {
				t.Errorf("it does not fail with %q: %+v", f.says, r)
			}
		})
	}
}

// pages lets the adapter send people to another page.
func pages(change func(core.AuthorizationRequest, string) string) bad {
	return bad{authorize: func(ctx context.Context, r core.AuthorizationRequest) (string, error) {
		page, err := newExample().AuthorizationURL(ctx, r)
		return change(r, page), err
	}}
}

// adds lets the page have something more at its end.
func adds(more string) bad {
	return pages(func(_ core.AuthorizationRequest, page string) string { return page + more })
}

func pageFlaws() []flaw {
	const check = "authorization-url"
	var times atomic.Int32
	refused := func(context.Context, core.AuthorizationRequest) (string, error) {
		return "", &core.VendorError{Outcome: core.NotSent, Code: core.CodeInvalidRequest}
	}
	clear := func(_ context.Context, r core.AuthorizationRequest) (string, error) {
		if strings.Contains(r.Client.Settings["url"], "invalid") {
			return r.Client.Settings["url"], nil
		}
		return newExample().AuthorizationURL(context.Background(), r)
	}
	return []flaw{
		{check: check, says: "it fails: invalid_request", bad: bad{authorize: refused}},
		{check: check, says: "no absolute https URL", bad: pages(func(core.AuthorizationRequest, string) string { return "/authorize" })},
		{check: check, says: "no absolute https URL", bad: pages(func(_ core.AuthorizationRequest, p string) string {
			return strings.Replace(p, "127.0.0.1", "192.0.2.1", 1)
		})},
		{check: check, says: "query cannot be parsed", bad: adds("&x=%zz")},
		{check: check, says: "does not read the client's settings", bad: pages(func(_ core.AuthorizationRequest, p string) string {
			u, _ := url.Parse(p)
			return "https://sign.example.com/authorize?" + u.RawQuery
		})},
		{check: check, says: "holds the client secret", bad: adds("&client_secret=" + vendorSecret)},
		{check: check, says: "state is there twice", bad: adds("&state=x")},
		{check: check, says: "the challenge or its method", bad: pages(func(_ core.AuthorizationRequest, p string) string {
			return strings.Replace(p, "S256", "plain", 1)
		})},
		{check: check, says: `the scope "sign" is not asked for`, bad: pages(func(_ core.AuthorizationRequest, p string) string {
			return strings.Replace(p, "+sign", "", 1)
		})},
		{check: "settings", says: "taken by AuthorizationURL", bad: bad{authorize: clear}},
		{check: "idempotence", says: "gives two URLs", bad: pages(func(_ core.AuthorizationRequest, p string) string {
			return fmt.Sprint(p, "&nonce=", times.Add(1))
		})},
	}
}

// answers lets Callback answer something else.
func answers(change func(url.Values, *core.CallbackResult) error) bad {
	return bad{callback: func(ctx context.Context, r core.CallbackRequest) (core.CallbackResult, error) {
		result, err := newExample().Callback(ctx, r)
		if err == nil {
			err = change(r.Params, &result)
		}
		return result, err
	}}
}

func callbackFlaws() []flaw {
	const check = "callback"
	var times atomic.Int32
	asking := bad{callback: func(ctx context.Context, r core.CallbackRequest) (core.CallbackResult, error) {
		if res, err := http.Get(r.Client.Settings["url"] + "/me"); err == nil {
			_ = res.Body.Close()
		}
		return newExample().Callback(ctx, r)
	}}
	careless := bad{callback: func(_ context.Context, r core.CallbackRequest) (core.CallbackResult, error) {
		return core.CallbackResult{Code: core.NewSecret(r.Params.Get("code"))}, nil
	}}
	quoting := answers(func(q url.Values, c *core.CallbackResult) error {
		if c.Denied != "" {
			c.Denied = q.Get("error")
		}
		return nil
	})
	return []flaw{
		{check: check, says: "a person accepted, and it fails", bad: answers(func(url.Values, *core.CallbackResult) error {
			return &core.VendorError{Code: core.CodeInvalidRequest}
		})},
		{check: check, says: "sent back with server_error instead of a code", bad: answers(func(_ url.Values, c *core.CallbackResult) error {
			c.Code, c.Denied = core.Secret{}, "server_error"
			return nil
		})},
		{check: check, says: "a denial beside the code", bad: answers(func(_ url.Values, c *core.CallbackResult) error { c.Denied = "no"; return nil })},
		{check: check, says: "there is no code", bad: answers(func(_ url.Values, c *core.CallbackResult) error { c.Code = core.Secret{}; return nil })},
		{check: check, says: "not one that stands in the redirect", bad: answers(func(_ url.Values, c *core.CallbackResult) error {
			c.Code = core.NewSecret("another-code")
			return nil
		})},
		{check: check, says: "it asks the vendor", bad: asking},
		{check: check, says: "no parameters gives a code, or neither", bad: careless},
		{check: check, says: "an error beside a code gives a code", bad: careless},
		{check: check, says: "not a code of RFC 6749", bad: quoting},
		{check: "denial", says: "Denied is empty", bad: careless},
		{check: "denial", says: "there is a code", bad: answers(func(_ url.Values, c *core.CallbackResult) error {
			c.Code = core.NewSecret("a-code-all-the-same")
			return nil
		})},
		{check: "idempotence", says: "gives two answers", bad: answers(func(_ url.Values, c *core.CallbackResult) error {
			c.APIBaseURL = fmt.Sprint("https://", times.Add(1), ".example")
			return nil
		})},
		{check: "exchange", says: "was sent back with invalid_scope", bad: answers(func(_ url.Values, c *core.CallbackResult) error {
			c.Code, c.Denied = core.Secret{}, "invalid_scope"
			return nil
		})},
	}
}

// sets lets Token return another token set.
func sets(change func(core.TokenRequest, *core.TokenResponse)) bad {
	return bad{token: func(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
		set, err := newExample().Token(ctx, r)
		if err == nil {
			change(r, &set)
		}
		return set, err
	}}
}

// fails lets Token fail in other ways.
func fails(change func(core.TokenRequest, *core.VendorError)) bad {
	return bad{token: func(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
		set, err := newExample().Token(ctx, r)
		if err == nil {
			return set, nil
		}
		e := *core.AsVendorError(err)
		change(r, &e)
		return set, &e
	}}
}

func tokenFlaws() []flaw {
	const check = "exchange"
	return []flaw{
		{check: check, says: "no access token, and no error", bad: sets(func(_ core.TokenRequest, s *core.TokenResponse) { s.AccessToken = core.Secret{} })},
		{check: check, says: "TokenType is empty", bad: sets(func(_ core.TokenRequest, s *core.TokenResponse) { s.TokenType = "" })},
		{check: check, says: "no lifetime", bad: sets(func(_ core.TokenRequest, s *core.TokenResponse) { s.ExpiresIn = -time.Second })},
		{check: check, says: "APIBaseURL is no absolute URL", bad: sets(func(_ core.TokenRequest, s *core.TokenResponse) { s.APIBaseURL += "/" })},
		{check: check, says: "Scope holds what is no scope", bad: sets(func(_ core.TokenRequest, s *core.TokenResponse) { s.Scope = []string{"read sign"} })},
		{check: check, says: "GrantTypes has refresh_token", bad: sets(func(_ core.TokenRequest, s *core.TokenResponse) { s.RefreshToken = core.Secret{} })},
		{check: check, says: "does not work at the sandbox", bad: sets(func(_ core.TokenRequest, s *core.TokenResponse) {
			s.AccessToken = core.NewSecret("something-else-than-the-token")
		})},
		{check: check, says: "the probe of the sandbox answers with status 404", sandbox: func(s *plugintest.Sandbox) { s.Probe = "/nowhere" }},
		{check: check, says: "none of core.VendorCodes", bad: fails(func(_ core.TokenRequest, e *core.VendorError) { e.Code = "oops" })},
		{check: check, says: "the outcome is unknown instead of refused", bad: fails(func(_ core.TokenRequest, e *core.VendorError) { e.Outcome = core.Unknown })},
		{check: check, says: "the sandbox says invalid_client, VendorError.Code is http_error", bad: fails(func(_ core.TokenRequest, e *core.VendorError) {
			e.Code = core.CodeHTTPError
		})},
		{check: "rotation", says: "does not return it", bad: sets(func(r core.TokenRequest, s *core.TokenResponse) {
			if !strings.HasPrefix(s.RefreshToken.Reveal(), "refresh-") { // the author takes it for no token of this vendor
				s.RefreshToken = r.RefreshToken
			}
		})},
		{check: "rotation", says: "does not work a second time", still: true, bad: bad{
			metadata: func(m *core.Metadata) { m.RotatesRefreshTokens = false }, token: once(),
		}},
		{check: "settings", says: "taken by Token", bad: bad{token: trusting}},
	}
}

// once lets each refresh token be refreshed once.
func once() func(context.Context, core.TokenRequest) (core.TokenResponse, error) {
	spent := map[string]bool{}
	return func(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
		if token := r.RefreshToken.Reveal(); spent[token] {
			return core.TokenResponse{}, &core.VendorError{Outcome: core.Refused, Code: core.CodeInvalidGrant, Status: 400}
		} else if token != "" {
			spent[token] = true
		}
		return newExample().Token(ctx, r)
	}
}

// trusting sends to whatever URL the settings name.
func trusting(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
	if !strings.Contains(r.Client.Settings["url"], "invalid") {
		return newExample().Token(ctx, r)
	}
	return core.TokenResponse{}, &core.VendorError{Outcome: core.NotSent, Code: core.CodeNetwork}
}

func callFlaws() []flaw {
	own := bad{token: func(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
		r.Client.ClientSecret = core.NewSecret(vendorSecret)
		return newExample().Token(ctx, r)
	}}
	var first atomic.Pointer[core.TokenResponse]
	same := sets(func(r core.TokenRequest, s *core.TokenResponse) {
		if r.GrantType == core.RefreshToken && !first.CompareAndSwap(nil, s) {
			*s = *first.Load()
		}
	})
	return []flaw{
		{check: "concurrency", says: "a call with a wrong one succeeds", bad: own},
		{check: "concurrency", says: "two grants got the same access token", bad: same},
		{check: "refusals", says: "RetryAfter is 0s", bad: fails(func(_ core.TokenRequest, e *core.VendorError) { e.RetryAfter = 0 })},
		{check: "refusals", says: "401 no code: VendorError.Code is invalid_client, which suspends the client", bad: fails(func(_ core.TokenRequest, e *core.VendorError) {
			if e.Status == http.StatusUnauthorized {
				e.Code = core.CodeInvalidClient
			}
		})},
		{check: "refusals", says: "VendorError.Code is http_error instead of rate_limited", bad: fails(func(_ core.TokenRequest, e *core.VendorError) {
			if e.Status == http.StatusTooManyRequests {
				e.Code = core.CodeHTTPError
			}
		})},
		{check: "outcomes", says: "refused connection: the outcome is unknown instead of not_sent", bad: fails(func(_ core.TokenRequest, e *core.VendorError) {
			e.Outcome = core.Unknown
		})},
		{check: "deadlines", says: "no error, and the vendor has not answered", bad: bad{revoke: func(ctx context.Context, r core.RevocationRequest) error {
			_ = newExample().Revoke(ctx, r)
			return nil
		}}},
		{check: "revocation", says: "it fails: network", bad: bad{revoke: func(context.Context, core.RevocationRequest) error {
			return &core.VendorError{Outcome: core.Unknown, Code: core.CodeNetwork}
		}}},
		{check: "revocation", says: "the access token still works", bad: bad{
			metadata: func(m *core.Metadata) {
				m.GrantTypes, m.RotatesRefreshTokens, m.RefreshIdleLifetime, m.PKCE = []core.GrantType{core.ClientCredentials}, false, 0, false
			},
			revoke: func(context.Context, core.RevocationRequest) error { return nil },
		}},
		{check: "api-host", says: "comes back in another form", bad: bad{checkHost: func(raw string) (string, error) {
			normal, err := newExample().CheckAPIBaseURL(context.Background(), core.Credentials{Settings: map[string]string{"url": raw}}, raw)
			if !strings.HasPrefix(normal, "http://127.0.0.1") {
				err = &core.VendorError{Outcome: core.NotSent, Code: core.CodeHostRefused}
			}
			return normal + "/", err
		}}},
		{check: "events", says: "VendorError.Code is http_error instead of access_denied", bad: bad{readEvent: func() (core.VendorEvent, error) {
			return core.VendorEvent{}, &core.VendorError{Code: core.CodeHTTPError}
		}}},
	}
}

func metadataFlaws() []flaw {
	var times atomic.Int32
	declares := func(says string, change func(*core.Metadata)) flaw {
		return flaw{check: "metadata", says: says, bad: bad{metadata: change}}
	}
	return []flaw{
		declares("asked again, it says something else", func(m *core.Metadata) { m.Version = fmt.Sprint(times.Add(1)) }),
		declares("Vendor or Title is empty", func(m *core.Metadata) { m.Vendor = "" }),
		declares("AccessLifetime is 0s", func(m *core.Metadata) { m.AccessLifetime = 0 }),
		declares("speaks of refresh tokens", func(m *core.Metadata) { m.GrantTypes = m.GrantTypes[:1] }),
		declares("a lifetime is negative", func(m *core.Metadata) { m.ConsentLifetime = -1 }),
		declares("dead when it is needed", func(m *core.Metadata) { m.RefreshIdleLifetime = time.Minute }),
		declares("PKCE is declared, and GrantTypes has no authorization_code", func(m *core.Metadata) { m.GrantTypes = m.GrantTypes[1:] }),
	}
}

func settingFlaws() []flaw {
	schema := func(says, old, with string, sandbox func(*plugintest.Sandbox)) flaw {
		return flaw{check: "settings", says: says, sandbox: sandbox, bad: bad{metadata: func(m *core.Metadata) {
			m.SettingsSchema = json.RawMessage(strings.Replace(exampleSettings, old, with, 1))
		}}}
	}
	return []flaw{
		schema("url is writeOnly, a secret", `"format": "uri",`, `"writeOnly": true,`, nil),
		schema("value of api_key does not pass", `"writeOnly": true,`, `"writeOnly": true, "maxLength": 3,`, nil),
		schema("is one required that is not there", `"type": "object",`, `"type": "object", "required": ["region"],`, nil),
		schema("api_key is a secret and has a default", `"writeOnly": true,`, `"writeOnly": true, "default": "x",`, nil),
		schema("refers to another document", `{"type": "string", "format": "uri"`, `{"$ref": "https://example.com/uri.json"`, nil),
		schema("region is not in the schema", "", "", func(s *plugintest.Sandbox) { s.Settings["region"] = "eu" }),
		schema("cannot be read", exampleSettings, `["object"]`, nil),
	}
}

// What an author should know of a plugin that passes stands in the notes.
func TestNotesTellWhatIsNoFailure(t *testing.T) {
	t.Parallel()
	sandbox := startVendor(t, false).sandbox()
	sandbox.Probe = ""
	adapter := bad{example: newExample(), metadata: func(m *core.Metadata) {
		m.Version, m.SettingsSchema = "", json.RawMessage(`{"type": "object", "properties": {"url": {"type": "string"}, "api_key": {"writeOnly": true}}}`)
	}}
	report := examine(t, plugintest.Config{Adapter: adapter, Sandbox: sandbox, Only: regexp.MustCompile("metadata|settings|exchange|rotation")})
	for check, note := range map[string]string{
		"metadata": "Version is empty", "settings": "an unknown setting is taken", "exchange": "set Sandbox.Probe", "rotation": "did not rotate",
	} {
		if r := outcome(t, report, check); r.Status != plugintest.Passed || !strings.Contains(strings.Join(r.Notes, "\n"), note) {
			t.Errorf("%s: %+v", check, r)
		}
	}
}
