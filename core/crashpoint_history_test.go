package core_test

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/esignd/esignd/core"
)

// view is what a grant's record in the store says.
type view struct {
	State      core.State   `json:"state"`
	Reason     string       `json:"reason"`
	Forgotten  bool         `json:"forgotten"`
	Consent    string       `json:"consent"`
	Generation uint64       `json:"generation"`
	Attempt    *viewAttempt `json:"attempt"`
	Uncertain  bool         `json:"uncertain"`
	Owed       bool         `json:"revocation_owed"`
	ForgetOwed bool         `json:"forget_owed"`
	Ends       uint64       `json:"ends"`
	Debts      []core.Event `json:"debts"`

	access, refresh string
}

type viewAttempt struct {
	ID      string `json:"id"`
	LastTry bool   `json:"last_try"`
}

func viewOf(r core.Record) view {
	var v view
	var s struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal(r.Public, &v); err != nil {
		panic(err)
	}
	if len(r.Secret) > 0 {
		if err := json.Unmarshal(r.Secret, &s); err != nil {
			panic(err)
		}
	}
	v.access, v.refresh = s.Access, s.Refresh
	return v
}

// write is one write of the grant's record that the store took.
type write struct {
	view
	at    time.Time
	label string
	by    *replica
}

// labelOf says which step of the protocol a write is.
func labelOf(old, v view) string {
	switch {
	case v.Attempt != nil && (old.Attempt == nil || old.Attempt.ID != v.Attempt.ID):
		return "claim"
	case v.Generation > old.Generation && v.Consent != old.Consent:
		return "consent"
	case v.Generation > old.Generation:
		return "commit"
	case v.Forgotten && !old.Forgotten:
		return "tombstone"
	case v.State == core.Revoked && old.State != core.Revoked:
		return "revocation"
	case old.Owed && !v.Owed:
		return "settlement"
	case old.Attempt != nil && v.Attempt == nil:
		return "outcome"
	case len(v.Debts) < len(old.Debts):
		return "clearing"
	case v.State == core.Pending && old.State != core.Pending:
		return "pending"
	case len(v.Debts) > len(old.Debts):
		return "debt"
	}
	return "other"
}

// label says which step a record that is about to be written is.
func (f *fleet) label(r core.Record) string {
	kind, _, _ := strings.Cut(r.Key, ".")
	if kind != "grant" {
		return kind
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return labelOf(f.lastLocked(), viewOf(r))
}

func (f *fleet) lastLocked() view {
	if len(f.writes) == 0 {
		return view{}
	}
	return f.writes[len(f.writes)-1].view
}

// now returns the grant's record as the store has it.
func (f *fleet) now() view {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lastLocked()
}

// history returns the writes of the grant's record so far.
func (f *fleet) history() []write {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.writes)
}

// publication is one event that subscribers got.
type publication struct {
	core.Event
	at time.Time
}

func (f *fleet) published(e core.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, publication{e, time.Now()})
	f.traceLocked("event %s %s, generation %d", e.Type, e.Reason, e.Generation)
}

// heard lists "type reason" of the events in the order of publication, each once.
func (f *fleet) heard() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ts []string
	seen := map[string]bool{}
	for _, e := range f.events {
		if !seen[e.ID] {
			ts = append(ts, strings.TrimSpace(string(e.Type)+" "+e.Reason))
		}
		seen[e.ID] = true
	}
	return ts
}
