package core_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esignd/esignd/core"
)

func TestForgetDuringTheExchangeIsNotUndoneByIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		visit := w.visit(w.authorize().ConnectURL)
		hold := make(chan struct{})
		w.vendor.set(func(v *vendor) { v.after = func(context.Context, core.TokenRequest) error { <-hold; return nil } })
		var wait sync.WaitGroup
		wait.Go(func() {
			_, _ = w.m.Callback(t.Context(), core.CallbackAnswer{Client: main, Cookie: visit.Cookie, Params: answerTo(t, visit.RedirectURL, "code")})
		})
		synctest.Wait()
		if _, err := w.m.Forget(t.Context(), w.sel()); err != nil {
			t.Fatal(err)
		}
		close(hold)
		wait.Wait()
		synctest.Wait()
		if info, err := w.m.Grant(t.Context(), w.sel()); err == nil {
			t.Errorf("state %s after forget: a commit never revives", info.State)
		}
		w.vendor.set(func(v *vendor) {
			if len(v.refresh) != 0 {
				t.Errorf("%d refresh tokens live on at the vendor", len(v.refresh))
			}
		})
	})
}

func TestLateTokenSetOfAForgottenGrantIsEndedAtTheVendor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.imported()
		time.Sleep(5 * time.Second)
		hold := make(chan struct{})
		w.vendor.set(func(v *vendor) { v.after = func(context.Context, core.TokenRequest) error { <-hold; return nil } })
		var wait sync.WaitGroup
		wait.Go(func() { _, _ = w.m.Refresh(t.Context(), w.sel()) })
		synctest.Wait()
		if _, err := w.m.Forget(t.Context(), w.sel()); err != nil {
			t.Fatal(err)
		}
		close(hold)
		wait.Wait()
		synctest.Wait()
		w.vendor.set(func(v *vendor) {
			if len(v.refresh) != 0 {
				t.Errorf("%d refresh tokens of a forgotten grant live on at the vendor", len(v.refresh))
			}
		})
	})
}
