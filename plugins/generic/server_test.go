package generic_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/generic"
	"github.com/esignd/esignd/plugins/oauth"
)

// canary is in every text of a server that must not come out in an error.
const canary = "canary-text-of-the-server"

// request is what a server saw.
type request struct {
	Target string // method, host where it is not loopback, path and query
	Kind   string // media type of the body
	Auth   string // the header Authorization
	Body   string
}

// server answers by path. Whatever host is dialled, it answers.
type server struct {
	*httptest.Server
	adapter *generic.Adapter

	mu       sync.Mutex // guards what follows
	answers  map[string]http.HandlerFunc
	requests []request
}

// newServer starts a server on the loopback, whose answers are by path.
func newServer(t *testing.T, answers map[string]http.HandlerFunc) *server {
	s := &server{answers: map[string]http.HandlerFunc{}}
	maps.Copy(s.answers, answers)
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	s.adapter = generic.New(generic.Config{})
	return s
}

// newVendor starts a server that stands for every https host of the world.
func newVendor(t *testing.T, answers map[string]http.HandlerFunc) *server {
	s := &server{answers: map[string]http.HandlerFunc{}}
	maps.Copy(s.answers, answers)
	s.Server = httptest.NewTLSServer(s)
	t.Cleanup(s.Close)
	s.adapter = generic.New(generic.Config{OAuth: oauth.Config{
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
		},
		TLS: &tls.Config{InsecureSkipVerify: true},
	}})
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	target := r.URL.String()
	if !strings.HasPrefix(r.Host, "127.0.0.1") {
		target = r.Host + target
	}
	s.mu.Lock()
	s.requests = append(s.requests, request{r.Method + " " + target, kind, r.Header.Get("Authorization"), string(body)})
	answer := s.answers[r.URL.Path]
	s.mu.Unlock()
	if answer == nil {
		http.NotFound(w, r)
		return
	}
	answer(w, r)
}

// on sets the answer of a path.
func (s *server) on(path string, answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[path] = answer
}

// seen returns the requests so far and forgets them.
func (s *server) seen() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.requests
	s.requests = nil
	return seen
}

// targets returns the Target of each request so far and forgets them.
func (s *server) targets() []string {
	var all []string
	for _, r := range s.seen() {
		all = append(all, r.Target)
	}
	return all
}

// settings are those of a client of this server that is described by hand, with others over them.
func (s *server) settings(more ...string) map[string]string {
	all := map[string]string{
		"authorization_url": s.URL + "/authorize", "token_url": s.URL + "/token", "revocation_url": s.URL + "/revoke",
	}
	for i := 0; i < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

// says answers with a JSON text.
func says(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

const issued = `{"access_token":"at","token_type":"bearer","expires_in":600,"refresh_token":"rt2","scope":"sign read"}`

func client(settings map[string]string) core.Credentials {
	return core.Credentials{ClientID: "an id", ClientSecret: core.NewSecret("s:e+c%/"), Settings: settings}
}

// basicAuth is the header of that client: base64 of its id and secret, each form-encoded first.
const basicAuth = "Basic YW4raWQ6cyUzQWUlMkJjJTI1JTJG"

func exchange(settings map[string]string) core.TokenRequest {
	return core.TokenRequest{
		Client: client(settings), GrantType: core.AuthorizationCode, Code: core.NewSecret("a code"),
		RedirectURI: "https://us.example/cb", State: core.NewSecret("st"), CodeVerifier: core.NewSecret("verifier"),
	}
}

func refresh(settings map[string]string) core.TokenRequest {
	return core.TokenRequest{
		Client: client(settings), GrantType: core.RefreshToken, RefreshToken: core.NewSecret("rt1"), Scope: []string{"sign"},
	}
}

func authorize(settings map[string]string) core.AuthorizationRequest {
	return core.AuthorizationRequest{
		Client: client(settings), RedirectURI: "https://us.example/cb", State: "st", Scope: []string{"sign", "read"}, CodeChallenge: "challenge",
	}
}

// failure fails the test unless err is a *core.VendorError of the adapter's own words.
func failure(t *testing.T, err error) *core.VendorError {
	t.Helper()
	var e *core.VendorError
	if !errors.As(err, &e) {
		t.Fatalf("error is %T (%v), want *core.VendorError", err, err)
	}
	if !slices.Contains(core.VendorCodes(), e.Code) || strings.Contains(err.Error(), canary) {
		t.Errorf("%v", err)
	}
	return e
}

// newHandlerServer starts a server with one handler and returns its URL.
func newHandlerServer(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}
