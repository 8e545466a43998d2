package e2e

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/tests/system"
)

// hostile are reply subjects that would make esignd write where they lead.
var hostile = []string{
	"$KV.ESIGN.x", "esign.event.default.x", "esign.event.default.token.issued.adobesign.g_x", "esign.timer.x",
	"$JS.API.STREAM.PURGE.ESIGN_EVENTS", "$JS.API.STREAM.DELETE.ESIGN_EVENTS", "esign.api.default.token.revoke", "_INBOX_other_x.y",
}

// TestReplySubjectsLeadNowhere asks with reply subjects that are no inboxes. Nothing is written, as far as a caller
// sees and in the store itself, and the requests are counted.
func TestReplySubjectsLeadNowhere(t *testing.T) {
	t.Parallel()
	box := system.World{Lifetime: time.Hour}.Open(t, "esignglobal")
	d := startDaemon(t, system.Options{Clients: []system.Registration{{Name: "robot", Vendor: "esignglobal", Box: box, GrantType: "client_credentials"}}})
	s := service{t: t, nc: connectPlain(t, d)}
	s.ask("esign.api.default.token.get", `{"client":"robot"}`).want(t, "a token", "", "")
	events := system.Must(jetstream.New(s.nc))(t)
	system.Await(t, time.Minute, "the token's event is told", func() bool { return lastSequence(t, events) > 0 })
	before := lastSequence(t, events)
	watched := system.Must(s.nc.SubscribeSync("esign.event.>"))(t)

	for _, reply := range hostile {
		if err := s.nc.PublishRequest("esign.api.default.token.get", reply, []byte(`{"client":"robot"}`)); err != nil {
			t.Fatal(err)
		}
	}
	system.Await(t, time.Minute, "all are counted", func() bool {
		return discover(t, s.nc, "token-get")["bad_reply"].(float64) == float64(len(hostile))
	})
	if m, err := watched.NextMsg(100 * time.Millisecond); !errors.Is(err, nats.ErrTimeout) {
		t.Errorf("an event came of it: %v %v", m, err)
	}
	if after := lastSequence(t, events); after != before {
		t.Errorf("the event stream went from %d to %d", before, after)
	}
	s.ask("esign.api.default.token.get", `{"client":"robot"}`).want(t, "a token after all that", "", "")
	refusesDirectly(t, d)
	d.Stop()
	wantCleanStore(t, d)
}

func lastSequence(t testing.TB, js jetstream.JetStream) uint64 {
	t.Helper()
	s := system.Must(js.Stream(t.Context(), "ESIGN_EVENTS"))(t)
	return system.Must(s.Info(t.Context()))(t).State.LastSeq
}

// refusesDirectly writes to the subjects without esignd's help. The server says no.
func refusesDirectly(t *testing.T, d *system.Daemon) {
	t.Helper()
	refused := make(chan string, 2*len(hostile))
	nc := system.Must(nats.Connect("nats://"+d.NATS, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err.Error() })))(t)
	defer nc.Close()
	for _, subject := range hostile[:6] {
		if err := nc.Publish(subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		select {
		case text := <-refused:
			if !strings.Contains(strings.ToLower(text), "permissions violation") {
				t.Errorf("publishing %s: %s", subject, text)
			}
		case <-time.After(time.Minute):
			t.Errorf("any program may publish %s", subject)
		}
	}
}

// wantCleanStore opens the daemon's store without the daemon and looks for what does not belong there.
func wantCleanStore(t *testing.T, d *system.Daemon) {
	t.Helper()
	state := server.NewAccount("ESIGND")
	srv := system.Must(server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: filepath.Join(d.DataDir, "nats"), NoSigs: true,
		Accounts: []*server.Account{state}, NoSystemAccount: true, NoAuthUser: "public", DisableJetStreamBanner: true,
		Users: []*server.User{{Username: "state", Password: "state", Account: state}, {Username: "public", Password: "public"}},
	}))(t)
	srv.Start()
	defer srv.WaitForShutdown()
	defer srv.Shutdown()
	system.Await(t, time.Minute, "the store opens", func() bool { return srv.ReadyForConnections(50 * time.Millisecond) })
	if registered := system.Must(srv.LookupAccount("ESIGND"))(t); !registered.JetStreamEnabled() {
		if err := registered.EnableJetStream(nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	nc := system.Must(nats.Connect(srv.ClientURL(), nats.UserInfo("state", "state")))(t)
	defer nc.Close()
	js := system.Must(jetstream.New(nc))(t)
	subjects := map[string]uint64{}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, name := range []string{"KV_ESIGN", "ESIGN_TIMERS"} {
		stream := system.Must(js.Stream(ctx, name))(t)
		info := system.Must(stream.Info(ctx, jetstream.WithSubjectFilter(">")))(t)
		for subject, n := range info.State.Subjects {
			subjects[subject] = n
		}
	}
	if len(subjects) == 0 {
		t.Error("there is nothing in the store, so this shows nothing")
	}
	for _, subject := range hostile {
		if n := subjects[subject]; n != 0 {
			t.Errorf("the store holds %d messages under %s", n, subject)
		}
	}
	t.Logf("the store holds %v", subjects)
}
