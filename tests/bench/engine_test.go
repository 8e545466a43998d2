//go:build heavy

package bench

import (
	"testing"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/esignglobal"
	"github.com/esignd/esignd/tests/system"
)

// engineResult is how long the engine takes for a live token, in the program that embeds it.
type engineResult struct {
	ByGrant, ByAccount       time.Duration
	AllocsGrant, AllocsNames int64
}

// measureEngine asks an engine in this process, with its own store in memory and the vendor's adapter in process.
func measureEngine(t testing.TB) *engineResult {
	v := startVendor(t, 0, time.Hour)
	id, secret := v.Client()
	m := system.Must(core.New(core.Config{
		Adapters: core.AdapterMap{vendorName: esignglobal.New(esignglobal.Config{})},
		Clients: []core.Client{{Name: clientName, Vendor: vendorName, Tenants: []string{tenant},
			Credentials: core.Credentials{ClientID: id, ClientSecret: core.NewSecret(secret), Settings: v.Settings()}}},
	}))(t)
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	name := accountName("engine", 1)
	g := system.Must(m.Import(t.Context(), core.ImportRequest{
		Tenant: tenant, Client: clientName, Account: name, RefreshToken: core.NewSecret(refreshToken(name, 1)),
		AccessToken: core.NewSecret(accessToken(name, 1)), ExpiresAt: time.Now().Add(24 * time.Hour),
	}))(t)
	ask := func(sel core.Selector) testing.BenchmarkResult {
		return testing.Benchmark(func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := m.CachedToken(t.Context(), sel, core.DefaultMinTTL); !ok {
					b.Fatal("the engine does not serve the token from memory")
				}
			}
		})
	}
	byGrant := ask(core.Selector{Tenant: tenant, Grant: g.Grant})
	byAccount := ask(core.Selector{Tenant: tenant, Client: clientName, Account: name})
	return &engineResult{
		ByGrant: time.Duration(byGrant.NsPerOp()), AllocsGrant: byGrant.AllocsPerOp(),
		ByAccount: time.Duration(byAccount.NsPerOp()), AllocsNames: byAccount.AllocsPerOp(),
	}
}
