package generic_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/generic"
)

const (
	rfc8414 = "/.well-known/oauth-authorization-server"
	openID  = "/.well-known/openid-configuration"
)

// describes answers with the metadata document of an issuer whose endpoints are below it; more is further members.
func describes(issuer, more string) http.HandlerFunc {
	base := strings.TrimRight(issuer, "/")
	return says(200, fmt.Sprintf(`{"issuer":%q,"authorization_endpoint":%q,"token_endpoint":%q,"revocation_endpoint":%q%s}`,
		issuer, base+"/authorize", base+"/token", base+"/revoke", more))
}

func TestEndpointsAreLookedUpWhereTheIssuersPathSays(t *testing.T) {
	for name, tt := range map[string]struct {
		issuer  string
		places  []string // asked in this order; the last one has the document
		refuses http.HandlerFunc
	}{
		"RFC 8414":                  {"https://as.example", []string{"as.example" + rfc8414}, nil},
		"a slash at the end":        {"https://as.example/", []string{"as.example" + rfc8414}, nil},
		"a path, which goes behind": {"https://as.example/tenant/a/", []string{"as.example" + rfc8414 + "/tenant/a"}, nil},
		"OpenID":                    {"https://as.example", []string{"as.example" + rfc8414, "as.example" + openID}, nil},
		"OpenID: a path, which goes before": {"https://as.example/tenant", []string{"as.example" + rfc8414 + "/tenant", "as.example/tenant" + openID},
			says(403, "{}")},
		"a page for every path":  {"https://as.example", []string{"as.example" + rfc8414, "as.example" + openID}, says(200, "<html>"+canary)},
		"an object for any path": {"https://as.example", []string{"as.example" + rfc8414, "as.example" + openID}, says(200, `{"error":"`+canary+`"}`)},
		"a login for every path": {"https://as.example", []string{"as.example" + rfc8414, "as.example" + openID}, says(302, "")},
	} {
		t.Run(name, func(t *testing.T) {
			s := newVendor(t, map[string]http.HandlerFunc{"/token": says(200, issued), "/tenant/token": says(200, issued), "/tenant/a/token": says(200, issued)})
			var want []string
			for i, place := range tt.places {
				_, path, _ := strings.Cut(place, "/")
				if s.on("/"+path, tt.refuses); i == len(tt.places)-1 {
					s.on("/"+path, describes(tt.issuer, ""))
				}
				want = append(want, "GET "+place)
			}
			settings := map[string]string{"issuer": tt.issuer}
			page, err := s.adapter.AuthorizationURL(t.Context(), authorize(settings))
			if err != nil || !strings.HasPrefix(page, strings.TrimRight(tt.issuer, "/")+"/authorize?client_id=") {
				t.Fatal(page, err)
			}
			if _, err := s.adapter.Token(t.Context(), refresh(settings)); err != nil {
				t.Fatal(err)
			}
			token := strings.TrimPrefix(strings.TrimRight(tt.issuer, "/"), "https://") + "/token"
			if diff := cmp.Diff(append(want, "POST "+token), s.targets()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestASettingWinsOverTheDocument(t *testing.T) {
	s := newVendor(t, map[string]http.HandlerFunc{
		rfc8414: describes("https://as.example", ""), "/own": says(200, issued), "/revoke": says(200, ""),
	})
	settings := map[string]string{"issuer": "https://as.example", "token_url": "https://as.example/own"}
	if _, err := s.adapter.Token(t.Context(), refresh(settings)); err != nil {
		t.Fatal(err)
	}
	if err := s.adapter.Revoke(t.Context(), revocation(settings)); err != nil {
		t.Fatal(err)
	}
	// The document was needed for the revocation endpoint alone.
	want := []string{"POST as.example/own", "GET as.example" + rfc8414, "POST as.example/revoke"}
	if diff := cmp.Diff(want, s.targets()); diff != "" {
		t.Error(diff)
	}
}

func TestRevokeIsUnsupportedWhereTheDocumentNamesNoEndpoint(t *testing.T) {
	s := newVendor(t, map[string]http.HandlerFunc{rfc8414: says(200, `{"issuer":"https://as.example","revocation_endpoint":null}`)})
	settings := map[string]string{"issuer": "https://as.example"}
	if err := s.adapter.Revoke(t.Context(), revocation(settings)); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	_, err := s.adapter.Token(t.Context(), refresh(settings))
	if e := failure(t, err); e.Outcome != core.NotSent || !strings.Contains(e.Detail, "token_url") {
		t.Error(err)
	}
}

func TestADocumentThatCannotBeTrustedIsRefusedAndNothingIsSent(t *testing.T) {
	for name, tt := range map[string]struct{ document, code string }{
		"another issuer":             {`{"issuer":"https://` + canary + `","token_endpoint":"https://as.example/token"}`, core.CodeMalformedResponse},
		"but for a slash":            {`{"issuer":"https://as.example/","token_endpoint":"https://as.example/token"}`, core.CodeMalformedResponse},
		"in other letters":           {`{"issuer":"https://AS.example","token_endpoint":"https://as.example/token"}`, core.CodeMalformedResponse},
		"no text":                    {`{"issuer":7,"token_endpoint":"https://as.example/token"}`, core.CodeMalformedResponse},
		"null":                       {`{"issuer":null,"token_endpoint":"https://as.example/token"}`, core.CodeMalformedResponse},
		"an endpoint that is a list": {`{"issuer":"https://as.example","token_endpoint":["https://as.example/token"]}`, core.CodeMalformedResponse},
		"http":                       {`{"issuer":"https://as.example","token_endpoint":"http://as.example/` + canary + `"}`, core.CodeHostRefused},
		"this machine":               {`{"issuer":"https://as.example","token_endpoint":"http://127.0.0.1/` + canary + `"}`, core.CodeHostRefused},
		"this machine by https":      {`{"issuer":"https://as.example","token_endpoint":"https://localhost/` + canary + `"}`, core.CodeHostRefused},
		"a private address":          {`{"issuer":"https://as.example","token_endpoint":"https://10.0.0.1/` + canary + `"}`, core.CodeHostRefused},
		"a user":                     {`{"issuer":"https://as.example","token_endpoint":"https://` + canary + `@as.example/"}`, core.CodeHostRefused},
		"a fragment":                 {`{"issuer":"https://as.example","token_endpoint":"https://as.example/#` + canary + `"}`, core.CodeHostRefused},
		"another endpoint":           {`{"issuer":"https://as.example","authorization_endpoint":"javascript:` + canary + `","token_endpoint":"https://as.example/token"}`, core.CodeHostRefused},
		"without end":                {`{"issuer":"https://as.example","token_endpoint":"https://as.example/` + strings.Repeat("a", 5000) + `"}`, core.CodeHostRefused},
	} {
		t.Run(name, func(t *testing.T) {
			s := newVendor(t, map[string]http.HandlerFunc{rfc8414: says(200, tt.document), openID: describes("https://as.example", "")})
			_, err := s.adapter.Token(t.Context(), refresh(map[string]string{"issuer": "https://as.example"}))
			if e := failure(t, err); e.Outcome != core.NotSent || e.Code != tt.code {
				t.Error(err)
			}
			if diff := cmp.Diff([]string{"GET as.example" + rfc8414}, s.targets()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEndpointsMayBeOfOtherPublicHosts(t *testing.T) {
	s := newVendor(t, map[string]http.HandlerFunc{
		rfc8414: says(200, `{"issuer":"https://accounts.example","token_endpoint":"https://api.example/t/?v=2"}`),
		"/t/":   says(200, issued),
	})
	if _, err := s.adapter.Token(t.Context(), refresh(map[string]string{"issuer": "https://accounts.example"})); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"GET accounts.example" + rfc8414, "POST api.example/t/?v=2"}, s.targets()); diff != "" {
		t.Error(diff)
	}
}

func TestUnderALoopbackIssuerEndpointsAreOfThatHostOnAnyPort(t *testing.T) {
	other := newServer(t, map[string]http.HandlerFunc{"/token": says(200, issued)})
	for target, ok := range map[string]bool{
		other.URL + "/token": true, strings.Replace(other.URL, "127.0.0.1", "localhost", 1) + "/token": false, "https://as.example/token": false,
	} {
		s := newServer(t, nil)
		s.on(rfc8414, says(200, fmt.Sprintf(`{"issuer":%q,"token_endpoint":%q}`, s.URL, target)))
		_, err := s.adapter.Token(t.Context(), refresh(map[string]string{"issuer": s.URL}))
		if (err == nil) != ok {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func TestAFailureToLookUpIsNotSentAndBlamesNobodyElse(t *testing.T) {
	for name, tt := range map[string]struct {
		first, second http.HandlerFunc
		code          string
		places        int
	}{
		"nothing there":           {nil, nil, core.CodeHTTPError, 2},
		"a code of OAuth":         {says(400, `{"error":"invalid_client"}`), says(400, `{"error":"invalid_grant"}`), core.CodeHTTPError, 2},
		"a code of OAuth in good": {says(200, `{"error":"invalid_client"}`), says(200, `{"error":"invalid_grant"}`), core.CodeMalformedResponse, 2},
		"too many requests":       {says(429, "{}"), nil, core.CodeRateLimited, 1},
		"down for a while":        {says(503, "{}"), nil, core.CodeUnavailable, 1},
		"cut off":                 {cut, nil, core.CodeNetwork, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, nil)
			s.on(rfc8414, tt.first)
			s.on(openID, tt.second)
			settings := map[string]string{"issuer": s.URL}
			_, page := s.adapter.AuthorizationURL(t.Context(), authorize(settings))
			_, token := s.adapter.Token(t.Context(), refresh(settings))
			for _, err := range []error{page, token, s.adapter.Revoke(t.Context(), revocation(settings))} {
				if e := failure(t, err); e.Outcome != core.NotSent || e.Code != tt.code {
					t.Error(err)
				}
			}
			if got := len(s.seen()); got != 3*tt.places { // a failure is not kept
				t.Errorf("%d requests", got)
			}
		})
	}
}

// cut ends the connection within the answer.
func cut(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = io.WriteString(w, `{"issuer":`)
	panic(http.ErrAbortHandler)
}

func TestAHangingLookUpLeavesTimeForTheTokenRequest(t *testing.T) {
	hang := make(chan struct{})
	s := newServer(t, map[string]http.HandlerFunc{rfc8414: func(http.ResponseWriter, *http.Request) { <-hang }})
	defer close(hang)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := s.adapter.Token(ctx, refresh(map[string]string{"issuer": s.URL}))
	if e := failure(t, err); e.Outcome != core.NotSent || e.Code != core.CodeTimeout || ctx.Err() != nil {
		t.Error(err)
	}
	if deadline, _ := ctx.Deadline(); time.Until(deadline) < 5*time.Second {
		t.Errorf("%v are left", time.Until(deadline))
	}
}

func TestADocumentIsKeptForTenMinutesPerIssuer(t *testing.T) {
	s := newServer(t, map[string]http.HandlerFunc{"/token": says(200, issued), "/b/token": says(200, issued)})
	s.on(rfc8414, describes(s.URL, ""))
	s.on(rfc8414+"/b", describes(s.URL+"/b", ""))
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	adapter := generic.New(generic.Config{Now: func() time.Time { return now }})
	ask := func(issuer string) {
		t.Helper()
		if _, err := adapter.Token(t.Context(), refresh(map[string]string{"issuer": issuer})); err != nil {
			t.Fatal(err)
		}
	}
	ask(s.URL)
	ask(s.URL + "/b")
	ask(s.URL)
	now = now.Add(10*time.Minute - time.Second)
	ask(s.URL)
	now = now.Add(time.Second)
	ask(s.URL)
	want := []string{
		"GET " + rfc8414, "POST /token", "GET " + rfc8414 + "/b", "POST /b/token", "POST /token", "POST /token",
		"GET " + rfc8414, "POST /token",
	}
	if diff := cmp.Diff(want, s.targets()); diff != "" {
		t.Error(diff)
	}
}

func TestManyCallsLookUpOnce(t *testing.T) {
	const calls = 16
	s := newServer(t, map[string]http.HandlerFunc{"/token": says(200, issued)})
	document, release := describes(s.URL, ""), make(chan struct{})
	s.on(rfc8414, func(w http.ResponseWriter, r *http.Request) {
		<-release
		document(w, r)
	})
	var all sync.WaitGroup
	for range calls {
		all.Go(func() {
			if _, err := s.adapter.Token(t.Context(), refresh(map[string]string{"issuer": s.URL})); err != nil {
				t.Error(err)
			}
		})
	}
	close(release)
	all.Wait()
	lookedUp := 0
	for _, target := range s.targets() {
		if target == "GET "+rfc8414 {
			lookedUp++
		}
	}
	if lookedUp != 1 {
		t.Errorf("looked up %d times", lookedUp)
	}
}

func TestCallbackMissesTheIssuerThatTheServerSaysItSends(t *testing.T) {
	s := newServer(t, nil)
	for more, refused := range map[string]bool{
		`,"authorization_response_iss_parameter_supported":true`:   true,
		`,"authorization_response_iss_parameter_supported":false`:  false,
		`,"authorization_response_iss_parameter_supported":"true"`: false,
		"": false,
	} {
		s.on(rfc8414, describes(s.URL, more))
		adapter, settings := generic.New(generic.Config{}), map[string]string{"issuer": s.URL}
		callback := func(query url.Values) error {
			_, err := adapter.Callback(t.Context(), core.CallbackRequest{Client: client(settings), Params: query})
			return err
		}
		if err := callback(url.Values{"code": {"c"}}); err != nil {
			t.Errorf("before the document is there: %v", err)
		}
		if _, err := adapter.AuthorizationURL(t.Context(), authorize(settings)); err != nil {
			t.Fatal(err)
		}
		s.seen()
		for _, query := range []url.Values{{"code": {"c"}}, {"error": {"access_denied"}}} {
			if err := callback(query); (err != nil) != refused {
				t.Errorf("%s: %v", more, err)
			}
		}
		if err := callback(url.Values{"code": {"c"}, "iss": {s.URL}}); err != nil {
			t.Error(err)
		}
		if seen := s.seen(); len(seen) != 0 {
			t.Errorf("a callback calls %v", seen)
		}
	}
}
