package client_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// BenchmarkTokenCached is what a token costs that a Cached Client keeps.
func BenchmarkTokenCached(b *testing.B) {
	n := startNATS(b)
	d := startDaemon(b, n, func(wire.Endpoint, *nats.Msg) (any, error) {
		tok := issue(1, "https://api.example")
		tok.Grant = core.GrantID("default", "main", "alice")
		return tok, nil
	})
	c, _ := cached(b, newClient(b, dial(b, n)))
	// Other programs on the machine are in the time that passes, and not in the processor's.
	measure := func(b *testing.B, loop func(context.Context)) {
		ctx := testContext(b)
		b.ReportAllocs()
		before := processor(b)
		loop(ctx)
		b.ReportMetric(float64(processor(b)-before)/float64(b.N), "cpu-ns/op")
	}
	for name, sel := range map[string]client.Selector{"grant": {Grant: core.GrantID("default", "main", "alice")}, "account": alice} {
		for shape, opts := range map[string][]client.TokenOption{"default": nil, "min_ttl": {client.MinTTL(5 * time.Minute)}} {
			b.Run(name+"/"+shape, func(b *testing.B) {
				measure(b, func(ctx context.Context) {
					for b.Loop() {
						if _, err := c.Token(ctx, sel, opts...); err != nil {
							b.Fatal(err)
						}
					}
				})
			})
		}
	}
	b.Run("parallel", func(b *testing.B) {
		measure(b, func(ctx context.Context) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := c.Token(ctx, alice); err != nil {
						b.Error(err)
					}
				}
			})
		})
	})
	if asked := d.count(wire.TokenGet); asked > 100 { // every ten seconds
		b.Errorf("%d requests", asked)
	}
}

// processor is how long this process has used the processor.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
