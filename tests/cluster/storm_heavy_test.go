//go:build heavy

package cluster

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/tests/system"
)

// callsAtOnce is how many calls to one vendor a replica has under way at most, as docs/scaling.md says.
const callsAtOnce = 64

// claimSettled is what a replica logs that settles another's claim.
const claimSettled = "a claim whose owner is gone was settled"

// storm is many grants whose access tokens end within the same seconds.
type storm struct {
	*fleet
	size    int
	life    time.Duration
	begun   time.Time   // of the imports
	ends    []time.Time // of the access tokens that were imported, by account
	victim  int         // the replica that was killed
	callers *callers
}

// TestStormPresentsEachTokenOnce brings a storm over three replicas, and in its middle kills one of them and the NATS server
// that leads the records. Each refresh token is presented once, but for what the dead replica had under way.
func TestStormPresentsEachTokenOnce(t *testing.T) {
	t.Parallel()
	s := &storm{size: stormSize(t), victim: 1}
	s.life = 25*time.Second + time.Duration(s.size)*40*time.Millisecond
	v := openVendor(t, time.Hour, 200*time.Millisecond, nil)
	s.fleet = startFleet(t, v)
	js := s.operator()
	s.importAll()
	s.callers = s.startCallers(6)

	system.Await(t, 2*s.life, "the storm is in its middle", func() bool { return v.answeredRefreshes() >= s.size*2/5 })
	leader := s.leader(js)
	system.Await(t, time.Minute, "calls of the replica are under way", func() bool { return v.answering(s.victim) > 2 })
	underWay := v.answering(s.victim)
	s.daemons[s.victim].Kill()
	leader.Kill()
	killed := time.Now()
	first, _ := v.span()
	t.Logf("after %s and %d refreshes NATS server %s and replica %d are killed, which has %d calls under way",
		killed.Sub(first).Round(time.Millisecond), v.answeredRefreshes(), leader.Name, s.victim, underWay)

	grants := s.awaitCalm()
	s.callers.stop()
	s.judge(grants)
	s.judgeEvents(js)
	_, last := v.span()
	leader.Start()
	s.daemons[s.victim].Start()
	t.Logf("%d grants in %s; the last token was presented %s after the kill", s.size, last.Sub(first).Round(time.Millisecond),
		last.Sub(killed).Round(time.Millisecond))
}

// importAll has every account's owner consent elsewhere, and brings the tokens to esignd.
func (s *storm) importAll() {
	s.t.Helper()
	services := []*client.Client{s.service(), s.service(), s.service()}
	s.ends = make([]time.Time, s.size)
	s.begun = time.Now()
	var workers errgroup.Group
	workers.SetLimit(24)
	for n := range s.size {
		workers.Go(func() error {
			// All end within an eighth of their life: 28 s where there are 5,000.
			s.ends[n] = s.begun.Add(s.life + rand.N(s.life/8)).Truncate(time.Second)
			return s.bring(services[n%len(services)], n, s.ends[n])
		})
	}
	if err := workers.Wait(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Logf("%d grants imported in %s; their tokens end from %s to %s after that began", s.size,
		time.Since(s.begun).Round(time.Millisecond), s.life, s.life+s.life/8)
}

// awaitCalm waits until each grant was refreshed or has ended, and returns them by account.
func (s *storm) awaitCalm() map[string]client.Grant {
	s.t.Helper()
	cl := s.service()
	var grants map[string]client.Grant
	left := 0
	system.Await(s.t, 2*s.life+2*time.Minute, "each grant was refreshed", func() bool {
		grants, left = map[string]client.Grant{}, 0
		for cursor := ""; ; {
			page, next, err := cl.Grants(s.t.Context(), client.GrantFilter{Client: clientName, Limit: 1000, Cursor: cursor})
			if err != nil {
				return false
			}
			for _, g := range page {
				grants[g.Account] = g
				if g.State == core.Active && g.Generation < 2 {
					left++
				}
			}
			if cursor = next; cursor == "" {
				break
			}
		}
		return left == 0
	})
	return grants
}

// judge holds what was promised of the grants against what the vendor saw.
func (s *storm) judge(grants map[string]client.Grant) {
	s.t.Helper()
	again := s.vendor.again()
	lost, late := 0, 0
	for n := range s.size {
		g, ok := grants[account(n)]
		if !ok {
			s.t.Errorf("%s is gone", account(n))
			continue
		}
		if len(s.vendor.of(g.Account)) == 0 {
			s.t.Errorf("%s was never refreshed", g.Account)
		}
		for _, list := range s.vendor.of(g.Account) {
			if list[0].at.After(s.ends[n]) {
				late++
			}
			if len(list) > 1 {
				s.judgeLastTry(n, list)
			}
		}
		switch {
		case g.State == core.Active && g.Generation == 2:
		case g.State == core.NeedsReauthorization && g.Reason == core.ReasonOutcomeUnknown && again[g.Account] != nil:
			lost++
		default:
			s.t.Errorf("%s is %s (%s) at generation %d, presented %v", g.Account, g.State, g.Reason, g.Generation, s.vendor.of(g.Account))
		}
	}
	theirs, others := s.settled()
	tries := s.said("a refresh token of unknown fate is presented once more")
	if theirs > callsAtOnce || len(again) > theirs+others || len(again) > tries || lost > len(again) {
		s.t.Errorf("%d claims of the dead replica (at most %d may have been under way) and %d others were settled, %d last tries, %d tokens presented again, %d grants lost",
			theirs, callsAtOnce, others, tries, len(again), lost)
	}
	if reused := s.vendor.Stats().RefreshTokensReused; reused > len(again) {
		s.t.Errorf("the vendor refused a spent token %d times", reused)
	}
	s.t.Logf("left by the dead replica: %d claims settled (and %d of others, who were without a leader for longer than a claim lasts), %d tokens presented a second and last time, %d owners to ask again; refreshed after the token's end: %d",
		theirs, others, len(again), lost, late)
	s.judgeLive(grants)
}

// judgeLastTry holds that a token was presented a second time only for what the dead replica left, and only when the access
// token was about to end.
func (s *storm) judgeLastTry(n int, list []presentation) {
	s.t.Helper()
	if _, others := s.settled(); len(list) > 2 || list[0].door != s.victim && others == 0 {
		s.t.Errorf("a token of %s was presented %v, and replica %d was killed", account(n), list, s.victim)
		return
	}
	// The default min_ttl is a sixth of the lifetime, a minute at most; clocks and timers are not exact.
	earliest := s.ends[n].Add(-min(time.Minute, s.ends[n].Sub(s.begun)/6) - 2*time.Second)
	if list[1].at.Before(earliest) {
		s.t.Errorf("a token of %s was presented again %s before its access token's end", account(n), s.ends[n].Sub(list[1].at))
	}
}

// settled counts the claims that were settled by others than their owner: those of the replica that was killed, and others.
func (s *storm) settled() (theirs, others int) {
	s.t.Helper()
	owner := system.Must(os.ReadFile(filepath.Join(s.daemons[s.victim].DataDir, "instance")))(s.t)
	theirs = s.said(claimSettled, `"owner":"`+strings.TrimSpace(string(owner)))
	return theirs, s.said(claimSettled) - theirs
}

// overtaken are the accounts whose claim was settled while its owner lived on: the vendor ends the grant when the token comes
// again, and the owner's answer may be written after that. judgeLastTry holds that there were such claims.
func (s *storm) overtaken() map[string]bool {
	found := map[string]bool{}
	for a, list := range s.vendor.again() {
		if list[0].door != s.victim {
			found[a] = true
		}
	}
	return found
}

// judgeLive asks for each token and has the vendor take it.
func (s *storm) judgeLive(grants map[string]client.Grant) {
	s.t.Helper()
	cl, overtaken := s.service(), s.overtaken()
	var workers errgroup.Group
	workers.SetLimit(16)
	for n := range s.size {
		if grants[account(n)].State != core.Active {
			continue
		}
		workers.Go(func() error {
			tok, err := cl.Token(s.t.Context(), selector(n))
			if err != nil {
				return err
			}
			if live, err := s.vendor.live(tok.AccessToken.Reveal()); err != nil || !live && !overtaken[account(n)] {
				s.t.Errorf("the vendor does not take the token of %s: %v", account(n), err)
			}
			return nil
		})
	}
	if err := workers.Wait(); err != nil {
		s.t.Error(err)
	}
	again := s.vendor.again()
	for _, a := range s.callers.refused {
		if again[a] == nil { // the vendor ends a grant whose spent token comes back
			s.t.Errorf("a token of %s was handed out that the vendor does not take", a)
		}
	}
	s.t.Logf("%d tokens were handed out meanwhile, none of them expired; %d requests were told to ask again, the longest wait for an answer was %s",
		s.callers.served.Load(), s.callers.told.Load(), time.Duration(s.callers.longest.Load()).Round(time.Millisecond))
}
