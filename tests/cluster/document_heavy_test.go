//go:build heavy

package cluster

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/tests/system"
)

// addresses are those that docs/scaling.md gives to the first server, in the order in which its configuration has them.
var addresses = []string{"10.0.0.1:4222", "127.0.0.1:8222", "10.0.0.1:6222", "10.0.0.2:6222", "10.0.0.3:6222"}

// asDocumented returns a server's configuration with the addresses and the folder of docs/scaling.md.
func asDocumented(t *testing.T, s *system.NATSServer) string {
	t.Helper()
	text := strings.ReplaceAll(string(system.Must(os.ReadFile(s.Config))(t)), s.StoreDir, "/var/lib/nats")
	n := -1
	return regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllStringFunc(text, func(string) string {
		n++
		return addresses[n]
	})
}

// TestTheDocumentedConfigurationDoesWhatIsSaid runs the servers of docs/scaling.md: a service may ask, and read its tenant's
// events, and reaches nothing else.
func TestTheDocumentedConfigurationDoesWhatIsSaid(t *testing.T) {
	t.Parallel()
	f := startFleet(t, openVendor(t, time.Hour, 0, nil))
	shown := regexp.MustCompile("(?s)```text\n(server_name: n1\n.*?)```").FindSubmatch(system.Must(os.ReadFile("../../docs/scaling.md"))(t))
	if shown == nil {
		t.Fatal("docs/scaling.md shows no configuration of a server")
	}
	if diff := cmp.Diff(string(shown[1]), asDocumented(t, f.servers[0])); diff != "" {
		t.Errorf("docs/scaling.md shows another configuration than the one tested (-shown +tested):\n%s", diff)
	}
	cl := f.service()
	if err := f.bring(cl, 1, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	system.Must(cl.Token(t.Context(), selector(1)))(t)
	heard := errors.New("heard")
	err := cl.Watch(t.Context(), client.WatchConfig{Durable: "billing", Since: time.Now().Add(-time.Hour)}, func(e client.Event) error {
		if e.Type == client.TokenIssued && e.Account == account(1) {
			return heard
		}
		return nil
	})
	if !errors.Is(err, heard) {
		t.Errorf("the service hears no event: %v", err)
	}
	f.wantBarred()
}

// wantBarred holds that a service reaches nothing beyond its tenant.
func (f *fleet) wantBarred() {
	f.t.Helper()
	refused := make(chan error, 10)
	nc := system.Must(nats.Connect(f.url("billing:change-me-too"), nats.CustomInboxPrefix("_INBOX_default_billing"),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err })))(f.t)
	defer nc.Close()
	want := func(what string) {
		f.t.Helper()
		select {
		case err := <-refused:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				f.t.Errorf("%s: %v, want that it is not permitted", what, err)
			}
		case <-time.After(20 * time.Second):
			f.t.Errorf("%s is permitted", what)
		}
	}
	for _, subject := range []string{
		"$KV.ESIGN.grant.x", "esign.event.default.x", "esign.timer.at.x.y", "esign.api.other.token.get", "$JS.API.STREAM.DELETE.KV_ESIGN",
		"$JS.API.STREAM.MSG.GET.KV_ESIGN", "$JS.API.CONSUMER.CREATE.KV_ESIGN.x.$KV.>",
	} {
		if err := nc.Publish(subject, nil); err != nil {
			f.t.Fatal(err)
		}
		want("publishing on " + subject)
	}
	for _, subject := range []string{">", "_INBOX.>", "$KV.>", "esign.event.other.>", "_INBOX_default_other.>", "esign.api.>"} {
		if _, err := nc.SubscribeSync(subject); err != nil {
			f.t.Fatal(err)
		}
		want("subscribing to " + subject)
	}
}
