package bus

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// breakAudit are ways in which a stream that was there takes no more, each with its repair.
var breakAudit = map[string]func(t *testing.T, js jetstream.JetStream) (repair func()){
	"full": func(t *testing.T, js jetstream.JetStream) func() {
		updateAudit(t, js, func(c *jetstream.StreamConfig) { c.MaxBytes = 1 })
		return func() { updateAudit(t, js, func(c *jetstream.StreamConfig) { c.MaxBytes = -1 }) }
	},
	"sealed": func(t *testing.T, js jetstream.JetStream) func() {
		updateAudit(t, js, func(c *jetstream.StreamConfig) { c.Sealed = true })
		return func() { recreateAudit(t, js)() }
	},
	"gone": func(t *testing.T, js jetstream.JetStream) func() {
		return recreateAudit(t, js)
	},
}

// recreateAudit removes the stream, and returns what makes it anew.
func recreateAudit(t *testing.T, js jetstream.JetStream) func() {
	t.Helper()
	s, err := js.Stream(testContext(t), wire.AuditStream)
	if err == nil {
		err = js.DeleteStream(testContext(t), wire.AuditStream)
	}
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.Sealed, cfg.DenyDelete, cfg.DenyPurge, cfg.AllowRollup = false, true, true, false
	return func() {
		if _, err := js.CreateStream(testContext(t), cfg); err != nil {
			t.Fatal(err)
		}
	}
}

func updateAudit(t *testing.T, js jetstream.JetStream, change func(*jetstream.StreamConfig)) {
	t.Helper()
	s, err := js.Stream(testContext(t), wire.AuditStream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	change(&cfg)
	if _, err := js.UpdateStream(testContext(t), cfg); err != nil {
		t.Fatal(err)
	}
}

// wantHeldBack asks for a token and wants the answer that there is none without the audit.
func wantHeldBack(t *testing.T, what string, err error) {
	t.Helper()
	var e *core.Error
	if !errors.As(err, &e) || e.Code != core.TemporarilyUnavailable || e.Reason != "audit_unavailable" || e.RetryAfter <= 0 ||
		!strings.Contains(e.Description, wire.AuditStream) {
		t.Errorf("%s: %v", what, err)
	}
}

func TestNothingIsHandedOutWithoutTheAudit(t *testing.T) {
	for name, damage := range breakAudit {
		t.Run(name, func(t *testing.T) {
			e := startExternal(t, nil)
			cfg := externalConfig(t, e.ClientURL())
			cfg.Audit.Enabled = true
			d := startDaemon(t, openBus(t, cfg), nil)
			ctx := testContext(t)
			c, nc := d.caller(t, "default")
			cached := client.Selector{Grant: d.seed(t, "default", "alice").Grant}
			other := client.Selector{Grant: d.seed(t, "default", "bob").Grant}
			if _, err := c.Token(ctx, cached); err != nil {
				t.Fatal(err)
			}
			_, js, err := connect(e.ClientURL(), connOptions("test", quiet()))
			if err != nil {
				t.Fatal(err)
			}
			defer js.Conn().Close()
			repair := damage(t, js)
			asked := d.vendor.count(core.RefreshToken)

			_, err = c.Token(ctx, cached) // found out by this
			wantHeldBack(t, "from memory", err)
			_, err = c.Token(ctx, cached)
			wantHeldBack(t, "from memory, again", err)
			sealed, err := client.New(client.Config{Conn: nc, Tenant: "default", Sealed: true})
			if err != nil {
				t.Fatal(err)
			}
			_, err = sealed.Token(ctx, cached)
			wantHeldBack(t, "sealed", err)
			_, err = c.Refresh(ctx, other)
			wantHeldBack(t, "refreshed", err)
			_, err = c.Import(ctx, client.ImportRequest{Client: "main", Account: "eve", RefreshToken: client.NewSecret("r")})
			wantHeldBack(t, "imported", err)
			wantHeldBack(t, "a backup", d.Backup(ctx, new(strings.Builder)))
			if n := d.vendor.count(core.RefreshToken); n != asked {
				t.Errorf("the vendor was asked %d times", n-asked)
			}
			if err := d.Ready(); err == nil || !strings.Contains(err.Error(), "audit") {
				t.Errorf("it says that it is ready: %v", err)
			}
			if g, err := c.Revoke(ctx, other, "leaked"); err != nil || g.State != core.Revoked {
				t.Errorf("a revocation is held back: %+v, %v", g, err)
			}

			repair()
			eventually(t, "tokens are handed out again", func() bool { _, err := c.Token(ctx, cached); return err == nil })
			if err := d.Ready(); err != nil {
				t.Error(err)
			}
			d.wantResumed(t, js)
		})
	}
}

// wantResumed looks for what the audit has to say of the time in which it could not be written.
func (d *daemon) wantResumed(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	var err error
	if d.session.Load().entries, err = js.Stream(testContext(t), wire.AuditStream); err != nil {
		t.Fatal(err)
	}
	found := map[wire.AuditAction]int{}
	eventually(t, "the audit says that it was away, and what was done meanwhile", func() bool {
		clear(found)
		for _, e := range entries(t, d.Bus) {
			found[e.Action]++
			if e.Action == wire.AuditResumed && (e.Since == nil || e.Refused < 6) {
				t.Errorf("entry %+v", e)
			}
		}
		return found[wire.AuditResumed] == 1 && found[wire.AuditAction(wire.TokenRevoke)] == 1
	})
	if n := d.session.Load().audit.turnedAway(); n < 6 {
		t.Errorf("%d acts count as refused", n)
	}
	if found[wire.AuditAction(wire.TokenRefresh)] > 0 || found[wire.AuditBackup] > 0 {
		t.Errorf("what was not done is in the audit: %v", found)
	}
}

func TestAuditKeyThatCannotBeReadStopsTheStart(t *testing.T) {
	dir := t.TempDir()
	b := openBus(t, auditedConfig(dir))
	put(t, b.Store(), core.Record{Key: "grant.g_1", Public: []byte(`{}`), Secret: []byte("x")}) // shows whose the keyset is
	s, err := b.opened()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.js.Publish(testContext(t), recordPrefix+auditKey, []byte(`{"v":1,"public":{},"sealed":"AQ=="}`)); err != nil {
		t.Fatal(err)
	}
	closeBus(t, b)
	_, err = Open(testContext(t), auditedConfig(dir))
	if !errors.Is(err, core.ErrDamaged) || !strings.Contains(err.Error(), auditKey) {
		t.Errorf("with the key damaged: %v", err)
	}
	off := openBus(t, embeddedConfig(dir)) // without the audit it starts
	if off.Audit() != nil || !errors.Is(off.Audit().Find(testContext(t), core.NewSecret("x"), nil), ErrNoAudit) {
		t.Error("there is an audit although it is off")
	}
}
