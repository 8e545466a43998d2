package core_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esignd/esignd/core"
)

func TestNewCredentialsResumeASuspendedClientAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.imported()
		w.vendor.set(func(v *vendor) {
			v.before = func(_ context.Context, r core.TokenRequest) error {
				if r.Client.ClientSecret.Reveal() == "new" {
					return nil
				}
				return &core.VendorError{Outcome: core.Refused, Code: core.CodeInvalidClient, Status: 401}
			}
		})
		time.Sleep(70 * time.Minute)
		w.close()
		w.cfg.Clients[0].ClientSecret = core.NewSecret("new")
		w.m = w.start()
		defer w.close()
		if tok := w.token(); tok.Generation != 2 {
			t.Errorf("generation %d", tok.Generation)
		}
		synctest.Wait()
		if !slices.Contains(w.events.types(), "client.resumed") {
			t.Errorf("events %v", w.events.types())
		}
	})
}
