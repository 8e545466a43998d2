//go:build heavy

package system_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/tests/system"
)

// An operator who subscribes to everything finds a token that was asked for in the clear, and none that was sealed.
func TestOperatorFindsNoSealedToken(t *testing.T) {
	t.Parallel()
	url := system.StartNATS(t, binaries, "").URL()
	d := system.StartDaemon(t, system.Options{
		Binaries: binaries, NATS: &system.External{URL: url, Keyset: t.TempDir() + "/keyset.json"},
		Clients: []system.Registration{
			{Name: "robot", Vendor: "esignglobal", Box: system.World{Lifetime: time.Hour}.Open(t, "esignglobal"), GrantType: "client_credentials"},
		},
	})
	operator := system.Must(nats.Connect(url))(t)
	defer operator.Close()
	var looked atomic.Int64
	var secret atomic.Pointer[string]
	var found atomic.Bool
	system.Must(operator.Subscribe(">", func(m *nats.Msg) {
		looked.Add(1)
		if s := secret.Load(); s != nil && strings.Contains(string(m.Data)+headerText(m), *s) {
			found.Store(true)
		}
	}))(t)
	if err := operator.Flush(); err != nil {
		t.Fatal(err)
	}
	nc := system.Must(nats.Connect(d.NATSURL()))(t)
	defer nc.Close()
	for _, sealed := range []bool{true, false} {
		cl := system.Must(client.New(client.Config{Conn: nc, Tenant: "default", Sealed: sealed}))(t)
		if sealed { // the first token is the vendor's answer to us, and is not known before
			tok := system.Must(cl.Token(t.Context(), client.Selector{Client: "robot"}))(t)
			text := tok.AccessToken.Reveal()
			secret.Store(&text)
		}
		for range 20 {
			tok := system.Must(cl.Token(t.Context(), client.Selector{Client: "robot"}))(t)
			if tok.AccessToken.Reveal() != *secret.Load() {
				t.Fatal("the token changed")
			}
		}
		// What the operator's connection brings is told in the order of the server.
		if err := operator.Flush(); err != nil {
			t.Fatal(err)
		}
		system.Await(t, 20*time.Second, "the operator has read all", func() bool { return operatorIdle(operator, &looked) })
		if found.Load() == sealed {
			t.Errorf("sealed %v, and the operator found the token: %v", sealed, found.Load())
		}
	}
}

func operatorIdle(nc *nats.Conn, looked *atomic.Int64) bool {
	return looked.Load() >= 20 && nc.Stats().InMsgs <= uint64(looked.Load())
}

func headerText(m *nats.Msg) string {
	var b strings.Builder
	for name, values := range m.Header {
		b.WriteString(name + strings.Join(values, "\n"))
	}
	return b.String()
}
