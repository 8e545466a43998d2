package core_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/esignd/esignd/core"
)

// visitedStore lets a visit come in between, where a ticket is deleted.
type visitedStore struct {
	core.Store
	visit func() error
}

func (s *visitedStore) Delete(ctx context.Context, key string, revision uint64) error {
	if visit := s.visit; visit != nil && strings.HasPrefix(key, "ticket.") {
		s.visit = nil
		if err := visit(); err != nil {
			return err
		}
	}
	return s.Store.Delete(ctx, key, revision)
}

// TestVisitDoesNotKeepASpentLinkOpen is whoever has the link and opens it just when its owner has connected.
func TestVisitDoesNotKeepASpentLinkOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &visitedStore{Store: core.NewMemoryStore()}
		w := newWorld(t, func(c *core.Config) { c.Store = store })
		defer w.close()
		link := w.authorize().ConnectURL
		v := w.visit(link)
		var other core.Visit
		store.visit = func() (err error) {
			other, err = w.m.Visit(t.Context(), ticketOf(t, link))
			return err
		}
		r, err := w.m.Callback(t.Context(), core.CallbackAnswer{Client: main, Cookie: v.Cookie, Params: answerTo(t, v.RedirectURL, "code")})
		if err != nil || r.Status != "connected" || store.visit != nil {
			t.Fatalf("%+v, %v", r, err)
		}
		if _, err := w.m.Visit(t.Context(), ticketOf(t, link)); !errors.Is(err, core.NotFound) {
			t.Errorf("the spent link: %v", err)
		}
		late := core.CallbackAnswer{Client: main, Cookie: other.Cookie, Params: answerTo(t, other.RedirectURL, "other")}
		if r, err := w.m.Callback(t.Context(), late); err == nil {
			t.Errorf("the visit that came in between connects: %+v", r)
		}
	})
}
