package witness

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/esignd/esignd/tests/system"
)

// names are the parameters that are secrets, in requests, redirects and answers.
var names = []string{"access_token", "refresh_token", "code", "state", "client_secret", "token", "code_verifier"}

// NoteAll notes the parameters that are secrets by their names.
func (w *Witness) NoteAll(v url.Values) {
	for _, name := range names {
		for _, value := range v[name] {
			// Adobe's refresh tokens end in a star, which a form encodes.
			w.Note(name, strings.TrimSuffix(value, "*"))
		}
	}
}

// Watch is the middleware of a sandbox. It notes what is given out too where a fault then keeps it from its caller.
func (w *Witness) Watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		w.NoteAll(r.URL.Query())
		w.NoteAll(system.Parameters(r.Header.Get("Content-Type"), body))
		if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
			w.Note("access_token", token)
		}
		if _, secret, ok := r.BasicAuth(); ok {
			w.Note("client_secret", secret)
		}
		kept := httptest.NewRecorder()
		next.ServeHTTP(kept, r)
		w.NoteAll(system.Parameters("application/json", kept.Body.Bytes()))
		if to, err := url.Parse(kept.Header().Get("Location")); err == nil {
			w.NoteAll(to.Query())
		}
		for name, values := range kept.Header() {
			out.Header()[name] = values
		}
		out.WriteHeader(kept.Code)
		_, _ = out.Write(kept.Body.Bytes())
	})
}
