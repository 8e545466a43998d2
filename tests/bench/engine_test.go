//go:build heavy

package bench

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/esignglobal"
	"github.com/esignd/esignd/tests/system"
)

// memoryResult is what a live token costs that is in this process, in time of the processor: what other programs on the
// machine take counts for neither.
type memoryResult struct {
	ByGrant, ByAccount       time.Duration
	AllocsGrant, AllocsNames int64
}

const processorUnit = "cpu-ns/op"

// fromMemory measures ask, which fails where the token is not there.
func fromMemory(grant, account string, ask func(core.Selector) error) memoryResult {
	measure := func(sel core.Selector) testing.BenchmarkResult {
		return testing.Benchmark(func(b *testing.B) {
			b.ReportAllocs()
			before := cpuTime(b, os.Getpid())
			for b.Loop() {
				if err := ask(sel); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpuTime(b, os.Getpid())-before)/float64(b.N), processorUnit)
		})
	}
	byGrant := measure(core.Selector{Tenant: tenant, Grant: grant})
	byAccount := measure(core.Selector{Tenant: tenant, Client: clientName, Account: account})
	return memoryResult{
		ByGrant: time.Duration(byGrant.Extra[processorUnit]), AllocsGrant: byGrant.AllocsPerOp(),
		ByAccount: time.Duration(byAccount.Extra[processorUnit]), AllocsNames: byAccount.AllocsPerOp(),
	}
}

// slowest is what the dearer of the two ways costs.
func (r memoryResult) slowest() time.Duration { return max(r.ByGrant, r.ByAccount) }

// engineResult is what a live token costs of the engine, in the program that embeds it.
type engineResult struct{ memoryResult }

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
	g := system.Must(m.Import(t.Context(), imported(name)))(t)
	return &engineResult{fromMemory(g.Grant, name, func(sel core.Selector) error {
		if _, ok := m.CachedToken(t.Context(), sel, core.DefaultMinTTL); !ok {
			return errors.New("the engine does not serve the token from memory")
		}
		return nil
	})}
}

// imported is the request to import an account's grant, whose token lives for a day.
func imported(name string) core.ImportRequest {
	return core.ImportRequest{
		Tenant: tenant, Client: clientName, Account: name, RefreshToken: core.NewSecret(refreshToken(name, 1)),
		AccessToken: core.NewSecret(accessToken(name, 1)), ExpiresAt: time.Now().Add(24 * time.Hour),
	}
}
