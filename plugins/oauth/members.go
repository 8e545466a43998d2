package oauth

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// members are the members of a JSON object, by their exact names. Of a name that comes twice the last counts, as with
// most parsers, the vendors' own among them.
type members map[string]json.RawMessage

// parseMembers returns nil where body is not one JSON object.
func parseMembers(body []byte) members {
	var m members
	// Some servers put a byte order mark before their JSON (RFC 8259 §8.1 lets us ignore it).
	if err := json.Unmarshal(bytes.TrimPrefix(body, []byte("\ufeff")), &m); err != nil {
		return nil
	}
	return m
}

// has reports whether the member is there and says something: null, false and the empty string do not.
func (m members) has(name string) bool {
	switch string(m[name]) {
	case "", "null", "false", `""`:
		return false
	}
	return true
}

// text returns a string member without the spaces around it. A member that is absent or null is ""; ok is false where
// it is of another type.
func (m members) text(name string) (s string, ok bool) {
	raw, there := m[name]
	if !there {
		return "", true
	}
	var p *string
	if err := json.Unmarshal(raw, &p); err != nil {
		return "", false
	}
	if p == nil {
		return "", true
	}
	return strings.TrimSpace(*p), true
}

// number returns a member that is a number, or a string that holds one.
func (m members) number(name string) (n float64, ok bool) {
	s := string(m[name])
	if t, isText := m.text(name); isText {
		s = t
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0, false
	}
	return n, true
}

// errorCode returns the error code in lower case: "error" as RFC 6749 §5.2 has it, "error" as an object with the code
// inside, or "code" beside a "message".
func (m members) errorCode() string {
	code, isText := m.text("error")
	if !isText {
		var inner members
		if err := json.Unmarshal(m["error"], &inner); err == nil {
			code = inner.first("error_name", "code")
		}
	}
	if code == "" {
		code = m.first("code")
	}
	return strings.ToLower(code)
}

// zeroCode reports whether the member "code" is 0, or says nothing.
func (m members) zeroCode() bool {
	n, ok := m.number("code")
	return !m.has("code") || ok && n == 0
}

// first returns the first of the members that is a string and not empty.
func (m members) first(names ...string) string {
	for _, name := range names {
		if s, _ := m.text(name); s != "" {
			return s
		}
	}
	return ""
}
