package core_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/core"
)

// unsureStore fails writes that lose says to; those of them that it keeps are in the store all the same.
type unsureStore struct {
	core.Store
	mu   sync.Mutex
	lose func(core.Record) (lose, keep bool) // guarded by mu
}

func (s *unsureStore) losing(lose func(core.Record) (bool, bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lose = lose
}

func (s *unsureStore) Put(ctx context.Context, r core.Record) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lose, keep := false, true
	if s.lose != nil {
		lose, keep = s.lose(r)
	}
	if !keep {
		return 0, errors.New("no acknowledgement")
	}
	rev, err := s.Store.Put(ctx, r)
	if lose {
		return 0, errors.New("no acknowledgement")
	}
	return rev, err
}

func TestTransitionWhoseAcknowledgementIsLostIsToldOnce(t *testing.T) {
	for name, keep := range map[string]bool{"and it was written": true, "and it was not": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told transitions
				store := &unsureStore{Store: core.NewMemoryStore()}
				w := newWorld(t, told.hook, lazy, func(c *core.Config) { c.Store = store })
				w.imported()
				time.Sleep(2 * time.Second)
				lost := 0
				store.losing(func(r core.Record) (bool, bool) { // the commit of a refresh
					if !strings.HasPrefix(r.Key, "grant.") || !strings.Contains(string(r.Public), `"generation":2`) || lost > 0 {
						return false, true
					}
					lost++
					return true, keep
				})
				if tok, err := w.m.Refresh(t.Context(), w.sel()); err != nil || tok.Generation != 2 {
					t.Fatalf("generation %d, %v", tok.Generation, err)
				}
				synctest.Wait()                                 // what comes after a refresh writes too, and would take the revocation's place
				store.losing(func(r core.Record) (bool, bool) { // a revocation, of which its caller hears nothing good
					revoked := strings.Contains(string(r.Public), `"state":"revoked"`) && lost < 2
					if revoked {
						lost++
					}
					return revoked, !revoked || keep
				})
				if _, err := w.m.Revoke(t.Context(), w.sel(), "because"); !errors.Is(err, core.TemporarilyUnavailable) {
					t.Errorf("revoke: %v", err)
				}
				synctest.Wait()
				want := []string{
					" -> active, generation 1, token.issued imported, rotated",
					"active -> active, generation 2, token.issued refreshed, rotated",
				}
				if keep {
					want = append(want, "active -> revoked, generation 2,  because")
				}
				w.close()
				if diff := cmp.Diff(want, told.lines()); diff != "" || lost != 2 {
					t.Errorf("%d acknowledgements were lost:\n%s", lost, diff)
				}
			})
		})
	}
}

func TestEachReplicaTellsItsOwnTransitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first, second transitions
		w := newWorld(t, first.hook)
		defer w.close()
		w.cfg.Hooks.Transition = second.tell
		other := w.another()
		w.imported()
		if _, err := other.Revoke(t.Context(), w.sel(), "because"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if a, b := first.lines(), second.lines(); len(a) != 1 || len(b) != 1 || !strings.Contains(b[0], "active -> revoked") {
			t.Errorf("told %q and %q", a, b)
		}
	})
}
