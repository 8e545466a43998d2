package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

func sealedClient(t testing.TB, nc *nats.Conn) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Conn: nc, Tenant: "default", Logger: quiet(), Sealed: true})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A daemon that knows nothing of seals has given the token away: that is noticed, and the token not used.
func TestAnswerThatShouldBeSealedAndIsNotIsNotUsed(t *testing.T) {
	n := startNATS(t)
	startDaemon(t, n, func(wire.Endpoint, *nats.Msg) (any, error) { return issue(1, ""), nil })
	tok, err := sealedClient(t, dial(t, n)).Token(testContext(t), client.Selector{Grant: "g_1"})
	if err == nil || !strings.Contains(err.Error(), "not sealed") || !tok.AccessToken.IsZero() {
		t.Errorf("%+v, %v", tok, err)
	}
}

func TestErrorInTheClearIsAnErrorStill(t *testing.T) {
	n := startNATS(t)
	startDaemon(t, n, func(wire.Endpoint, *nats.Msg) (any, error) { return nil, core.Errorf(core.NotFound, "no such grant") })
	if _, err := sealedClient(t, dial(t, n)).Token(testContext(t), client.Selector{Grant: "g_1"}); !errors.Is(err, client.NotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := sealedClient(t, dial(t, startNATS(t))).Token(testContext(t), client.Selector{Grant: "g_1"}); !errors.Is(err, client.TemporarilyUnavailable) {
		t.Errorf("without a daemon: %v", err)
	}
}

// What was sealed for one request opens for no other, of the same client neither.
func TestAnswerToAnotherRequestDoesNotOpen(t *testing.T) {
	n := startNATS(t)
	key, err := wire.NewCurveKey()
	if err != nil {
		t.Fatal(err)
	}
	conn := dial(t, n)
	var first []byte
	keys := map[string]bool{}
	_, err = conn.Subscribe("esign.api.default.token.get", func(m *nats.Msg) {
		to, err := wire.SealTo(m.Header)
		if err != nil {
			t.Error(err)
		}
		keys[to] = true
		body, err := json.Marshal(issue(1, ""))
		if err != nil {
			t.Error(err)
		}
		if first == nil {
			if first, err = key.Seal(body, to); err != nil {
				t.Error(err)
			}
		}
		out := &nats.Msg{Data: first, Header: nats.Header{}}
		out.Header.Set(wire.HeaderSealedBy, key.Public())
		if err := m.RespondMsg(out); err != nil {
			t.Error(err)
		}
	})
	if err == nil {
		err = conn.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	c := sealedClient(t, dial(t, n))
	if tok, err := c.Token(testContext(t), client.Selector{Grant: "g_1"}); err != nil || tok.AccessToken.IsZero() {
		t.Errorf("%+v, %v", tok, err)
	}
	if tok, err := c.Token(testContext(t), client.Selector{Grant: "g_1"}); err == nil || !tok.AccessToken.IsZero() {
		t.Errorf("what was replayed is taken: %+v, %v", tok, err)
	}
	if len(keys) != 2 {
		t.Errorf("two requests have %d keys", len(keys))
	}
}

// BenchmarkTokenSealed asks for a token that the daemon has in memory, by turns in the clear and sealed, over loopback.
func BenchmarkTokenSealed(b *testing.B) {
	url, stop := demo()
	defer stop()
	nc, err := nats.Connect(url)
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	var took [2]time.Duration
	var clients [2]*client.Client
	for i, sealed := range []bool{false, true} {
		if clients[i], err = client.New(client.Config{Conn: nc, Tenant: "default", Sealed: sealed}); err != nil {
			b.Fatal(err)
		}
		if _, err := clients[i].Token(context.Background(), client.Selector{Client: "app"}); err != nil {
			b.Fatal(err)
		}
	}
	n := 0
	for b.Loop() {
		for i, c := range clients {
			begun := time.Now()
			if _, err := c.Token(context.Background(), client.Selector{Client: "app"}); err != nil {
				b.Fatal(err)
			}
			took[i] += time.Since(begun)
		}
		n++
	}
	b.ReportMetric(0, "ns/op") // of both together, which says nothing
	b.ReportMetric(float64(took[0].Nanoseconds())/float64(n), "clear-ns/token")
	b.ReportMetric(float64(took[1].Nanoseconds())/float64(n), "sealed-ns/token")
	b.ReportMetric(float64(took[1])/float64(took[0]), "sealed/clear")
}
