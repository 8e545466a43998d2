package core_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/esignd/esignd/core"
)

// broken lists the promises that what happened in the fleet has broken. It is asked when all is at rest.
func (f *fleet) broken() []string {
	f.mu.Lock()
	wrong := slices.Clone(f.wrong)
	f.mu.Unlock()
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	f.checkWrites(say)
	f.checkEvents(say)
	f.checkPresentations(say)
	f.checkLost(say)
	f.checkRevived(say)
	return wrong
}

type complaint func(format string, args ...any)

// owed lists what a write owes that the one before it did not.
func owed(before, v view) (added []core.Event) {
	for _, e := range v.Debts {
		if !slices.ContainsFunc(before.Debts, func(o core.Event) bool { return o.ID == e.ID }) {
			added = append(added, e)
		}
	}
	return added
}

// checkWrites looks at each step of the grant's record: generations grow one by one, each change of state owes its
// event, and nothing but a new consent makes an ended grant active.
func (f *fleet) checkWrites(say complaint) {
	var before view
	for i, w := range f.history() {
		added := owed(before, w.view)
		has := func(t core.EventType) bool {
			return slices.ContainsFunc(added, func(e core.Event) bool { return e.Type == t && e.Generation == w.Generation })
		}
		switch {
		case w.Generation != before.Generation && w.Generation != before.Generation+1:
			say("write %d: generation %d follows %d", i, w.Generation, before.Generation)
		case (w.Generation == before.Generation+1) != has(core.TokenIssued):
			say("write %d: generation %d follows %d, and owes %v", i, w.Generation, before.Generation, added)
		case w.State == core.NeedsReauthorization && before.State == core.Active && !has(core.GrantReauthorizationRequired):
			say("write %d: the grant ends without a word", i)
		case w.State == core.Active && (before.State == core.Revoked || before.Forgotten) && w.Consent == before.Consent:
			say("write %d: a commit revives a grant that was ended", i)
		}
		before = w.view
	}
}

// checkEvents compares what was owed with what was published: the same, in the same order, each once, and none
// dropped from the record before it was out.
func (f *fleet) checkEvents(say complaint) {
	f.mu.Lock()
	events := slices.Clone(f.events)
	f.mu.Unlock()
	out := map[string]time.Time{}
	var published, due []string
	for _, e := range events {
		if e.Grant == "" {
			continue // of the client
		}
		if _, again := out[e.ID]; again {
			say("event %s %s was published again after the publisher forgot it", e.Type, e.Reason)
			continue
		}
		out[e.ID] = e.at
		published = append(published, fmt.Sprint(e.Type, " ", e.Generation, " ", e.ID))
	}
	expiring := map[string]int{}
	var before view
	for i, w := range f.history() {
		for _, e := range owed(before, w.view) {
			due = append(due, fmt.Sprint(e.Type, " ", e.Generation, " ", e.ID))
			if e.Type == core.TokenExpiring {
				expiring[fmt.Sprint(w.Consent, w.Generation)]++
			}
		}
		for _, e := range owed(w.view, before) { // what the write lets go of
			if at, ok := out[e.ID]; !ok || at.After(w.at) {
				say("write %d lets go of %s, which was not published", i, e.Type)
			}
		}
		before = w.view
	}
	if !slices.Equal(published, due) {
		say("published %v, owed %v", published, due)
	}
	for g, n := range expiring {
		if n > 1 {
			say("token.expiring %d times for %s", n, g)
		}
	}
}

// checkPresentations: where the vendor rotates, a refresh token whose fate is not known is presented once more at most,
// recorded as the last try, and only when the access token is at its end or was reported dead.
func (f *fleet) checkPresentations(say complaint) {
	v := f.vendor
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.rotates {
		return
	}
	calls := slices.SortedStableFunc(slices.Values(v.calls), func(a, b *presentation) int { return a.at.Compare(b.at) })
	patience := min(time.Minute, v.lifetime/6) + time.Second
	for i, p := range calls {
		if p.grant != core.RefreshToken {
			continue
		}
		risky, spent := 0, 0
		for _, q := range calls[:i] {
			if q.token != p.token || q.harmless && !q.done.After(p.at) {
				continue
			}
			risky++
			if q.lastTry {
				spent++
			}
		}
		switch {
		case risky == 0:
		case !p.lastTry:
			say("%s presents %s, whose fate is unknown, without recording it as the last try", p.by.name, p.token)
		case spent > 0:
			say("%s presents %s after its last try", p.by.name, p.token)
		case p.left > patience && !p.reported:
			say("%s makes the last try with %s although the access token lives for %s", p.by.name, p.token, p.left)
		}
	}
}

// safeAfter is how long after an answer a crash may come and nothing is lost: it is committed or on disk by then.
const safeAfter = time.Minute

// checkLost: a refresh token that works at the vendor, and whose answer reached a process that lived on, was written
// to the store at some time, or the vendor was told to end it.
func (f *fleet) checkLost(say complaint) {
	stored := map[string]bool{}
	for _, w := range f.history() {
		stored[w.refresh] = true
	}
	f.vendor.mu.Lock()
	defer f.vendor.mu.Unlock()
	for _, p := range f.vendor.calls {
		c := f.vendor.refresh[p.issued]
		if !p.heard || c == nil || c.ended || c.live != p.issued || stored[p.issued] || f.vendor.ends[p.issued] {
			continue
		}
		p.by.mu.Lock()
		end := p.by.end
		p.by.mu.Unlock()
		if end.IsZero() || end.Sub(p.done) > safeAfter {
			say("%s is lost: %s got it from the vendor, and it is neither stored nor ended", p.issued, p.by.name)
		}
	}
}

// checkRest: nothing is left undone, and the grant is alive in truth or has told its end.
func (f *fleet) checkRest(say complaint) {
	v := f.now()
	if v.Attempt != nil {
		say("a claim is left")
	}
	if len(v.Debts) > 0 {
		say("%d events are owed", len(v.Debts))
	}
	if v.Owed || v.ForgetOwed && !v.Forgotten {
		say("a revocation is left undone")
	}
	switch {
	case v.State == core.Active && !f.vendor.works(v.refresh):
		say("the grant is active and its refresh token is dead at the vendor")
	case v.State == core.Active && !f.vendor.accepts(v.access):
		say("the grant is active and its access token is dead at the vendor")
	case v.State != core.Active && (v.access != "" || v.refresh != ""):
		say("tokens are kept of a grant that is %q", v.State)
	}
}

// checkRevived: a consent for which the vendor was called before the grant was ended does not come after its end.
func (f *fleet) checkRevived(say complaint) {
	f.vendor.mu.Lock()
	called := map[string]time.Time{} // by the refresh token that came of it
	for _, p := range f.vendor.calls {
		token := p.issued
		if token == "" {
			token = p.token
		}
		if _, again := called[token]; !again {
			called[token] = p.at
		}
	}
	f.vendor.mu.Unlock()
	var before view
	var ended time.Time
	for i, w := range f.history() {
		if w.Ends > before.Ends {
			ended = w.at
		}
		if at, ok := called[w.refresh]; ok && w.label == "consent" && at.Before(ended) {
			say("write %d: a consent that was begun before the grant was ended revives it", i)
		}
		before = w.view
	}
}
