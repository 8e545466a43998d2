package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

func wantOverQuota(t *testing.T, err error) {
	t.Helper()
	var e *core.Error
	if !errors.As(err, &e) || e.Code != core.TemporarilyUnavailable || e.Reason != "quota_exceeded" || e.RetryAfter != time.Second {
		t.Errorf("over the quota: %v", err)
	}
}

func TestCallerOverItsRateIsTold(t *testing.T) {
	d := startDaemon(t, openBus(t, embeddedConfig(t.TempDir())), func(c *ServiceConfig) { c.Quota = Quota{PerSecond: 5} })
	ctx := testContext(t)
	sel := client.Selector{Grant: d.seed(t, "default", "alice").Grant}
	theirs := client.Selector{Grant: d.seed(t, "other", "bob").Grant}
	for _, sealed := range []bool{false, true} {
		nc := dialOutside(t, d.Bus)
		c, err := client.New(client.Config{Conn: nc, Tenant: "default", Sealed: sealed, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		for err = nil; err == nil; {
			_, err = c.Token(ctx, sel)
		}
		wantOverQuota(t, err)
	}
	other, nc := d.caller(t, "other")
	if _, err := other.Token(ctx, theirs); err != nil {
		t.Errorf("another tenant: %v", err)
	}
	c, _ := d.caller(t, "default")
	eventually(t, "the caller is let in again", func() bool {
		ctx, cancel := context.WithTimeout(ctx, time.Second) // more than as many again are not answered at all
		defer cancel()
		_, err := c.Token(ctx, sel)
		return err == nil
	})

	var stats micro.Stats
	ask(t, nc, "$SRV.STATS.esignd", &stats)
	for _, e := range stats.Endpoints {
		var own EndpointStats
		if err := json.Unmarshal(e.Data, &own); err != nil {
			t.Fatal(err)
		}
		if e.Name == "token-get" && (own.OverQuota < 2 || own.Errors[core.TemporarilyUnavailable] > own.OverQuota) {
			t.Errorf("stats %+v", own)
		}
	}
}

func TestCallerOverItsConcurrencyIsTold(t *testing.T) {
	d := startDaemon(t, openBus(t, embeddedConfig(t.TempDir())), func(c *ServiceConfig) { c.Quota = Quota{Concurrent: 3} })
	entered, release := d.vendor.hold()
	defer release()
	ctx := testContext(t)
	c, _ := d.caller(t, "default")
	var all sync.WaitGroup
	var over atomic.Int64
	for range 10 {
		all.Go(func() {
			_, err := c.Token(ctx, client.Selector{Client: "app"})
			if errors.Is(err, core.TemporarilyUnavailable) {
				wantOverQuota(t, err)
				over.Add(1)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	<-entered
	eventually(t, "seven are turned away", func() bool { return over.Load() == 7 })
	other, _ := d.caller(t, "other")
	if _, err := other.Grant(ctx, client.Selector{Grant: "g_1"}); !errors.Is(err, core.NotFound) {
		t.Errorf("another tenant meanwhile: %v", err)
	}
	release()
	all.Wait()
	if _, err := c.Token(ctx, client.Selector{Client: "app"}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// One service publishes as fast as it can. What another asks meanwhile is answered, each time.
func TestFloodOfOneServiceDoesNotHoldUpAnother(t *testing.T) {
	cfg := embeddedConfig(t.TempDir())
	flooder, flooding := newCaller(t, "default", "flooder", wire.Caller)
	honest, honesty := newCaller(t, "default", "honest", wire.Caller)
	cfg.Auth = Auth{Callers: []Caller{flooder, honest}}
	d := startDaemon(t, openBus(t, cfg), func(c *ServiceConfig) { c.Quota = Quota{PerSecond: 200, Concurrent: 50} })
	grant := d.seed(t, "default", "alice").Grant
	nc := dialOutside(t, d.Bus, flooding.Options()...)
	stop := make(chan struct{})
	var flood sync.WaitGroup
	var sent atomic.Int64
	for i := range 2 {
		body := []byte(fmt.Sprintf(`{"grant":%q}`, grant)) // from memory
		subject := wire.APISubject("esign", "default", wire.TokenGet)
		if i == 1 {
			body, subject = []byte(`{"client":"main","account":"nobody"}`), wire.APISubject("esign", "default", wire.GrantGet)
		}
		flood.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := nc.PublishMsg(&nats.Msg{Subject: subject, Reply: wire.InboxPrefix("default", "flooder") + ".x", Data: body}); err != nil {
					return
				}
				sent.Add(1)
			}
		})
	}
	turned := func() uint64 {
		return d.endpoint(wire.TokenGet).count.overQuota.Load() + d.endpoint(wire.GrantGet).count.overQuota.Load()
	}
	eventually(t, "the flood is over its quota", func() bool { return turned() > 1000 })
	c, err := client.New(client.Config{Conn: dialOutside(t, d.Bus, honesty.Options()...), Tenant: "default", Service: "honest", Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	// Below its own quota, whatever the machine's load: as many as that lets through at once.
	began := time.Now()
	for n := range 40 {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		sel, get := client.Selector{Grant: grant}, n%10 == 0
		if _, err = c.Token(ctx, sel); get && err == nil {
			_, err = c.Grant(ctx, sel)
		}
		cancel()
		if err != nil {
			t.Errorf("request %d of the other service: %v", n, err)
		}
	}
	t.Logf("answered in %s", time.Since(began))
	close(stop)
	flood.Wait()
	t.Logf("%d requests of the flood, %d of them turned away", sent.Load(), turned())
}

func TestCallersThatAreToldApartAreBounded(t *testing.T) {
	q := newQuotas(Quota{PerSecond: 1, Concurrent: 1})
	of := func(n int) *quotaUse { return q.of(Identity{Tenant: fmt.Sprint(n)}) }
	for n := range maxQuotaCallers {
		of(n).ask(time.Now()) // each has spent what it has
	}
	if of(maxQuotaCallers) != q.rest || of(maxQuotaCallers+1) != q.rest || len(q.known) != maxQuotaCallers {
		t.Errorf("%d callers are known", len(q.known))
	}
	if of(3) == q.rest || of(3).ask(time.Now()) {
		t.Error("a caller that is known was forgotten, and has its quota anew")
	}
	if !of(5).enter(1) || of(5).enter(1) {
		t.Error("the concurrency of a caller is not bounded")
	}
	eventually(t, "there is a place when others are idle", func() bool { return of(maxQuotaCallers) != q.rest })
	if q.known[quotaCaller{tenant: "5"}] == nil {
		t.Error("a caller whose request is being worked on was forgotten")
	}
	of(5).leave(1)
	if named := q.of(Identity{Tenant: "7", Account: "A"}); named == of(7) {
		t.Error("an account shares its tenant's quota")
	}
	if none := newQuotas(Quota{}); none.of(Identity{}) != nil || !none.of(Identity{}).ask(time.Now()) || !none.of(Identity{}).enter(1e9) {
		t.Error("without a quota there are bounds")
	}
}
