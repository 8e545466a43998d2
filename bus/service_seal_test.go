package bus

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// operator subscribes to all that goes over a server.
type operator struct {
	mu   sync.Mutex // guards seen
	seen []*nats.Msg
}

func startOperator(t *testing.T, b *Bus) *operator {
	t.Helper()
	o := &operator{}
	nc := dialOutside(t, b)
	if _, err := nc.Subscribe(">", func(m *nats.Msg) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.seen = append(o.seen, m)
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return o
}

// reads reports whether text was in a message of the API, and how many answers there were. Records, events and timers go
// over the same server here.
func (o *operator) reads(text string) (found bool, answers int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range o.seen {
		found = found || bytes.Contains(m.Data, []byte(text))
		for _, values := range m.Header {
			found = found || strings.Contains(strings.Join(values, "\n"), text)
		}
		isError, isSealed := m.Header.Get(wire.HeaderErrorCode) != "", m.Header.Get(wire.HeaderSealedBy) != ""
		if isError || isSealed || strings.HasPrefix(m.Subject, "_INBOX.") && bytes.Contains(m.Data, []byte(`"grant"`)) {
			answers++
		}
	}
	return found, answers
}

func TestOperatorReadsNothingOfASealedAnswer(t *testing.T) {
	t.Parallel()
	for name, sealed := range map[string]bool{"clear": false, "sealed": true} {
		t.Run(name, func(t *testing.T) {
			b := openBus(t, externalConfig(t, startExternal(t, nil).ClientURL()))
			d := startDaemon(t, b, nil)
			o := startOperator(t, b)
			c, err := client.New(client.Config{Conn: dialOutside(t, b), Tenant: "default", Sealed: sealed, Logger: quiet()})
			if err != nil {
				t.Fatal(err)
			}
			g := d.seed(t, "default", "alice")
			ctx := testContext(t)
			tok, err := c.Token(ctx, client.Selector{Grant: g.Grant})
			if err != nil || tok.AccessToken.IsZero() || tok.Account != "alice" {
				t.Fatalf("token: %+v, %v", tok, err)
			}
			fresh, err := c.Report(ctx, client.Selector{Grant: g.Grant}, tok.Generation)
			if err != nil || fresh.AccessToken.IsZero() {
				t.Fatalf("report: %+v, %v", fresh, err)
			}
			auth, err := c.Authorize(ctx, client.AuthorizeRequest{Client: "main", Account: "bob"})
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Token(ctx, client.Selector{Client: "main", Account: "bob"})
			if e := asError(t, err); e.Code != core.ReauthorizationRequired || e.ConnectURL != auth.ConnectURL {
				t.Errorf("a pending grant answers %+v", e)
			}
			if _, err := c.Exchange(ctx, url.Values{"state": {"x"}}); !errors.Is(err, client.InvalidRequest) {
				t.Errorf("a wrong exchange answers %v", err)
			}
			eventually(t, "the operator hears the answers", func() bool {
				_, answers := o.reads("")
				return answers >= 5
			})
			for name, secret := range map[string]string{
				"token": tok.AccessToken.Reveal(), "fresh token": fresh.AccessToken.Reveal(), "connect URL": auth.ConnectURL,
			} {
				if found, _ := o.reads(secret); found == sealed {
					t.Errorf("the operator reads the %s: %v", name, found)
				}
			}
		})
	}
}

func TestSealThatCannotBeGivenIsRefused(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, openBus(t, embeddedConfig(t.TempDir())), nil)
	g := d.seed(t, "default", "alice")
	_, nc := d.caller(t, "default")
	for _, key := range []string{"", "X", "UABC", strings.Repeat("X", 4000)} {
		m := &nats.Msg{Subject: "esign.api.default.token.get", Data: []byte(`{"grant":"` + g.Grant + `"}`), Header: nats.Header{}}
		m.Header.Set("esignd-seal-to", key)
		answer, err := nc.RequestMsg(m, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		var e wire.Error
		if err := json.Unmarshal(answer.Data, &e); err != nil || e.Code != core.InvalidRequest ||
			!strings.Contains(e.Description, wire.HeaderSealTo) || strings.Contains(string(answer.Data), "access-") {
			t.Errorf("the key %.8q is answered %s: %v", key, answer.Data, err)
		}
	}
}
