package core

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// grantFormat is the format of a grant's record that this release writes.
//
// A release reads the formats before its own, and the one after it, so that replicas of two releases work side by side
// while one takes the other's place. A new format adds members to the public part: a release that does not know them
// keeps them, and the record's format, when it writes the record.
const grantFormat = 1

// Kinds of records; a key is the kind and an id.
const (
	kindGrant  = "grant."
	kindClient = "client."
	kindTicket = "ticket."
	kindKey    = "key."
	kindImport = "import."
)

// sealedTokens is the form of the secret part of a grant's record.
type sealedTokens struct {
	Access  string `json:"access_token,omitempty"`
	Refresh string `json:"refresh_token,omitempty"`
	// Imported is the refresh token that an import brought.
	Imported string `json:"imported,omitempty"`
}

// encodeTokens returns the bytes that the Store seals, nil where there is no token.
func encodeTokens(t tokens) ([]byte, error) {
	if t.Access.IsZero() && t.Refresh.IsZero() {
		return nil, nil
	}
	return json.Marshal(sealedTokens{Access: t.Access.Reveal(), Refresh: t.Refresh.Reveal(), Imported: t.Imported.Reveal()})
}

func decodeTokens(b []byte) (tokens, error) {
	var s sealedTokens
	if len(b) > 0 {
		if err := json.Unmarshal(b, &s); err != nil {
			// The text of a JSON error can quote its input.
			return tokens{}, fmt.Errorf("sealed part is not what esignd writes: %w", ErrDamaged)
		}
	}
	return tokens{Access: NewSecret(s.Access), Refresh: NewSecret(s.Refresh), Imported: NewSecret(s.Imported)}, nil
}

// record returns g as the Store keeps it.
func (g *grant) record() (Record, error) {
	if g.brief {
		return Record{}, fmt.Errorf("encode grant %s: its secrets are not in memory", g.ID)
	}
	g.Format = max(g.Format, grantFormat)
	public, err := encodePublic(g, g.unknown)
	if err != nil {
		return Record{}, fmt.Errorf("encode grant %s: %w", g.ID, err)
	}
	secret, err := encodeTokens(g.tokens)
	if err != nil {
		return Record{}, fmt.Errorf("encode grant %s: %w", g.ID, err)
	}
	return Record{Key: kindGrant + g.ID, Public: public, Secret: secret, Revision: g.revision}, nil
}

// decodeGrant reads a grant's record.
func decodeGrant(r Record) (*grant, error) {
	g, err := decodeBrief(r)
	if err != nil {
		return nil, err
	}
	g.brief = false
	if g.tokens, err = decodeTokens(r.Secret); err != nil {
		return nil, fmt.Errorf("record %s: %w", r.Key, err)
	}
	return g, nil
}

// decodeBrief reads a grant's record without its secrets, which takes a third less: at the start there are many.
func decodeBrief(r Record) (*grant, error) {
	id, g := strings.TrimPrefix(r.Key, kindGrant), &grant{}
	if !readPlain(r.Public, id, g) {
		var err error
		g = &grant{}
		if g.unknown, err = decodePublic(r, g, &g.Format, grantFormat); err != nil {
			return nil, err
		}
		if kindGrant+g.ID != r.Key {
			return nil, fmt.Errorf("record %s holds the grant %q: %w", r.Key, g.ID, ErrDamaged)
		}
	}
	g.ID, g.brief = id, true // the id is in memory once
	// What is inside a string of JSON has its quotes escaped.
	if bytes.Contains(r.Secret, []byte(`"access_token":`)) {
		g.tokens.Access = elsewhere
	}
	if bytes.Contains(r.Secret, []byte(`"refresh_token":`)) {
		g.tokens.Refresh = elsewhere
	}
	g.revision, g.time = r.Revision, r.Time
	return g, nil
}

// members are those of a record of the next format that this release does not know.
type members map[string]json.RawMessage

// decodePublic reads the public part of a record into v, a pointer to a struct, and checks that this release can read
// its format: up to the one after newest, which is the one it writes.
func decodePublic(r Record, v any, format *int, newest int) (members, error) {
	if err := json.Unmarshal(r.Public, v); err != nil {
		return nil, fmt.Errorf("record %s is not JSON that esignd writes: %w", r.Key, ErrDamaged)
	}
	if *format < 1 || *format > newest+1 {
		return nil, fmt.Errorf("record %s has format %d and this esignd reads up to %d; run a newer one: %w",
			r.Key, *format, newest+1, ErrDamaged)
	}
	if *format <= newest {
		return nil, nil
	}
	var all members
	if err := json.Unmarshal(r.Public, &all); err != nil {
		return nil, fmt.Errorf("record %s is not JSON that esignd writes: %w", r.Key, ErrDamaged)
	}
	t := reflect.TypeOf(v).Elem()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		delete(all, name)
	}
	return all, nil
}

// encodePublic returns v as the public part of a record, with the members that this release does not know after its own.
func encodePublic(v any, unknown members) ([]byte, error) {
	public, err := json.Marshal(v)
	if err != nil || len(unknown) == 0 {
		return public, err
	}
	rest, err := json.Marshal(unknown)
	if err != nil {
		return nil, err
	}
	return append(append(public[:len(public)-1], ','), rest[1:]...), nil
}

// clone returns a copy that can be changed without touching g.
func (g *grant) clone() *grant {
	c := *g
	c.Scope = slices.Clone(g.Scope)
	c.Debts = slices.Clone(g.Debts)
	if g.Attempt != nil {
		a := *g.Attempt
		c.Attempt = &a
	}
	return &c
}

// tombstone returns what remains of a forgotten grant: its names are gone, its generation stays, so that a commit
// that comes late is recognised as old.
func (g *grant) tombstone() *grant {
	return &grant{ID: g.ID, Forgotten: true, Generation: g.Generation, Ends: g.Ends, Debts: g.Debts, revision: g.revision}
}

// owe adds an event to the grant's debts, with what is known of the grant.
func (g *grant) owe(e Event) {
	e.Tenant, e.Client, e.Vendor, e.Account, e.Grant = g.Tenant, g.Client, g.Vendor, g.Account, g.ID
	e.Generation, e.Scope = g.Generation, slices.Clone(g.Scope)
	if !g.tokens.Access.IsZero() && !g.IssuedAt.IsZero() {
		issued, expires := g.IssuedAt, g.expiresAt()
		e.IssuedAt, e.ExpiresAt = &issued, &expires
	}
	if e.ID == "" {
		e.ID = randomID()
	}
	if g.moved != nil {
		moved := *g.moved
		moved.Event, moved.Reason = e.Type, e.Reason
		g.moved = &moved
	}
	g.Debts = append(g.Debts, e)
	g.LastEvent, g.LastEventAt = e.Type, e.Time
}

// expiresAt is when the access token ends, for people and for clients that keep a clock; esignd decides by age.
func (g *grant) expiresAt() time.Time { return g.IssuedAt.Add(g.Lifetime).Truncate(time.Second) }

// grantIDOf returns the grant id that starts an OAuth state or a ticket: both are "<grant id>.<random>".
func grantIDOf(s string) string {
	id, _, ok := strings.Cut(s, ".")
	if !ok || !strings.HasPrefix(id, "g_") || len(id) != len("g_")+40 {
		return ""
	}
	return id
}
