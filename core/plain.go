package core

import (
	"bytes"
	"time"
)

// At the start every record is read, and all but few are of grants that rest. What is here reads those, in the form in
// which this release writes them, in a fraction of the time that reflection takes.

// readPlain reads the public part of the record of a grant that rests into g, but for its id, which it holds to be the
// given one. It reports false where it is not such, and g is then of no use: encoding/json tells more.
func readPlain(public []byte, id string, g *grant) bool {
	p := &plain{rest: public}
	if !p.cut(`{"format":1,"id":"`) || !p.cut(id) || !p.cut(`","tenant":`) {
		return false
	}
	g.Format = grantFormat
	g.Tenant = p.text()
	p.must(`,"client":`).into(&g.Client)
	p.must(`,"vendor":`).into(&g.Vendor)
	p.maybe(`,"account":`, &g.Account)
	g.State = State(p.must(`,"state":`).text())
	p.maybe(`,"reason":`, &g.Reason)
	p.flag(`,"forgotten":true`, &g.Forgotten)
	p.maybe(`,"consent":`, &g.Consent)
	p.time(`,"consented_at":`, &g.ConsentedAt)
	p.time(`,"consent_expires_at":`, &g.ConsentExpiresAt)
	if p.cut(`,"consent_notice":`) {
		g.ConsentNotice = int(p.number())
	}
	g.Generation = p.must(`,"generation":`).count()
	if p.cut(`,"scope":[`) {
		g.Scope = p.texts()
	}
	p.maybe(`,"token_type":`, &g.TokenType)
	p.maybe(`,"api_base_url":`, &g.APIBaseURL)
	p.maybe(`,"account_id":`, &g.AccountID)
	p.duration(`,"lifetime":`, &g.Lifetime)
	p.duration(`,"age":`, &g.Age)
	p.time(`,"issued_at":`, &g.IssuedAt)
	p.duration(`,"commit_age":`, &g.CommitAge)
	p.flag(`,"rotating":true`, &g.Rotating)
	p.flag(`,"uncertain":true`, &g.Uncertain)
	p.flag(`,"restored":true`, &g.Restored)
	p.flag(`,"expiring":true`, &g.Expiring)
	p.maybe(`,"settled":`, &g.Settled)
	p.maybe(`,"revocation_reason":`, &g.RevocationReason)
	if p.cut(`,"ends":`) {
		g.Ends = p.count()
	}
	p.flag(`,"vendor_revoked":true`, &g.VendorRevoked)
	if p.cut(`,"last_event":`) {
		g.LastEvent = EventType(p.text())
	}
	p.time(`,"last_event_at":`, &g.LastEventAt)
	p.must(`}`)
	return !p.odd && len(p.rest) == 0
}

// plain reads JSON as encoding/json writes it of a struct, of ASCII strings that need no escapes. It is odd from where
// anything is otherwise.
type plain struct {
	rest []byte
	odd  bool
}

// cut takes text where it is next.
func (p *plain) cut(text string) bool {
	if len(p.rest) < len(text) || string(p.rest[:len(text)]) != text {
		return false
	}
	p.rest = p.rest[len(text):]
	return true
}

func (p *plain) must(text string) *plain {
	p.odd = !p.cut(text) || p.odd
	return p
}

// raw reads a string.
func (p *plain) raw() []byte {
	if p.must(`"`).odd {
		return nil
	}
	end := bytes.IndexByte(p.rest, '"')
	if end < 0 {
		p.odd = true
		return nil
	}
	s := p.rest[:end]
	p.rest = p.rest[end+1:]
	for _, c := range s {
		if c < ' ' || c >= 0x7f || c == '\\' {
			p.odd = true
		}
	}
	return s
}

func (p *plain) text() string { return string(p.raw()) }

func (p *plain) into(field *string) { *field = p.text() }

func (p *plain) maybe(name string, field *string) {
	if p.cut(name) {
		p.into(field)
	}
}

func (p *plain) flag(text string, field *bool) { *field = p.cut(text) }

// texts reads the rest of an array of strings that has at least one.
func (p *plain) texts() []string {
	list := []string{p.text()}
	for p.cut(`,`) {
		list = append(list, p.text())
	}
	p.must(`]`)
	return list
}

// number reads a whole number that fits 63 bits.
func (p *plain) number() (n int64) {
	digits := 0
	for ; digits < len(p.rest) && '0' <= p.rest[digits] && p.rest[digits] <= '9' && digits < 19; digits++ {
		n = 10*n + int64(p.rest[digits]-'0')
	}
	p.odd = p.odd || digits == 0 || digits > 18 || digits > 1 && p.rest[0] == '0'
	p.rest = p.rest[digits:]
	return n
}

// count reads a number that is not signed where it is kept.
func (p *plain) count() uint64 { return uint64(p.number()) } //nolint:gosec // it has no sign

func (p *plain) duration(name string, field *time.Duration) {
	if p.cut(name) {
		*field = time.Duration(p.number())
	}
}

func (p *plain) time(name string, field *time.Time) {
	if p.cut(name) && field.UnmarshalText(p.raw()) != nil {
		p.odd = true
	}
}
