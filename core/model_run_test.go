package core_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/esignd/esignd/core"
)

// run is a schedule while it happens.
type run struct {
	*fleet
	schedule

	mu       sync.Mutex
	machines [2]*replica
	harms    []*step
	crashes  int
	over     bool // nothing goes wrong any more
	ends     []span
	consents []*span
	codes    int
	callers  sync.WaitGroup
}

// span is when a caller's call began and ended; to is zero while it goes on.
type span struct{ from, to time.Time }

// play has the schedule happen and returns which promises were broken.
func play(s schedule) (wrong, trace []string) {
	policy := core.Eager
	if s.lazy {
		policy = core.Lazy
	}
	r := &run{fleet: newFleet(s.rotates, s.lifetime, policy), schedule: s}
	defer func() {
		r.end()
		r.callers.Wait()
	}()
	for i, folder := range []string{"a", "b"} {
		r.boot(i, folder)
	}
	r.do(step{do: "import"})
	time.Sleep(time.Second)
	r.set(r.harm)
	for i := range s.steps {
		time.Sleep(s.steps[i].after)
		r.take(&s.steps[i])
	}
	time.Sleep(10 * time.Second)
	r.recover()
	r.settle()
	wrong = r.broken()
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	r.checkRest(say)
	r.checkEnded(say)
	return wrong, r.trace
}

// boot starts a process on a machine, again and again until one stays.
func (r *run) boot(on int, folder string) {
	for {
		p, err := r.start(folder)
		if err == nil {
			r.mu.Lock()
			r.machines[on] = p
			r.mu.Unlock()
			r.tasks.Go(func() { r.reboot(on, p) })
			return
		}
		time.Sleep(time.Second)
	}
}

// reboot waits for a process to die and starts the next on its machine.
func (r *run) reboot(on int, p *replica) {
	<-p.died
	r.mu.Lock()
	how := r.rests[r.crashes%len(r.rests)]
	r.crashes++
	n := r.crashes
	over := r.over
	r.mu.Unlock()
	if over {
		return
	}
	folder := p.folder
	if how.anew {
		folder = fmt.Sprintf("new%d-", n)
	}
	time.Sleep(how.after)
	r.boot(on, folder)
}

// harm finds the harm that is meant for a place.
func (r *run) harm(p *replica, place string) *trouble {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, h := range r.harms {
		when, _, _ := strings.Cut(place, " ")
		if h.place != place && h.place != when+" any" || r.machines[h.on] != p {
			continue
		}
		if h.nth--; h.nth > 0 {
			continue
		}
		r.harms = slices.Delete(r.harms, i, i+1)
		return &trouble{h.harm, h.d}
	}
	return nil
}

// take begins a step.
func (r *run) take(st *step) {
	if st.harm != "" {
		h := *st
		r.mu.Lock()
		r.harms = append(r.harms, &h)
		r.mu.Unlock()
	}
	r.do(*st)
}

// do has a caller or the world do something on a machine.
func (r *run) do(st step) {
	r.mu.Lock()
	p := r.machines[st.on]
	r.mu.Unlock()
	if st.do == "nothing" || p.dead() {
		return
	}
	r.note("on %s: %s", p.name, st.do)
	until := time.Now().Add(st.d)
	p.mu.Lock()
	switch st.do {
	case "deaf":
		p.deaf = until
	case "dark":
		p.deaf, p.dark = until, until
	}
	p.mu.Unlock()
	if st.do == "die" {
		p.kill("it is told to")
	}
	if st.do == "deaf" || st.do == "dark" || st.do == "die" {
		return
	}
	r.callers.Go(func() { r.call(p, st.do) })
}

// call is a caller's request.
func (r *run) call(p *replica, what string) {
	ctx, cancel := context.WithTimeout(p.ctx, 90*time.Second)
	defer cancel()
	began := time.Now()
	var tok core.Token
	var err error
	switch what {
	case "token":
		tok, err = p.m.Token(ctx, alice, core.DefaultMinTTL)
	case "refresh":
		tok, err = p.m.Refresh(ctx, alice)
	case "report":
		dead := r.now()
		tok, err = p.m.Report(ctx, alice, dead.Generation)
		if err == nil && tok.AccessToken.Reveal() == dead.access && !slices.Contains(tok.Warnings, core.WarnRefreshedRecently) {
			r.complain("%s answers a report with the token that was reported", p.name)
		}
	case "cached":
		tok, _ = p.m.CachedToken(ctx, alice, core.DefaultMinTTL)
	case "import", "connect":
		err = r.consent(ctx, p, what)
	case "revoke", "forget":
		err = r.finish(ctx, p, what)
	}
	if p.dead() {
		return // nobody hears the answer
	}
	if err != nil {
		r.note("on %s: %s: %v", p.name, what, err)
	}
	if !tok.AccessToken.IsZero() {
		r.checkHanded(p, what, tok, began)
	}
}

// consent gives the grant a new consent.
func (r *run) consent(ctx context.Context, p *replica, how string) error {
	s := &span{from: time.Now()}
	r.mu.Lock()
	r.consents = append(r.consents, s)
	r.codes++
	code := fmt.Sprintf("code-%d", r.codes)
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		s.to = time.Now()
		r.mu.Unlock()
	}()
	if how == "import" {
		return p.takeOver(ctx)
	}
	return p.connect(ctx, code)
}

// finish ends the grant.
func (r *run) finish(ctx context.Context, p *replica, how string) error {
	s := span{from: time.Now()}
	var err error
	if how == "forget" {
		_, err = p.m.Forget(ctx, alice)
	} else {
		_, err = p.m.Revoke(ctx, alice, "")
	}
	if err == nil && !p.dead() {
		s.to = time.Now()
		r.mu.Lock()
		r.ends = append(r.ends, s)
		r.mu.Unlock()
	}
	return err
}

// recover ends all trouble: every data folder has a process that works.
func (r *run) recover() {
	r.heal()
	r.mu.Lock()
	for _, p := range r.machines {
		p.mu.Lock()
		p.deaf, p.dark = time.Time{}, time.Time{}
		p.mu.Unlock()
	}
	r.mu.Unlock()
	time.Sleep(150 * time.Second) // whoever is to come back is back
	r.note("all is well from here on")
	used := map[string]bool{}
	r.mu.Lock()
	r.over = true
	for _, p := range r.machines {
		used[p.folder] = true
	}
	r.mu.Unlock()
	for _, folder := range r.folders() {
		if !used[folder] {
			if _, err := r.start(folder); err != nil {
				r.complain("a healthy start failed: %v", err)
			}
		}
	}
}

// settle lets time pass, with callers who ask.
func (r *run) settle() {
	time.Sleep(3 * time.Minute)
	if v := r.now(); v.Attempt != nil || len(v.Debts) > 0 {
		r.complain("three minutes later there is a claim (%v) or a debt (%d)", v.Attempt != nil, len(v.Debts))
	}
	for range 4 {
		time.Sleep(r.lifetime / 2)
		for _, p := range r.machines {
			r.call(p, "token")
		}
	}
	for _, p := range r.machines {
		tok, err := p.m.Token(p.ctx, alice, core.DefaultMinTTL)
		active := r.now().State == core.Active
		if active != (err == nil) {
			r.complain("in the end the grant is %q, and %s answers %v", r.now().State, p.name, err)
		}
		if err == nil && !r.vendor.accepts(tok.AccessToken.Reveal()) {
			r.complain("in the end %s hands out a token that the vendor refuses", p.name)
		}
	}
	// The last answers may have been of a refresh, which pays its debts after it.
	time.Sleep(5 * time.Second)
}

// slack is how long a replica may serve from memory what the store does not hold any more.
const slack = 4500 * time.Millisecond

// checkHanded looks at a token that a caller got: it has not expired, and the store held it a moment ago.
func (r *run) checkHanded(p *replica, what string, tok core.Token, asked time.Time) {
	access := tok.AccessToken.Reveal()
	if r.vendor.expired(access) || !tok.ExpiresAt.After(time.Now().Add(-time.Second)) {
		r.complain("%s answers %s with a token that has expired", p.name, what)
	}
	h := r.history()
	for i, w := range h {
		until := time.Now()
		if i+1 < len(h) {
			until = h[i+1].at
		}
		if w.State == core.Active && w.access == access && w.Generation == tok.Generation && !until.Before(asked.Add(-slack)) {
			return
		}
	}
	r.complain("%s answers %s with generation %d, which the store did not hold then", p.name, what, tok.Generation)
}

// checkEnded: a grant that was ended, and not consented to anew, stays so.
func (r *run) checkEnded(say complaint) {
	if len(r.ends) == 0 {
		return
	}
	last := slices.MaxFunc(r.ends, func(a, b span) int { return a.from.Compare(b.from) })
	for _, c := range r.consents {
		if c.to.IsZero() || !c.to.Before(last.from) {
			return
		}
	}
	if v := r.now(); v.State != core.Revoked && !v.Forgotten {
		say("the grant was ended, and is %q", v.State)
	}
}
