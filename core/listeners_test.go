package core_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esignd/esignd/core"
)

func TestWatchHearsWhatItsManagerPublishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ctx, cancel := context.WithCancel(t.Context())
		heard, ended := &events{}, make(chan error, 3)
		watch := func(ctx context.Context, fn func(core.Event) error) { go func() { ended <- w.m.Watch(ctx, fn) }() }
		listen := func(e core.Event) error { heard.add(e); return nil }
		enough := errors.New("enough")
		watch(ctx, listen)
		watch(t.Context(), func(core.Event) error { return enough })
		synctest.Wait()
		w.imported()
		synctest.Wait()
		if err := <-ended; !errors.Is(err, enough) {
			t.Errorf("got %v, want the function's error", err)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the context's error", err)
		}
		watch(t.Context(), listen)
		synctest.Wait()
		if _, err := w.m.Revoke(t.Context(), w.sel(), "because"); err != nil {
			t.Error(err)
		}
		w.close()
		if err := <-ended; !errors.Is(err, core.TemporarilyUnavailable) {
			t.Errorf("got %v, want that the Manager is closed", err)
		}
		if got := fmt.Sprint(heard.types()); got != "[token.issued imported token.revoked because]" {
			t.Error(got)
		}
	})
}

func TestWatchThatDoesNotKeepUpIsToldSo(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	entered, free, ended := make(chan struct{}, 1), make(chan struct{}), make(chan error, 1)
	heard := 0
	go func() {
		ended <- w.m.Watch(t.Context(), func(core.Event) error {
			if heard++; heard == 1 {
				entered <- struct{}{}
				<-free
			}
			return nil
		})
	}()
	publish := func(i int) {
		_, err := w.m.Import(t.Context(), core.ImportRequest{Tenant: tenant, Client: main, Account: "alice@example.com", Replace: true,
			RefreshToken: core.NewSecret(fmt.Sprint("refresh ", i)), AccessToken: core.NewSecret(fmt.Sprint("access ", i))})
		if err != nil {
			t.Fatal(err)
		}
	}
	const room = 4096
	n := 0
	for listening := false; !listening; n++ { // another each time: the same import again publishes nothing
		publish(n)
		select {
		case <-entered:
			listening = true
		case <-time.After(time.Millisecond):
		}
	}
	for i := range room + 1 {
		publish(n + i)
	}
	close(free)
	if err := <-ended; !errors.Is(err, core.ErrBehind) || heard < room+1 {
		t.Errorf("after %d events: %v", heard, err)
	}
}

func TestListenerHearsFromItsBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		all := w.m.Listen(nil)
		revocations := w.m.Listen(func(e core.Event) bool { return e.Type == core.TokenRevoked })
		w.imported()
		if _, err := w.m.Revoke(t.Context(), w.sel(), ""); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		revocations.Close()
		w.imported()
		synctest.Wait()
		w.close() // what was heard before comes first
		for l, want := range map[*core.Listener][]core.EventType{
			all: {core.TokenIssued, core.TokenRevoked, core.TokenIssued}, revocations: {core.TokenRevoked},
		} {
			for _, typ := range want {
				if e, err := l.Next(t.Context()); err != nil || e.Type != typ {
					t.Fatalf("%s %v, want %s", e.Type, err, typ)
				}
			}
			if e, err := l.Next(t.Context()); !errors.Is(err, core.TemporarilyUnavailable) {
				t.Errorf("%s %v, want that the Manager is closed", e.Type, err)
			}
		}
	})
}
