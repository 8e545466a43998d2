package faults

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/sdk/plugintest/faultproxy"
	"github.com/esignd/esignd/tests/witness"
)

// secrets are those that went over the wire, and the vendor's words.
type secrets struct{ *witness.Witness }

func newSecrets() secrets {
	s := secrets{witness.New()}
	s.Note("the vendor's words", faultproxy.Canary)
	return s
}

// search reports secrets in a place. A place that is empty shows nothing.
func (s secrets) search(t *testing.T, place, text string) {
	t.Helper()
	if text == "" {
		t.Errorf("%s: there is nothing to search", place)
	}
	if found := s.Search([]byte(text)); len(found) > 0 {
		t.Errorf("%s: %s", place, strings.Join(found, ", "))
	}
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
