package faults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/sdk/plugintest/faultproxy"
)

// witness knows every secret that went over the wire.
type witness struct {
	mu      sync.Mutex // guards secrets
	secrets map[string]string
}

func newWitness() *witness {
	return &witness{secrets: map[string]string{faultproxy.Canary: "the vendor's words"}}
}

// note remembers a secret by what it is.
func (w *witness) note(what, secret string) {
	// Adobe's refresh tokens end in a star, which a form encodes.
	if secret = strings.TrimSuffix(secret, "*"); secret == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets[secret] = what
}

// watch notes the tokens that a sandbox gives out, those too that a fault then keeps from their caller.
func (w *witness) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		kept := httptest.NewRecorder()
		next.ServeHTTP(kept, r)
		var set struct {
			Access  string `json:"access_token"`
			Refresh string `json:"refresh_token"`
		}
		if json.Unmarshal(kept.Body.Bytes(), &set) == nil {
			w.note("an access token", set.Access)
			w.note("a refresh token", set.Refresh)
		}
		for name, values := range kept.Header() {
			out.Header()[name] = values
		}
		out.WriteHeader(kept.Code)
		_, _ = out.Write(kept.Body.Bytes())
	})
}

// tail is how many bytes at its end a secret is looked up by.
const tail = 16

// found returns what of the secrets is in text. There are a thousand secrets and megabytes of text, so it looks at
// each place of the text once.
func (w *witness) found(text string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	found, byTail := map[string]bool{}, map[string][]string{}
	for secret, what := range w.secrets {
		if len(secret) >= tail {
			end := secret[len(secret)-tail:]
			byTail[end] = append(byTail[end], secret)
		} else if strings.Contains(text, secret) {
			found[what] = true
		}
	}
	for i := tail; i <= len(text); i++ {
		for _, secret := range byTail[text[i-tail:i]] {
			if strings.HasSuffix(text[:i], secret) {
				found[w.secrets[secret]] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// search reports secrets in a place. A place that is empty shows nothing.
func (w *witness) search(t *testing.T, place, text string) {
	t.Helper()
	if text == "" {
		t.Errorf("%s: there is nothing to search", place)
	}
	if found := w.found(text); len(found) > 0 {
		t.Errorf("%s: %s", place, strings.Join(found, ", "))
	}
}

// join adds what another witness knows.
func (w *witness) join(other *witness) {
	other.mu.Lock()
	defer other.mu.Unlock()
	for secret, what := range other.secrets {
		w.note(what, secret)
	}
}

// output is what something has written.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// spanText is all that spans say.
func spanText(spans tracetest.SpanStubs) string {
	var b strings.Builder
	for _, s := range spans {
		_, _ = fmt.Fprintf(&b, "%s %v %q\n", s.Name, s.Status, s.Attributes)
		for _, e := range s.Events {
			_, _ = fmt.Fprintf(&b, "  %s %q\n", e.Name, e.Attributes)
		}
	}
	return b.String()
}

// events are those that were published.
type events struct {
	mu   sync.Mutex
	list []core.Event
}

func (e *events) add(event core.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, event)
}

// of returns the events about a grant; "" is for those about the client.
func (e *events) of(grant string) []core.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(e.list), func(event core.Event) bool { return event.Grant != grant })
}

func (e *events) text(t *testing.T) string {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	text, err := json.Marshal(e.list)
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

func TestSearchFindsWhatIsPlanted(t *testing.T) {
	w := newWitness()
	w.note("a refresh token", "3AAABLbl-sandbox-secret*")
	w.note("a state", "short")
	for text, want := range map[string]int{
		"": 0, "nothing": 0, "-sandbox-secret*": 0, "3AAABLbl-sandbox-secret": 1, "x 3AAABLbl-sandbox-secret* y": 1,
		"refresh_token=3AAABLbl-sandbox-secret%2A&": 1, "short": 1, `{"error":"` + faultproxy.Canary + `"}`: 1,
		"short 3AAABLbl-sandbox-secret " + faultproxy.Canary: 3,
	} {
		if got := w.found(text); len(got) != want {
			t.Errorf("in %q are found %v", text, got)
		}
	}
}
