package wire

import (
	"maps"
	"slices"
	"strings"
)

// Names of headers. NATS keeps the case of a name and compares with it.
const (
	HeaderErrorCode   = "Nats-Service-Error-Code" // the code of an error reply
	HeaderError       = "Nats-Service-Error"      // its description
	HeaderMsgID       = "Nats-Msg-Id"             // the id of an event, by which JetStream knows one that it has
	HeaderContentType = "Content-Type"
	HeaderTraceParent = "traceparent"
	HeaderSealTo      = "Esignd-Seal-To"   // on a request: the public curve key to which its answer is sealed
	HeaderSealedBy    = "Esignd-Sealed-By" // on a sealed answer: the public curve key with which it was sealed
)

// Header carries a W3C trace context in the headers of a NATS message: it is a propagation.TextMapCarrier. Names are
// written in lower case, as the W3C has them, and read in any case: the carrier for HTTP does neither right, since NATS
// compares names with their case.
type Header map[string][]string

// Get returns the value of key in whatever case it stands, "" where there is none.
func (h Header) Get(key string) string {
	if v := h[strings.ToLower(key)]; len(v) > 0 {
		return v[0]
	}
	for name, v := range h {
		if len(v) > 0 && strings.EqualFold(name, key) {
			return v[0]
		}
	}
	return ""
}

// Set replaces the values of key, in whatever case it stands.
func (h Header) Set(key, value string) {
	for name := range h {
		if strings.EqualFold(name, key) {
			delete(h, name)
		}
	}
	h[strings.ToLower(key)] = []string{value}
}

// Keys returns the names in order.
func (h Header) Keys() []string { return slices.Sorted(maps.Keys(h)) }

// oneLine makes text fit a header: control characters become spaces.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}
