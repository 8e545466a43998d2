package e2e

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/esignd/esignd/tests/system"
)

// witness stands in front of sandboxes and notes every secret that goes in or out: what must be found nowhere else.
type witness struct {
	mu      sync.Mutex        // guards secrets
	secrets map[string]string // what it is, by value
}

func newWitness() *witness { return &witness{secrets: map[string]string{}} }

// secretNames are the parameters that are secrets, in requests, redirects and answers.
var secretNames = []string{"access_token", "refresh_token", "code", "state", "client_secret", "token", "code_verifier"}

// note keeps a secret. One that is short could be found by chance.
func (w *witness) note(what, value string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(value) >= 12 {
		w.secrets[value] = what
	}
}

func (w *witness) noteAll(v url.Values) {
	for _, name := range secretNames {
		for _, value := range v[name] {
			w.note(name, value)
		}
	}
}

// watch is the middleware of a sandbox.
func (w *witness) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		w.noteAll(r.URL.Query())
		w.noteAll(system.Parameters(r.Header.Get("Content-Type"), body))
		if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
			w.note("bearer token", token)
		}
		kept := httptest.NewRecorder()
		next.ServeHTTP(kept, r)
		w.noteAll(system.Parameters("application/json", kept.Body.Bytes()))
		if to, err := url.Parse(kept.Header().Get("Location")); err == nil {
			w.noteAll(to.Query())
		}
		for name, values := range kept.Header() {
			out.Header()[name] = values
		}
		out.WriteHeader(kept.Code)
		_, _ = out.Write(kept.Body.Bytes())
	})
}

// kinds returns what the secrets are, each once, sorted.
func (w *witness) kinds() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []string
	for _, what := range w.secrets {
		list = append(list, what)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// search returns what is found in the haystack, in plain or in one of the forms that secrets take on the way.
func (w *witness) search(haystack []byte) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []string
	for secret, what := range w.secrets {
		for _, form := range forms(secret) {
			if bytes.Contains(haystack, []byte(form)) {
				found = append(found, what)
				break
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// forms are the secret itself, in a URL, in base64 and in Go's list of bytes.
func forms(secret string) []string {
	return []string{
		secret, url.QueryEscape(secret), strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(secret)), "="),
		strings.TrimRight(base64.URLEncoding.EncodeToString([]byte(secret)), "="),
	}
}
