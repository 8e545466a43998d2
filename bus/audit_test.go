package bus

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/wire"
)

func auditedConfig(dir string) Config {
	cfg := embeddedConfig(dir)
	cfg.Audit.Enabled = true
	return cfg
}

// entries returns what is in the stream, as it is stored.
func entries(t testing.TB, b *Bus) []wire.AuditEntry {
	t.Helper()
	var all []wire.AuditEntry
	for _, body := range auditBodies(t, b) {
		list, err := wire.DecodeAudit(body)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, list...)
	}
	return all
}

func auditBodies(t testing.TB, b *Bus) [][]byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := b.opened()
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.entries.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var bodies [][]byte
	for seq := max(1, info.State.FirstSeq); seq <= info.State.LastSeq; seq++ {
		m, err := s.entries.GetMsg(ctx, seq)
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, m.Data)
	}
	return bodies
}

// settled waits until nothing more comes into the audit of a test, and returns it.
func settled(t testing.TB, b *Bus, want int) []wire.AuditEntry {
	t.Helper()
	var got []wire.AuditEntry
	deadline := time.Now().Add(30 * time.Second)
	for len(got) < want && time.Now().Before(deadline) {
		if got = entries(t, b); len(got) < want {
			time.Sleep(5 * time.Millisecond)
		}
	}
	return got
}

// line is an entry in short.
func line(e wire.AuditEntry) string {
	return fmt.Sprintf("%s %s %s %d", e.By.Kind, e.Action, e.Outcome, e.Generation)
}

func TestAuditHasOneEntryOfEachAct(t *testing.T) {
	d := startDaemon(t, openBus(t, auditedConfig(t.TempDir())), nil)
	c, nc := d.caller(t, "default")
	ctx := testContext(t)
	sel := client.Selector{Client: "main", Account: "alice"}
	var want []string
	did := func(lines ...string) { want = append(want, lines...) }

	auth, err := c.Authorize(ctx, client.AuthorizeRequest{Client: "main", Account: "alice", RedirectURI: "https://app.example/callback"})
	if err != nil {
		t.Fatal(err)
	}
	did("tenant grant.authorize ok 0")
	if _, err := c.Exchange(ctx, url.Values{"code": {"the-code"}, "state": {auth.State}}); err != nil {
		t.Fatal(err)
	}
	did("tenant grant.exchange ok 1")
	first, err := c.Token(ctx, sel) // from memory
	if err != nil {
		t.Fatal(err)
	}
	did("tenant token.get ok 1")
	second, err := c.Token(ctx, client.Selector{Client: "app"}) // asks the vendor
	if err != nil {
		t.Fatal(err)
	}
	did("esignd refresh ok 1", "tenant token.get ok 1")
	if _, err := c.Token(ctx, client.Selector{Client: "nope"}); err == nil {
		t.Fatal("an unknown client has a token")
	}
	did("tenant token.get not_found 0")
	if _, err := nc.Request("esign.api.default.token.get", []byte(`{"what":1}`), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	did("tenant token.get invalid_request 0")
	if _, err := c.Import(ctx, client.ImportRequest{Client: "main", Account: "bob", RefreshToken: client.NewSecret("imported")}); err != nil {
		t.Fatal(err)
	}
	did("tenant grant.import ok 1")
	if _, _, err := c.Grants(ctx, client.GrantFilter{}); err != nil {
		t.Fatal(err)
	}
	did("tenant grant.list ok 0")
	if _, err := c.Revoke(ctx, sel, "left"); err != nil {
		t.Fatal(err)
	}
	did("tenant token.revoke ok 1")
	if _, err := c.Forget(ctx, sel); err != nil {
		t.Fatal(err)
	}
	did("tenant grant.forget ok 1")

	got := settled(t, d.Bus, len(want))
	var lines []string
	for _, e := range got {
		lines = append(lines, line(e))
		if e.Replica != d.Owner() || e.Tenant != "default" || time.Since(e.Time).Abs() > time.Hour {
			t.Errorf("entry %+v", e)
		}
	}
	slices.Sort(lines)
	slices.Sort(want)
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, e := range got {
		if e.Grant == first.Grant && e.Account != "alice" && e.Action != wire.AuditAction(wire.GrantExchange) {
			t.Errorf("%s is of grant %s, account %q", e.Action, e.Grant, e.Account)
		}
	}
	notInAudit(t, d.Bus, first.AccessToken.Reveal(), second.AccessToken.Reveal(), "the-code", auth.State, "refresh-", "imported", "s3cret")
}

func notInAudit(t *testing.T, b *Bus, secrets ...string) {
	t.Helper()
	for _, body := range auditBodies(t, b) {
		for _, secret := range secrets {
			if bytes.Contains(body, []byte(secret)) {
				t.Errorf("%q is in the audit: %s", secret, body)
			}
		}
	}
}

// What is handed out from memory, by many callers at once, is in the audit as often.
func TestAuditHasEachTokenFromMemory(t *testing.T) {
	d := startDaemon(t, openBus(t, auditedConfig(t.TempDir())), nil)
	alice, bob := d.seed(t, "default", "alice"), d.seed(t, "other", "bob")
	const callers, each = 8, 100
	var all sync.WaitGroup
	for i := range callers {
		g := alice
		if i%2 == 1 {
			g = bob
		}
		c, _ := d.caller(t, g.Tenant)
		all.Go(func() {
			ctx, span := context.WithTimeout(trace.ContextWithSpanContext(context.Background(), someTrace(t, byte(i+1))), time.Minute)
			defer span()
			for range each {
				if _, err := c.Token(ctx, client.Selector{Grant: g.Grant}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	count, ids, prints := map[string]int{}, map[string]bool{}, map[string]string{}
	for _, e := range settled(t, d.Bus, callers*each) {
		if e.Action != wire.AuditAction(wire.TokenGet) {
			continue
		}
		count[e.Tenant+" "+e.Grant+" "+e.TraceID]++
		ids[e.ID], prints[e.Grant] = true, e.Token
	}
	if len(count) != callers || len(ids) != callers*each || prints[alice.Grant] == prints[bob.Grant] || len(prints[bob.Grant]) != 32 {
		t.Errorf("%d callers, %d entries, fingerprints %v", len(count), len(ids), prints)
	}
	for who, n := range count {
		if n != each {
			t.Errorf("%s has %d entries", who, n)
		}
	}
	if n := d.endpoint(wire.TokenGet).count.cached.Load(); n != callers*each {
		t.Errorf("%d came from memory", n)
	}
}

func someTrace(t *testing.T, n byte) trace.SpanContext {
	t.Helper()
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{n}, SpanID: trace.SpanID{n}, TraceFlags: trace.FlagsSampled})
}
