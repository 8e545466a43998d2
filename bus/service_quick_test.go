package bus

import (
	"errors"
	"fmt"
	"testing"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
)

// What is remembered of a request is what it means and how its answer is written, never that there is one.
func TestTokensThatAreAskedForAgainAreThoseOfNow(t *testing.T) {
	d := startDaemon(t, openBus(t, embeddedConfig(t.TempDir())), nil)
	c, _ := d.caller(t, "default")
	ctx := testContext(t)
	g := d.seed(t, "default", "alice")
	cached := func() uint64 { return d.service.endpoints[0].count.cached.Load() }
	for _, sel := range []client.Selector{{Client: "main", Account: "alice"}, {Grant: g.Grant}} {
		ask := func(when string, generation uint64) {
			t.Helper()
			before := cached()
			for range 3 {
				if tok, err := c.Token(ctx, sel); err != nil || tok.Generation != generation || tok.Grant != g.Grant || tok.AccessToken.IsZero() {
					t.Fatalf("%s: %+v, %v; want generation %d", when, tok, err, generation)
				}
			}
			if n := cached() - before; n != 3 {
				t.Errorf("%s: %d of 3 were answered from memory", when, n)
			}
		}
		now, err := c.Grant(ctx, sel)
		if err != nil {
			t.Fatal(err)
		}
		ask("at first", now.Generation)
		again := core.ImportRequest{Tenant: "default", Client: "main", Account: "alice", Replace: true,
			RefreshToken: core.NewSecret(fmt.Sprintf("imported-%d", now.Generation))}
		if _, err := d.manager.Import(ctx, again); err != nil {
			t.Fatal(err)
		}
		ask("replaced", now.Generation+1)
	}
	sel := client.Selector{Client: "main", Account: "alice"}
	if _, err := c.Revoke(ctx, sel, ""); err != nil {
		t.Fatal(err)
	}
	var refused *core.Error
	if tok, err := c.Token(ctx, sel); !errors.As(err, &refused) || refused.Code != core.ReauthorizationRequired {
		t.Fatalf("revoked: %+v, %v", tok, err)
	}
}

func TestQuickTokensRememberABoundedNumberOfRequests(t *testing.T) {
	d := startDaemon(t, openBus(t, embeddedConfig(t.TempDir())), nil)
	g := d.seed(t, "default", "alice")
	q := newQuickTokens(d.manager)
	answered := func(body string) {
		t.Helper()
		if b, _, ok := q.answer(t.Context(), nil, "default", []byte(body)); !ok || len(b) == 0 {
			t.Fatalf("%s was not answered from memory", body)
		}
	}
	answered(fmt.Sprintf(`{"grant":%q}%*s`, g.Grant, rememberedAsk, ""))
	if len(q.asks) != 0 {
		t.Error("a long request is remembered")
	}
	for i := range 3 * rememberedAsks { // each is another
		answered(fmt.Sprintf(`{"grant":%q,"min_ttl":%d}%*s`, g.Grant, i%40, i/40, ""))
	}
	if len(q.asks) != rememberedAsks {
		t.Errorf("%d requests are remembered, not %d", len(q.asks), rememberedAsks)
	}
}
