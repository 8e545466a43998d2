package core_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/core"
)

// restored restores records into a store and returns what became of each, by key: "result" or "result: why".
func (w *world) restored(records map[string]core.Record, dry bool) map[string]string {
	w.t.Helper()
	r := core.Restorer{Store: w.cfg.Store, Publisher: w.cfg.Publisher, DryRun: dry}
	out := map[string]string{}
	for key, rec := range records {
		done, err := r.Restore(w.t.Context(), rec)
		if err != nil {
			w.t.Fatalf("restore %s: %v", key, err)
		}
		out[key] = string(done.Result)
		if done.Why != "" {
			out[key] += ": " + done.Why
		}
	}
	return out
}

func (w *world) grantKey() string { return "grant." + core.GrantID(tenant, main, "alice@example.com") }

func TestSnapshotHasWhatABackupIsOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.imported()
		if _, err := w.m.Authorize(t.Context(), core.AuthorizeRequest{Tenant: tenant, Client: main, Account: "bob@example.com"}); err != nil {
			t.Fatal(err)
		}
		var keys []string
		for key, r := range w.records() {
			keys = append(keys, key)
			if key == w.grantKey() && (len(r.Secret) == 0 || r.Time.IsZero()) {
				t.Errorf("the grant is told without tokens or time: %s", r.Public)
			}
		}
		slices.Sort(keys)
		want := []string{"grant." + core.GrantID(tenant, main, "bob@example.com"), w.grantKey(), "client." + main, "key.fingerprint"}
		slices.Sort(want)
		if diff := cmp.Diff(want, keys); diff != "" {
			t.Error(diff)
		}
		stop := errors.New("enough")
		if _, err := core.Snapshot(t.Context(), w.cfg.Store, func(core.Record) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("a snapshot whose reader fails ends with %v", err)
		}
	})
}

// A backup is restored where nothing is: tokens are served on, with what is not known of them, whatever the vendor.
func TestRestoreIntoAnEmptyStore(t *testing.T) {
	for name, rotating := range map[string]bool{"rotating": true, "not rotating": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, lazy, rotates(rotating))
				defer func() { w.close() }()
				w.imported()
				time.Sleep(20 * time.Minute)
				backup := w.records()
				access := w.token().AccessToken
				time.Sleep(10 * time.Minute)
				w.close()
				w.cfg.Store, w.cfg.Timers, w.cfg.Publisher = core.NewMemoryStore(), core.NewMemoryTimers(), core.NewMemoryPublisher(w.events.add)
				want := map[string]string{w.grantKey(): "restored: with outcome_unknown", "key.fingerprint": "restored"}
				if _, ok := backup["client."+main]; ok {
					want["client."+main] = "restored"
				}
				if diff := cmp.Diff(want, w.restored(backup, true)); diff != "" {
					t.Errorf("dry run: %s", diff)
				}
				if n := len(w.records()); n != 0 {
					t.Fatalf("a dry run wrote %d records", n)
				}
				if diff := cmp.Diff(want, w.restored(backup, false)); diff != "" {
					t.Error(diff)
				}
				w.m = w.start()
				calls := w.vendor.refreshes()
				tok := w.token()
				if !tok.AccessToken.Equal(access) || tok.Generation != 2 || !slices.Contains(tok.Warnings, core.WarnOutcomeUnknown) {
					t.Errorf("the token of generation %d is served with %v", tok.Generation, tok.Warnings)
				}
				if left := tok.ExpiresIn; left > 30*time.Minute || left < 29*time.Minute {
					t.Errorf("a token that was issued half an hour ago, for an hour, lives %s more", left)
				}
				// The source lived on and refreshed once after the backup.
				w.vendor.set(func(v *vendor) {
					if rotating {
						clear(v.refresh)
					}
				})
				time.Sleep(time.Hour)
				synctest.Wait()
				if n := w.vendor.refreshes() - calls; n != 1 {
					t.Errorf("the refresh token was presented %d times, want once", n)
				}
				state := core.Active
				if rotating {
					state = core.NeedsReauthorization
				}
				if info := w.grant(); info.State != state {
					t.Errorf("the grant is %s (%s), want %s", info.State, info.Reason, state)
				}
			})
		})
	}
}

// Into a store that has moved on, nothing newer is overwritten.
func TestRestoreKeepsWhatIsNewer(t *testing.T) {
	for name, c := range map[string]struct {
		since func(*world) error
		want  string
		state core.State
	}{
		"nothing happened": {func(*world) error { return nil }, "kept: the store has this generation", core.Active},
		"refreshed": {func(w *world) error {
			_, err := w.m.Refresh(w.t.Context(), w.sel())
			return err
		}, "kept: the store has a later generation", core.Active},
		"revoked": {func(w *world) error {
			_, err := w.m.Revoke(w.t.Context(), w.sel(), "left")
			return err
		}, "kept: revoked since", core.Revoked},
		"forgotten": {func(w *world) error {
			_, err := w.m.Forget(w.t.Context(), w.sel())
			return err
		}, "kept: forgotten since", ""},
		"another consent": {func(w *world) error {
			_, err := w.m.Import(w.t.Context(), core.ImportRequest{Tenant: tenant, Client: main, Account: "alice@example.com",
				RefreshToken: w.vendor.seed("another"), Replace: true})
			return err
		}, "kept: another consent is there", core.Active},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, lazy)
				defer w.close()
				w.imported()
				time.Sleep(10 * time.Minute)
				backup := w.records()
				if err := c.since(w); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				before := w.records()[w.grantKey()]
				done := w.restored(backup, false)
				if done[w.grantKey()] != c.want || done["key.fingerprint"] != "kept: the store has one" {
					t.Errorf("%v, want %q for the grant", done, c.want)
				}
				if after := w.records()[w.grantKey()]; after.Revision != before.Revision {
					t.Errorf("the record was written: %s", after.Public)
				}
			})
		})
	}
}

// What has happened to a grant since the backup is told by its events, where its record is gone.
func TestRestoreOfAGrantThatEndedSinceLeavesItEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, lazy)
		defer func() { w.close() }()
		w.imported()
		time.Sleep(10 * time.Minute)
		backup := w.records()
		if _, err := w.m.Revoke(t.Context(), w.sel(), "left"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.close()
		w.cfg.Store, w.cfg.Timers = core.NewMemoryStore(), core.NewMemoryTimers()
		if got := w.restored(backup, false)[w.grantKey()]; got != "restored: as revoked: it ended after the backup" {
			t.Errorf("the grant: %s", got)
		}
		w.m = w.start()
		if info := w.grant(); info.State != core.Revoked || info.Reason != "left" {
			t.Errorf("the grant is %s (%s)", info.State, info.Reason)
		}
		if r := w.records()[w.grantKey()]; len(r.Secret) != 0 {
			t.Error("the tokens of a revoked grant came back")
		}
	})
}

// A claim of a last try that was in the backup is spent there too.
func TestRestoreOfALastTryThatWasUnderWayIsNotAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, lazy, rotates(true))
		defer func() { w.close() }()
		w.imported()
		time.Sleep(10 * time.Minute)
		backup := w.records()
		var public map[string]any
		r := backup[w.grantKey()]
		if err := json.Unmarshal(r.Public, &public); err != nil {
			t.Fatal(err)
		}
		public["uncertain"] = true
		public["attempt"] = map[string]any{"id": "a", "owner": "gone/1", "duration": 15 * time.Second, "generation": 1, "last_try": true}
		r.Public, _ = json.Marshal(public)
		backup[w.grantKey()] = r
		w.close()
		w.cfg.Store, w.cfg.Timers = core.NewMemoryStore(), core.NewMemoryTimers()
		w.restored(backup, false)
		calls := w.vendor.refreshes()
		w.m = w.start()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if info := w.grant(); info.State != core.NeedsReauthorization || info.Reason != core.ReasonOutcomeUnknown {
			t.Errorf("the grant is %s (%s)", info.State, info.Reason)
		}
		if n := w.vendor.refreshes() - calls; n != 0 {
			t.Errorf("the refresh token was presented %d times", n)
		}
	})
}

func TestRestoreSkipsWhatItDoesNotKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		for key, want := range map[string]string{
			"shape.x":    "skipped: this esignd does not know such records",
			"grant.g_1":  "skipped: record grant.g_1 has format 9 and this esignd reads up to 2; run a newer one: core: the record is damaged or sealed with another key",
			"client.new": "skipped: record client.new has format 9 and this esignd reads up to 2; run a newer one: core: the record is damaged or sealed with another key",
		} {
			got := w.restored(map[string]core.Record{key: {Key: key, Public: []byte(`{"format":9,"id":"g_1"}`)}}, false)[key]
			if got != want {
				t.Errorf("%s: %s\nwant %s", key, got, want)
			}
		}
	})
}
