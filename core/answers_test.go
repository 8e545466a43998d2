package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/esignd/esignd/core"
)

// rewrite changes the public part of the account's record in the store, as another version or a fault would.
func (w *world) rewrite(change func(map[string]any)) {
	w.t.Helper()
	key := "grant." + core.GrantID(tenant, main, "alice@example.com")
	rec, err := w.cfg.Store.Get(w.t.Context(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	fields := map[string]any{}
	if err := json.Unmarshal(rec.Public, &fields); err != nil {
		w.t.Fatal(err)
	}
	change(fields)
	if rec.Public, err = json.Marshal(fields); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.cfg.Store.Put(context.Background(), rec); err != nil {
		w.t.Fatal(err)
	}
}

func TestGrantThatAwaitsConfirmationIsTemporarilyUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.imported()
		w.rewrite(func(f map[string]any) { f["state"] = core.AwaitingConfirmation })
		synctest.Wait()
		_, err := w.m.Token(t.Context(), w.sel(), core.DefaultMinTTL)
		var e *core.Error
		if !errors.As(err, &e) || e.Code != core.TemporarilyUnavailable || e.Reason != "awaiting_confirmation" || e.RetryAfter == 0 {
			t.Errorf("got %v", err)
		}
	})
}

func TestDamagedRecordIsKeptAsideAndTheRestStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.imported()
		w.rewrite(func(f map[string]any) { f["format"] = 99 })
		w.close()
		w.m = w.start()
		defer w.close()
		if _, err := w.m.Token(t.Context(), w.sel(), core.DefaultMinTTL); !errors.Is(err, core.ServerError) {
			t.Errorf("the damaged grant: %v, want server_error", err)
		}
		if _, err := w.m.Token(t.Context(), core.Selector{Tenant: tenant, Client: robot}, core.DefaultMinTTL); err != nil {
			t.Errorf("another grant: %v", err)
		}
		rec, err := w.cfg.Store.Get(t.Context(), "grant."+core.GrantID(tenant, main, "alice@example.com"))
		if err != nil || len(rec.Secret) == 0 {
			t.Errorf("the damaged record is not as it was: %d bytes of secret, %v", len(rec.Secret), err)
		}
	})
}

func TestUnsupportedGrantTypeIsUnsupported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vendorIs(func(v *vendor) { v.meta.GrantTypes = []core.GrantType{core.AuthorizationCode, core.RefreshToken} }))
		defer w.close()
		if _, err := w.m.Token(t.Context(), core.Selector{Tenant: tenant, Client: robot}, core.DefaultMinTTL); !errors.Is(err, core.Unsupported) {
			t.Errorf("got %v", err)
		}
	})
}
