package docusign_test

import (
	"bytes"
	"context"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
	docusign "github.com/esignd/esignd/examples/vendor-docusign"
	"github.com/esignd/esignd/examples/vendor-docusign/sandbox"
	"github.com/esignd/esignd/plugins/oauth"
	"github.com/esignd/esignd/plugins/sdk/authserver"
)

var (
	_ core.Adapter     = (*docusign.Adapter)(nil)
	_ core.HostChecker = (*docusign.Adapter)(nil)
)

// The verifier and challenge of RFC 7636, appendix B.
const (
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

	callback = "http://127.0.0.1:9/callback"
)

func TestAuthorizationURLHasTheChallenge(t *testing.T) {
	for account, base := range map[string]string{
		"": "https://account.docusign.com", "https://account-d.docusign.com/": "https://account-d.docusign.com",
	} {
		got, err := docusign.New(docusign.Config{}).AuthorizationURL(t.Context(), core.AuthorizationRequest{
			Client:      core.Credentials{ClientID: "key", Settings: map[string]string{"account_url": account}},
			RedirectURI: "https://us.example/cb", State: "st", Scope: []string{"signature", "extended"}, CodeChallenge: challenge,
		})
		want := base + "/oauth/auth?client_id=key&code_challenge=" + challenge + "&code_challenge_method=S256" +
			"&redirect_uri=https%3A%2F%2Fus.example%2Fcb&response_type=code&scope=signature+extended&state=st"
		if err != nil || got != want {
			t.Errorf("%s %v, want %s", got, err, want)
		}
	}
}

func TestExchangeFindsTheDefaultAccount(t *testing.T) {
	w := start(t)
	set := w.token(t, w.codeRequest(t))
	if set.APIBaseURL != w.URL()+"/restapi" || set.AccountID != sandbox.AccountID(sandbox.Person) {
		t.Errorf("API at %s, account %s", set.APIBaseURL, set.AccountID)
	}
	if !lives(t, set) {
		t.Error("the API refuses the token")
	}
}

func TestRefreshRotatesAndDoesNotAskAgain(t *testing.T) {
	w := start(t)
	first := w.token(t, w.codeRequest(t))
	second := w.token(t, w.refreshRequest(first))
	if second.RefreshToken.Equal(first.RefreshToken) || second.AccessToken.Equal(first.AccessToken) {
		t.Error("the old token came back")
	}
	if n := w.asked.Load(); n != 1 || second.APIBaseURL != "" {
		t.Errorf("userinfo was asked %d times; API at %q, want the known one to stay", n, second.APIBaseURL)
	}
	_, err := w.adapter.Token(t.Context(), w.refreshRequest(first))
	if e := core.AsVendorError(err); e.Code != core.CodeInvalidGrant || e.Outcome != core.Refused {
		t.Errorf("a spent refresh token: %v", e)
	}
}

func TestRefreshAsksWhereTheAPIIsUnknownOrReported(t *testing.T) {
	w := start(t)
	set := w.token(t, w.codeRequest(t))
	r := w.refreshRequest(set)
	r.APIBaseURL = ""
	if set = w.token(t, r); set.APIBaseURL != w.URL()+"/restapi" {
		t.Errorf("unknown: API at %q", set.APIBaseURL)
	}
	w.Move("http://127.0.0.1:1")
	r = w.refreshRequest(set)
	r.Reported = true
	if set = w.token(t, r); set.APIBaseURL != "http://127.0.0.1:1/restapi" {
		t.Errorf("reported: API at %q", set.APIBaseURL)
	}
	if n := w.asked.Load(); n != 3 {
		t.Errorf("userinfo was asked %d times", n)
	}
}

// A refresh token that the vendor has rotated, or a code that is spent, is worth more than to know where the API is.
func TestTokenSetOutlivesUserinfo(t *testing.T) {
	gone := make(chan struct{})
	t.Cleanup(func() { close(gone) })
	accounts := func(list string) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, `{"accounts":`+list+`}`) }
	}
	for name, answer := range map[string]http.HandlerFunc{
		"an error":      func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) },
		"a refusal":     func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusUnauthorized) },
		"a reset":       func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"no JSON":       func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "<p>") },
		"too much":      func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(make([]byte, 2<<20)) },
		"another shape": accounts(`"none"`),
		"no accounts":   accounts(`[]`),
		"no default":    accounts(`[{"account_id":"1","base_uri":"http://127.0.0.1"}]`),
		"no host":       accounts(`[{"account_id":"1","is_default":true}]`),
		"a foreign one": accounts(`[{"account_id":"1","is_default":true,"base_uri":"https://evil.example"}]`),
		"a redirect": func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "https://evil.example/", http.StatusFound)
		},
		"silence": func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-gone:
			case <-r.Context().Done():
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t)
			w.userinfo(answer)
			r := w.codeRequest(t)
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			defer cancel()
			set, err := w.adapter.Token(ctx, r)
			if err != nil || set.RefreshToken.IsZero() || set.APIBaseURL != "" || set.AccountID != "" || ctx.Err() != nil {
				t.Fatalf("exchange: %+v %v, context %v", set, err, ctx.Err())
			}
			w.answer.Store(nil)
			if set = w.token(t, w.refreshRequest(set)); set.APIBaseURL == "" || !lives(t, set) {
				t.Errorf("the refresh after it: API at %q", set.APIBaseURL)
			}
		})
	}
}

// Without a deadline of the caller's, userinfo has three seconds and the call ends.
func TestUserinfoIsBoundedByItself(t *testing.T) {
	w := start(t)
	w.userinfo(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	r := w.codeRequest(t)
	begun := time.Now()
	set, err := w.adapter.Token(context.WithoutCancel(t.Context()), r)
	if took := time.Since(begun); err != nil || set.AccessToken.IsZero() || took > 5*time.Second {
		t.Errorf("after %v: %v", took, err)
	}
}

func TestTokenIsRefused(t *testing.T) {
	w := start(t)
	wrongVerifier := w.codeRequest(t)
	wrongVerifier.CodeVerifier = core.NewSecret(strings.Repeat("x", 43))
	wrongSecret := w.codeRequest(t)
	wrongSecret.Client.ClientSecret = core.NewSecret("other")
	elsewhere := w.codeRequest(t)
	elsewhere.RedirectURI += "/other"
	for want, r := range map[string]core.TokenRequest{
		core.CodeInvalidGrant + " verifier": wrongVerifier,
		core.CodeInvalidGrant + " redirect": elsewhere,
		core.CodeInvalidClient:              wrongSecret,
	} {
		_, err := w.adapter.Token(t.Context(), r)
		code, _, _ := strings.Cut(want, " ")
		if e := core.AsVendorError(err); e.Code != code || e.Outcome != core.Refused {
			t.Errorf("%s: %v", want, e)
		}
	}
	if n := w.asked.Load(); n != 0 {
		t.Errorf("userinfo was asked %d times", n)
	}
}

func TestTokenSendsNoOtherGrantType(t *testing.T) {
	w := start(t)
	_, err := w.adapter.Token(t.Context(), core.TokenRequest{Client: w.client(), GrantType: core.ClientCredentials})
	if e := core.AsVendorError(err); e.Outcome != core.NotSent || e.Code != core.CodeUnsupportedGrantType {
		t.Error(e)
	}
}

func TestCallbackTellsADenial(t *testing.T) {
	got, err := docusign.New(docusign.Config{}).Callback(t.Context(), core.CallbackRequest{
		Params: url.Values{"error": {"access_denied"}, "error_message": {"vendor's text"}, "state": {"st"}},
	})
	if err != nil || got.Denied != core.CodeAccessDenied || !got.Code.IsZero() {
		t.Errorf("%+v %v", got, err)
	}
}

func TestOnlyDocuSignsHostsAreTaken(t *testing.T) {
	const loopback = "http://127.0.0.1:9000"
	for _, tt := range []struct{ account, raw, want string }{
		{"", "https://na3.docusign.net", "https://na3.docusign.net/restapi"},
		{"", "https://NA3.DocuSign.net/restapi/", "https://na3.docusign.net/restapi"},
		{"", "https://eu.docusign.com", "https://eu.docusign.com/restapi"},
		{"", "https://ca.eu-1.docusign.net/restapi", "https://ca.eu-1.docusign.net/restapi"},
		{"", "http://na3.docusign.net", ""},
		{"", "https://docusign.net.evil.example", ""},
		{"", "https://evildocusign.net", ""},
		{"", "https://na3.docusign.net:8443", ""},
		{"", "https://na3.docusign.net/other", ""},
		{"", "https://na3.docusign.net?x", ""},
		{"", "https://canary@na3.docusign.net", ""},
		{"", "https://na3.docusign.net#canary", ""},
		{"", "https://na3.docusign.net\n", ""},
		{"", loopback, ""},
		{"", "", ""},
		{loopback, "http://127.0.0.1:9001", "http://127.0.0.1:9001/restapi"},
		{loopback, "http://127.0.0.2:9000", ""},
		{loopback, "https://na3.docusign.net", ""},
		{"http://vendor.example", "https://na3.docusign.net", ""},
	} {
		c := core.Credentials{Settings: map[string]string{"account_url": tt.account}}
		got, err := docusign.New(docusign.Config{}).CheckAPIBaseURL(t.Context(), c, tt.raw)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%q with %q: %q %v, want %q", tt.raw, tt.account, got, err, tt.want)
		}
		if err != nil && (core.AsVendorError(err).Code != core.CodeHostRefused || strings.Contains(err.Error(), "canary")) {
			t.Errorf("%q: %v", tt.raw, err)
		}
	}
}

func TestWrongAccountURLIsRefused(t *testing.T) {
	a, c := docusign.New(docusign.Config{}), core.Credentials{Settings: map[string]string{"account_url": "http://vendor.example"}}
	_, page := a.AuthorizationURL(t.Context(), core.AuthorizationRequest{Client: c})
	_, token := a.Token(t.Context(), core.TokenRequest{Client: c, GrantType: core.RefreshToken})
	for _, err := range []error{page, token} {
		if e := core.AsVendorError(err); e.Code != core.CodeHostRefused || e.Outcome != core.NotSent {
			t.Error(e)
		}
	}
}

// The client secret is a POST away from whoever answers at the account server's name.
func TestTokenFollowsNoRedirect(t *testing.T) {
	w := start(t)
	w.FailNext(1, authserver.Fault{Status: http.StatusTemporaryRedirect, Header: http.Header{"Location": {"https://evil.example/"}}})
	_, err := docusign.New(docusign.Config{OAuth: oauth.Config{Timeout: 5 * time.Second}}).Token(t.Context(), w.codeRequest(t))
	if e := core.AsVendorError(err); e.Code != core.CodeRedirected {
		t.Error(e)
	}
}

func TestRevokeIsUnsupported(t *testing.T) {
	if err := docusign.New(docusign.Config{}).Revoke(t.Context(), core.RevocationRequest{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}

// The README says so.
func TestAdapterIsSmallAndImportsLittle(t *testing.T) {
	source, err := os.ReadFile("docusign.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(source, []byte("\n")); n >= 150 {
		t.Errorf("docusign.go has %d lines", n)
	}
	for _, file := range []string{"docusign.go", "esignd-plugin-docusign/main.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range f.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			ours, esignds := strings.CutPrefix(path, "github.com/esignd/esignd/")
			allowed := []string{"core", "plugins/oauth", "plugins/sdk", "examples/vendor-docusign"}
			if strings.Contains(path, ".") && !esignds || esignds && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s", file, path)
			}
		}
	}
}
