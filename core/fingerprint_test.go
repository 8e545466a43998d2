package core_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/esignd/esignd/core"
)

func TestDamagedFingerprintKeyDoesNotStopTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.imported()
		w.close()
		w.cfg.Store = damaged{w.cfg.Store}
		m, err := core.New(w.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Start(t.Context()); err != nil {
			t.Fatalf("start: %v", err)
		}
		_ = m.Close(context.Background())
	})
}

type damaged struct{ core.Store }

func (s damaged) Get(ctx context.Context, key string) (core.Record, error) {
	if key == "key.fingerprint" {
		return core.Record{}, core.ErrDamaged
	}
	return s.Store.Get(ctx, key)
}
