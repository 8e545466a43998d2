package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

func TestLeakedTokenIsFoundInTheAudit(t *testing.T) {
	dir := t.TempDir()
	b := openBus(t, auditedConfig(dir))
	d := startDaemon(t, b, nil)
	c, _ := d.caller(t, "default")
	ctx := testContext(t)
	sel := client.Selector{Client: "app"}
	old, err := c.Token(ctx, sel)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is a later generation", func() bool {
		next, err := c.Refresh(ctx, sel)
		return err == nil && next.Generation > old.Generation
	})
	find := func(b *Bus, token string) (lines []string) {
		if err := b.Audit().Find(ctx, core.NewSecret(token), func(e wire.AuditEntry) error {
			lines = append(lines, line(e)+" "+e.Grant)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return lines
	}
	want := []string{"esignd refresh ok 1 " + old.Grant, "tenant token.get ok 1 " + old.Grant}
	got := find(b, old.AccessToken.Reveal())
	if diff := cmp.Diff(want, got[:min(len(got), 2)]); diff != "" {
		t.Errorf("the token of an old generation: -want +got:\n%s", diff)
	}
	if got := find(b, "some other token"); got != nil {
		t.Errorf("a token that was never handed out: %v", got)
	}
	// The key is as old as the store.
	closeIn(t, 10*time.Second, d.service.Close)
	closeIn(t, 10*time.Second, d.manager.Close)
	closeBus(t, b)
	if again := find(openBus(t, auditedConfig(dir)), old.AccessToken.Reveal()); !slices.Equal(again, got) {
		t.Errorf("after a restart: %v, before %v", again, got)
	}
}

func TestAuditIsReadByQuery(t *testing.T) {
	d := startDaemon(t, openBus(t, auditedConfig(t.TempDir())), nil)
	ctx := testContext(t)
	for _, tenant := range []string{"default", "other"} {
		c, _ := d.caller(t, tenant)
		for _, account := range []string{"alice", "bob"} {
			g := d.seed(t, tenant, account)
			if _, err := c.Token(ctx, client.Selector{Grant: g.Grant}); err != nil {
				t.Fatal(err)
			}
		}
	}
	between := time.Now().Truncate(time.Millisecond).Add(time.Millisecond)
	eventually(t, "the clock goes on", func() bool { return time.Now().After(between) })
	bob := client.Selector{Client: "main", Account: "bob"}
	c, _ := d.caller(t, "other")
	if _, err := c.Revoke(ctx, bob, ""); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		q    AuditQuery
		want int
	}{
		"all tokens":     {AuditQuery{Actions: []string{"token.get"}}, 4},
		"of a tenant":    {AuditQuery{Tenant: "other", Actions: []string{"token.get", "token.revoke"}}, 3},
		"of a grant":     {AuditQuery{Grant: core.GrantID("default", "main", "alice"), Actions: []string{"token.get"}}, 1},
		"of an account":  {AuditQuery{Account: "bob", Tenant: "other", Actions: []string{"token.get", "token.revoke"}}, 2},
		"since then":     {AuditQuery{Since: between, Actions: []string{"token.get", "token.revoke"}}, 1},
		"until then":     {AuditQuery{Until: between, Actions: []string{"token.get", "token.revoke"}}, 4},
		"of nobody":      {AuditQuery{Tenant: "nobody", Actions: []string{"token.get"}}, 0},
		"of one service": {AuditQuery{Service: "billing"}, 0},
	} {
		n := 0
		if err := d.Audit().Read(ctx, tt.q, func(wire.AuditEntry) error { n++; return nil }); err != nil || n != tt.want {
			// Some entries of this test tell of its own readings; they are none of these actions.
			t.Errorf("%s: %d entries, %v; want %d", name, n, err, tt.want)
		}
	}
	enough := errors.New("enough")
	heard := make(chan wire.AuditEntry, 1)
	done := make(chan error, 1)
	go func() {
		q := AuditQuery{Actions: []string{"token.refresh"}, Follow: true}
		done <- d.Audit().Read(ctx, q, func(e wire.AuditEntry) error { heard <- e; return enough })
	}()
	if _, err := c.Refresh(ctx, client.Selector{Client: "main", Account: "alice"}); err != nil {
		t.Fatal(err)
	}
	if e := <-heard; e.Tenant != "other" {
		t.Errorf("heard %+v", e)
	}
	if err := <-done; !errors.Is(err, enough) {
		t.Error(err)
	}
}

func TestAuditorReadsTheAuditOfItsTenantAndGetsNoToken(t *testing.T) {
	g := openGuests(t)
	d := startDaemon(t, g.Bus, nil)
	ctx := testContext(t)
	dial := func(name string) *client.Client {
		c, closeConn, err := client.Dial(ctx, client.DialConfig{URL: g.ClientURL(), Credentials: g.proofs[name].Path()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(closeConn)
		return c
	}
	mine, others := d.seed(t, "default", "alice"), d.seed(t, "other", "alice")
	for name, grant := range map[string]string{"billing": mine.Grant, "signing": others.Grant} {
		if _, err := dial(name).Token(ctx, client.Selector{Grant: grant}); err != nil {
			t.Fatal(err)
		}
	}
	var got []client.AuditEntry
	enough := errors.New("enough")
	err := dial("watch").Audit(ctx, func(e client.AuditEntry) error {
		got = append(got, e)
		if e.Action == wire.AuditAction(wire.TokenGet) {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
	last := got[len(got)-1]
	want := wire.AuditActor{Kind: wire.ActorService, Tenant: "default", Service: "billing", Account: "ESIGND_default_billing", User: g.proofs["billing"].NKey}
	if diff := cmp.Diff(want, last.By); diff != "" || last.Grant != mine.Grant || last.Outcome != wire.AuditOK {
		t.Errorf("the auditor read %+v: %s", last, diff)
	}
	for _, e := range got {
		if e.Tenant != "default" {
			t.Errorf("the auditor of default read %+v", e)
		}
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if _, err := dial("watch").Token(short, client.Selector{Grant: mine.Grant}); err == nil {
		t.Error("the auditor has a token")
	}
	for _, name := range []string{"billing", "desk"} {
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		if err := dial(name).Audit(short, func(client.AuditEntry) error { return enough }); err == nil || errors.Is(err, enough) {
			t.Errorf("%s reads the audit: %v", name, err)
		}
		cancel()
	}
}

// Under auth none callers are in another NATS account than the audit.
func TestProgramOfThisMachineDoesNotReachTheAudit(t *testing.T) {
	d := startDaemon(t, openBus(t, auditedConfig(t.TempDir())), nil)
	d.seed(t, "default", "alice")
	before := len(entries(t, d.Bus))
	nc := dialOutside(t, d.Bus)
	for _, subject := range []string{"esign.audit.tenant.default", "esign.audit.daemon", "$JS.API.STREAM.DELETE.ESIGN_AUDIT", "$JS.API.STREAM.PURGE.ESIGN_AUDIT"} {
		if err := nc.PublishRequest(subject, nats.NewInbox(), []byte(`{"entries":[]}`)); err != nil {
			t.Fatal(err)
		}
	}
	for _, reply := range []string{"esign.audit.tenant.default", "esign.audit.daemon"} {
		if err := nc.PublishRequest("esign.api.default.token.get", reply, []byte(`{"client":"main","account":"alice"}`)); err != nil {
			t.Fatal(err)
		}
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(300*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(testContext(t), 300*time.Millisecond)
	defer cancel()
	if s, err := js.Stream(short, wire.AuditStream); err == nil {
		t.Errorf("a caller sees the stream: %+v", s.CachedInfo())
	}
	if _, err := nc.Request("esign.api.default.grant.get", []byte(`{"client":"main","account":"alice"}`), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if got := settled(t, d.Bus, before+1); len(got) != before+1 || got[before].Action != wire.AuditAction(wire.GrantGet) {
		t.Errorf("after %d entries there are %d", before, len(got))
	}
}

func TestEsigndCannotTakeFromTheAudit(t *testing.T) {
	for _, services := range []bool{false, true} {
		t.Run(fmt.Sprintf("services=%v", services), func(t *testing.T) {
			b := openBus(t, auditedConfig(t.TempDir()))
			if services {
				b = openGuests(t).Bus
			}
			b.Audit().Note(testContext(t), commandEntry(wire.AuditBackup))
			settled(t, b, 1)
			s, err := b.opened()
			if err != nil {
				t.Fatal(err)
			}
			js, err := jetstream.New(s.state, jetstream.WithDefaultTimeout(300*time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			stream, err := js.Stream(testContext(t), wire.AuditStream)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(testContext(t), time.Second)
			defer cancel()
			if err := stream.DeleteMsg(ctx, 1); err == nil {
				t.Error("an entry was deleted")
			}
			if err := stream.Purge(ctx); err == nil {
				t.Error("the audit was purged")
			}
			if err := js.DeleteStream(ctx, wire.AuditStream); err == nil {
				t.Error("the audit was removed")
			}
			weaker := stream.CachedInfo().Config
			weaker.DenyDelete, weaker.DenyPurge = false, false
			if _, err := js.UpdateStream(testContext(t), weaker); err == nil {
				t.Error("the stream lets delete from now on")
			}
			if n := len(entries(t, b)); n != 1 {
				t.Errorf("%d entries", n)
			}
		})
	}
}
