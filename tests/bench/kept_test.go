//go:build heavy

package bench

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/tests/system"
)

// keptResult is what a token costs that a Cached client keeps.
type keptResult struct {
	memoryResult
	Tokens int    // how many were handed out
	Asked  uint64 // how many messages the client sent for them
}

// measureKept has a Cached client in this process ask the daemon for one grant's token, again and again.
func measureKept(t testing.TB) *keptResult {
	v := startVendor(t, 0, time.Hour)
	d := newDaemon(t, v)
	d.Start()
	nc := system.Must(nats.Connect(d.NATSURL()))(t)
	defer nc.Close()
	esign := system.Must(client.New(client.Config{Conn: nc, Tenant: tenant}))(t)
	name := accountName("kept", 1)
	g := system.Must(esign.Import(t.Context(), imported(name)))(t)
	cached, end, err := esign.Cached(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	r, before := &keptResult{}, nc.Stats().OutMsgs
	r.memoryResult = fromMemory(g.Grant, name, func(sel core.Selector) error {
		r.Tokens++
		_, err := cached.Token(t.Context(), sel)
		return err
	})
	r.Asked = nc.Stats().OutMsgs - before
	d.Stop()
	t.Logf("a kept token: %s by grant, %s by account; asked %d times for %d", r.ByGrant, r.ByAccount, r.Asked, r.Tokens)
	return r
}

func (r *keptResult) target() target {
	return target{"a token that a client keeps", "under 200 ns", short(r.slowest()), r.slowest() < 200*time.Nanosecond,
		"a look at two clocks, and a copy of the token"}
}
