package esignd

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	// remembered is how many tokens a guard looks for: those that were handed out last.
	remembered = 4096
	// key is how many bytes of the end of a form find it. A shorter form is looked for by nobody.
	key = 8
	// redacted stands where a token stood.
	redacted = "[redacted]"
)

// guard finds the tokens that this process was given. It may be used from many goroutines.
type guard struct {
	mu    sync.RWMutex
	forms map[uint64][]string // by their last bytes, which are random where the first are a name
	order []string            // the tokens, from the oldest
}

func newGuard() *guard { return &guard{forms: map[uint64][]string{}} }

// note remembers a token.
func (g *guard) note(token string) {
	if len(token) < key {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if slices.Contains(g.forms[tail(token)], token) {
		return
	}
	for _, f := range forms(token) {
		g.forms[tail(f)] = append(g.forms[tail(f)], f)
	}
	g.order = append(g.order, token)
	if len(g.order) > remembered {
		g.forget(g.order[0])
		g.order = g.order[1:]
	}
}

func (g *guard) forget(token string) {
	for _, f := range forms(token) {
		left := slices.DeleteFunc(g.forms[tail(f)], func(one string) bool { return one == f })
		if g.forms[tail(f)] = left; len(left) == 0 {
			delete(g.forms, tail(f))
		}
	}
}

// find returns where the first token is in b, from and to, and whether there is one.
func (g *guard) find(b []byte) (from, to int, found bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for to = key; to <= len(b); to++ {
		for _, f := range g.forms[binary.LittleEndian.Uint64(b[to-key:])] {
			if bytes.HasSuffix(b[:to], []byte(f)) {
				return to - len(f), to, true
			}
		}
	}
	return 0, 0, false
}

func (g *guard) has(b []byte) bool {
	_, _, found := g.find(b)
	return found
}

// redact returns s without the tokens.
func (g *guard) redact(s string) string {
	for {
		from, to, found := g.find([]byte(s))
		if !found {
			return s
		}
		s = s[:from] + redacted + s[to:]
	}
}

func tail(form string) uint64 { return binary.LittleEndian.Uint64([]byte(form[len(form)-key:])) }

// inner is what is between the quotes.
func inner(quoted string) string { return quoted[1 : len(quoted)-1] }

// forms are those in which a token can stand in a payload or a text: as it is, escaped, in base64 and in hexadecimal.
func forms(token string) []string {
	escaped, _ := json.Marshal(token) // a string can be marshalled
	all := []string{token, url.QueryEscape(token), url.PathEscape(token), inner(string(escaped)), inner(strconv.Quote(token))}
	digits := hex.EncodeToString([]byte(token))
	all = append(all, digits, strings.ToUpper(digits))
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			// What the characters at both ends are depends on the token's neighbours.
			encoded := encoding.EncodeToString(append(make([]byte, before), token...))
			all = append(all, encoded[(before*8+5)/6:(before+len(token))*8/6])
		}
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(f string) bool { return len(f) < key })
}
