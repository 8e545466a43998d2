package core

import (
	"hash/maphash"
	"math"
	"strings"
	"time"
	"unique"
)

// elsewhere stands for tokens that are in the store and not in memory. A grant that holds it is brief.
var elsewhere = NewSecret("in the store")

// brief is what is kept in memory of a grant that rests: all that is needed to plan, to list and to find it, and none
// of its secrets and its id, under which it is kept. It is not changed once it is made. There may be a million: its
// size, of a class of Go's allocator, is a test.
type brief struct {
	common              unique.Handle[common]
	account             string
	accountID           *string // nil: none
	revision            uint64
	generation          uint64
	consent             uint64 // a hash
	lifetime, age       time.Duration
	seen                time.Duration // since the cache was made
	issued, consentEnds int64         // Unix nanoseconds; 0: none
	lastEventAt         int64
	ends                uint32
	caughtUp            bool
}

// common is what many grants have alike. They share it.
type common struct {
	tenant, client, vendor string
	state                  State
	reason                 string
	forgotten              bool
	consentNotice          int
	scope                  string // parted by newlines
	tokenType, apiBaseURL  string
	rotating, uncertain    bool
	restored               bool
	expiring               bool
	vendorRevoked          bool
	access, refresh        bool // whether there are such tokens
	lastEvent              EventType
}

// rests reports whether a brief says of g what is needed: nothing is owed, claimed or failing.
func (g *grant) rests() bool {
	return g.Ends <= math.MaxUint32 && len(g.Debts) == 0 && g.Attempt == nil && g.Failures == failures{} && !g.RevocationOwed && !g.ForgetOwed
}

// briefly returns a copy of g without its secrets. It is for what may be seen of a grant, and is not written.
func (g *grant) briefly() *grant {
	c := *g
	c.brief, c.tokens = true, tokens{}
	if !g.tokens.Access.IsZero() {
		c.tokens.Access = elsewhere
	}
	if !g.tokens.Refresh.IsZero() {
		c.tokens.Refresh = elsewhere
	}
	return &c
}

// briefOf returns the brief of an entry's grant. Times count from epoch.
func briefOf(e *entry, epoch time.Time, seed maphash.Seed) *brief {
	g := e.g
	b := &brief{
		common: unique.Make(common{
			tenant: g.Tenant, client: g.Client, vendor: g.Vendor, state: g.State, reason: g.Reason, forgotten: g.Forgotten,
			consentNotice: g.ConsentNotice, scope: strings.Join(g.Scope, "\n"), tokenType: g.TokenType, apiBaseURL: g.APIBaseURL,
			rotating: g.Rotating, uncertain: g.Uncertain, restored: g.Restored, expiring: g.Expiring, vendorRevoked: g.VendorRevoked,
			access: !g.tokens.Access.IsZero(), refresh: !g.tokens.Refresh.IsZero(), lastEvent: g.LastEvent,
		}),
		account: g.Account, revision: g.revision, generation: g.Generation,
		ends:    uint32(g.Ends), //nolint:gosec // a grant that rests has one that fits
		consent: maphash.String(seed, g.Consent), lifetime: g.Lifetime, age: e.age, seen: e.seen.Sub(epoch),
		issued: unixNano(g.IssuedAt), consentEnds: unixNano(g.ConsentExpiresAt), lastEventAt: unixNano(g.LastEventAt), caughtUp: e.caughtUp,
	}
	if g.AccountID != "" {
		id := g.AccountID // g itself is not to be held
		b.accountID = &id
	}
	return b
}

// into writes what b says of a grant into an entry with a grant of its own, but for the scope.
func (b *brief) into(e *entry, id string, epoch time.Time) {
	c := b.common.Value()
	*e.g = grant{
		brief: true, ID: id, Tenant: c.tenant, Client: c.client, Vendor: c.vendor, Account: b.account,
		State: c.state, Reason: c.reason, Forgotten: c.forgotten, ConsentNotice: c.consentNotice, TokenType: c.tokenType,
		APIBaseURL: c.apiBaseURL, Rotating: c.rotating, Uncertain: c.uncertain, Restored: c.restored, Expiring: c.expiring,
		VendorRevoked: c.vendorRevoked, LastEvent: c.lastEvent, Generation: b.generation, Ends: uint64(b.ends), Lifetime: b.lifetime,
		Age: b.age, IssuedAt: fromUnixNano(b.issued), ConsentExpiresAt: fromUnixNano(b.consentEnds),
		LastEventAt: fromUnixNano(b.lastEventAt), revision: b.revision,
	}
	if b.accountID != nil {
		e.g.AccountID = *b.accountID
	}
	if c.access {
		e.g.tokens.Access = elsewhere
	}
	if c.refresh {
		e.g.tokens.Refresh = elsewhere
	}
	e.age, e.seen = b.age, epoch.Add(b.seen)
	e.first, e.caughtUp = e.seen, b.caughtUp
}

// entry returns what b says of a grant as an entry.
func (b *brief) entry(id string, epoch time.Time) *entry {
	e := &entry{g: &grant{}}
	b.into(e, id, epoch)
	if scope := b.common.Value().scope; scope != "" {
		e.g.Scope = strings.Split(scope, "\n")
	}
	return e
}

func unixNano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromUnixNano(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
