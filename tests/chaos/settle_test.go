//go:build heavy && linux

package chaos

import (
	"errors"
	"slices"
	"time"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
)

// settleWithin is how long everything may take to come to rest once nothing is ended any more: an event that is owed is
// paid when it is older than a claim, a lost timer is found by the second sweep, and a grant whose refreshes failed many
// times in a row is tried again after five minutes and a half at the most.
const settleWithin = 6 * time.Minute

// settle proves what became of each grant: that it lives, by a refresh and a call of the vendor's API, or that its owner
// is needed. Then it reads the events, until none is missing.
func (a *arena) settle() row {
	a.t.Helper()
	calm := time.Now()
	deadline := calm.Add(settleWithin)
	fates := a.fates(deadline)
	a.rest = time.Since(calm)
	for {
		e, err := a.evidence(fates)
		v := judge(e)
		if err == nil && v.missing == 0 || time.Now().After(deadline) {
			if err != nil {
				a.t.Errorf("read the events: %v", err)
			}
			return a.row(v)
		}
		pause(a.t.Context(), time.Second)
	}
}

// fate is what was found out of a grant, and when that began.
type fate struct {
	state core.State
	asked time.Time
}

// fates asks for every grant until its fate is known.
func (a *arena) fates(deadline time.Time) map[string]fate {
	cl := a.client(5 * time.Second)
	fates := map[string]fate{}
	for len(fates) < len(a.accounts) && time.Now().Before(deadline) {
		for _, acc := range a.accounts {
			if _, known := fates[acc.grant]; known {
				continue
			}
			asked := time.Now()
			if state := a.state(cl, acc); state != "" {
				fates[acc.grant] = fate{state, asked}
			}
		}
		pause(a.t.Context(), 200*time.Millisecond)
	}
	return fates
}

// state is active for a grant that was refreshed just now, and "" where that is to be asked again.
func (a *arena) state(cl *client.Client, acc *account) core.State {
	h := hand{asked: time.Now()}
	tok, err := cl.Refresh(a.t.Context(), acc.selector())
	h.received = time.Now()
	var e *client.Error
	switch {
	case errors.As(err, &e) && e.Code == client.ReauthorizationRequired:
		if g, err := cl.Grant(a.t.Context(), acc.selector()); err == nil {
			return g.State
		}
		return ""
	case err != nil:
		a.book.failed(err)
		return ""
	}
	a.book.got(tok)
	a.use(a.t.Context(), acc, tok, h)
	if slices.ContainsFunc(tok.Warnings, func(w core.Warning) bool { return w != core.WarnRefreshedRecently }) {
		return ""
	}
	return core.Active
}

// evidence puts together what is known.
func (a *arena) evidence(fates map[string]fate) (evidence, error) {
	events, err := a.events()
	a.book.mu.Lock()
	defer a.book.mu.Unlock()
	e := evidence{events: events, lastTries: a.lastTries(), faults: a.faults, seen: a.book.seen}
	for _, acc := range a.accounts {
		g := grantEvidence{id: acc.grant, rotates: acc.door.rotates, fate: fates[acc.grant]}
		for generation := range a.book.handed[acc.grant] {
			g.handed = max(g.handed, generation)
		}
		g.consents = acc.door.of(acc.email)
		e.grants = append(e.grants, g)
	}
	return e, err
}
