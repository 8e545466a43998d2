package wire

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/esignd/esignd/core"
)

// A live token is asked for far more often than anything else. What is here reads the usual form of that request, and
// writes the reply, in a fraction of the time that reflection takes.

// QuickTokenGet reads a token.get request of the usual form: an object of plain ASCII strings, and of whole seconds. It
// reports false where the request is of another form, or wrong: Decode tells which.
func QuickTokenGet(data []byte) (r TokenGetRequest, ok bool) {
	if len(data) > MaxRequest {
		return r, false
	}
	q := quick{data: data}
	q.expect('{')
	for more := true; more && !q.odd; more = q.another() {
		name := q.text()
		q.expect(':')
		switch string(name) {
		case "grant":
			q.into(&r.Grant)
		case "client":
			q.into(&r.Client)
		case "account":
			q.into(&r.Account)
		case "min_ttl":
			q.odd = q.odd || r.MinTTL != nil
			seconds := q.seconds()
			r.MinTTL = &seconds
		default:
			return r, false
		}
	}
	q.space()
	if q.odd || len(q.data) > 0 || r.check() != nil {
		return r, false
	}
	return r, true
}

// quick reads plain JSON. It gives up, and is odd from then on, where anything is not plain.
type quick struct {
	data []byte
	odd  bool
}

func (q *quick) space() {
	for len(q.data) > 0 && q.data[0] == ' ' {
		q.data = q.data[1:]
	}
}

func (q *quick) expect(c byte) {
	q.space()
	if len(q.data) == 0 || q.data[0] != c {
		q.odd = true
		return
	}
	q.data = q.data[1:]
}

// another reports whether a comma follows, else the object has to end.
func (q *quick) another() bool {
	q.space()
	if len(q.data) > 0 && q.data[0] == ',' {
		q.data = q.data[1:]
		return true
	}
	q.expect('}')
	return false
}

// text reads a string without escapes and of ASCII alone.
func (q *quick) text() []byte {
	q.expect('"')
	for i, c := range q.data {
		if c == '"' {
			s := q.data[:i]
			q.data = q.data[i+1:]
			return s
		}
		if c < ' ' || c >= 0x7f || c == '\\' {
			break
		}
	}
	q.odd = true
	return nil
}

// into reads a string that is not empty into a field that is.
func (q *quick) into(field *string) {
	value := q.text()
	if *field != "" || len(value) == 0 {
		q.odd = true
		return
	}
	*field = string(value)
}

// seconds reads a whole number of few digits.
func (q *quick) seconds() (n int64) {
	q.space()
	digits := 0
	for digits < len(q.data) && '0' <= q.data[digits] && q.data[digits] <= '9' {
		n = 10*n + int64(q.data[digits]-'0')
		digits++
		if digits > 9 {
			break
		}
	}
	if digits == 0 || digits > 9 || digits > 1 && q.data[0] == '0' {
		q.odd = true
		return 0
	}
	q.data = q.data[digits:]
	return n
}

// AppendToken appends what json.Marshal makes of TokenOf(t).
func AppendToken(b []byte, t *core.Token) []byte {
	return appendAfter(appendSeconds(appendBefore(b, t), t), t)
}

// TokenText keeps the text of one token, of which only the seconds that are left change from one reply to the next. The
// zero value keeps none. It is not for concurrent use.
type TokenText struct {
	of     core.Token
	text   []byte
	before int // of text, the part before the seconds
}

// AppendTo appends what AppendToken does. It writes the text anew where t is not the token that it keeps.
func (x *TokenText) AppendTo(b []byte, t *core.Token) []byte {
	if len(x.text) == 0 || !sameText(&x.of, t) {
		x.text = appendBefore(x.text[:0], t)
		x.before = len(x.text)
		x.text = appendAfter(x.text, t)
		x.of = *t
	}
	b = appendSeconds(append(b, x.text[:x.before]...), t)
	return append(b, x.text[x.before:]...)
}

// Size is how many bytes are kept.
func (x *TokenText) Size() int { return cap(x.text) }

// sameText reports whether two tokens are written alike, but for the seconds.
func sameText(a, b *core.Token) bool {
	return a.Generation == b.Generation && a.Grant == b.Grant && a.Tenant == b.Tenant && a.Client == b.Client && a.Vendor == b.Vendor &&
		a.Account == b.Account && a.AccessToken.Reveal() == b.AccessToken.Reveal() && a.TokenType == b.TokenType &&
		a.ExpiresAt.Equal(b.ExpiresAt) && a.APIBaseURL == b.APIBaseURL && slices.Equal(a.Scope, b.Scope) && slices.Equal(a.Warnings, b.Warnings)
}

func appendBefore(b []byte, t *core.Token) []byte {
	b = appendText(append(b, `{"grant":`...), t.Grant)
	b = appendText(append(b, `,"tenant":`...), t.Tenant)
	b = appendText(append(b, `,"client":`...), t.Client)
	b = appendText(append(b, `,"vendor":`...), t.Vendor)
	b = appendText(append(b, `,"account":`...), t.Account)
	b = appendText(append(b, `,"access_token":`...), t.AccessToken.Reveal())
	b = appendText(append(b, `,"token_type":`...), t.TokenType)
	b = append(b, `,"expires_at":"`...)
	b = t.ExpiresAt.UTC().Truncate(time.Second).AppendFormat(b, time.RFC3339)
	return append(b, `","expires_in":`...)
}

func appendSeconds(b []byte, t *core.Token) []byte {
	return strconv.AppendInt(b, int64(t.ExpiresIn/time.Second), 10)
}

func appendAfter(b []byte, t *core.Token) []byte {
	b = append(b, `,"scope":`...)
	if len(t.Scope) == 1 {
		b = appendText(b, t.Scope[0])
	} else {
		b = appendText(b, TokenOf(core.Token{Scope: t.Scope}).Scope)
	}
	b = appendText(append(b, `,"api_base_url":`...), t.APIBaseURL)
	b = strconv.AppendUint(append(b, `,"generation":`...), t.Generation, 10)
	b = append(b, `,"warnings":[`...)
	for i, w := range t.Warnings {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, string(w))
	}
	return append(b, ']', '}')
}

// appendText appends s as json.Marshal writes a string.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s) // of a string it does not fail
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
