package bus

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// testNKey is the public part of a user NKey.
const testNKey = "UAKWEUT7YHFAUPCUEEVJNIP4ZTOIAE7AA2FEZJSSPH6JC5HZGZRHVTCA"

func TestConfigIsRefusedWithWhatToDo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, c := range []struct {
		name, want string
		cfg        Config
	}{
		{"no data_dir", "data_dir", Config{Auth: Auth{None: true}}},
		{"no auth", "nats.auth", Config{DataDir: dir}},
		{"both kinds of auth", "nats.auth", Config{DataDir: dir, Auth: Auth{None: true, Callers: []Caller{{}}}}},
		{"auth none on every address", "loopback", Config{DataDir: dir, Listen: ":4222", Auth: Auth{None: true}}},
		{"auth none on 0.0.0.0", "loopback", Config{DataDir: dir, Listen: "0.0.0.0:4222", Auth: Auth{None: true}}},
		{"auth none on a name", "loopback", Config{DataDir: dir, Listen: "nats.example:4222", Auth: Auth{None: true}}},
		{"no port", "host:port", Config{DataDir: dir, Listen: "127.0.0.1", Auth: Auth{None: true}}},
		{"a wildcard in the prefix", "nats.prefix", Config{DataDir: dir, Prefix: "a.>", Auth: Auth{None: true}}},
		{"replicas of one server", "nats.replicas", Config{DataDir: dir, Replicas: 3, Auth: Auth{None: true}}},
		{"external without keys", "keys.wrap", Config{DataDir: dir, URL: "nats://127.0.0.1:1"}},
		{"external without a shared keyset", "keys.keyset", Config{DataDir: dir, URL: "nats://127.0.0.1:1",
			Keys: Keys{Wrap: core.NewSecret(testWrap)}}},
		{"credentials of an embedded server", "nats.url", Config{DataDir: dir, Credentials: "x", Auth: Auth{None: true}}},
		{"a service without a proof", "nkey", Config{DataDir: dir, Auth: Auth{Callers: []Caller{{Name: "a", Tenant: "t"}}}}},
		{"a service with the key of an account", "U…", Config{DataDir: dir, Auth: Auth{Callers: []Caller{
			{Name: "a", Tenant: "t", NKeys: []string{"AB7I6HRP7X4Z4EVNVWFJDMM6YKDG3YKBYCPLCQ2C4HKUG7T7O2OPJU5A"}}}}}},
		{"a role that there is not", "role", Config{DataDir: dir, Auth: Auth{Callers: []Caller{
			{Name: "a", Tenant: "t", Role: "admin", NKeys: []string{testNKey}}}}}},
		{"two services with one key", "same nkey", Config{DataDir: dir, Auth: Auth{Callers: []Caller{
			{Name: "a", Tenant: "t", NKeys: []string{testNKey}}, {Name: "b", Tenant: "t", NKeys: []string{testNKey}}}}}},
		{"services with one inbox", "reply subjects", Config{DataDir: dir, Auth: Auth{Callers: []Caller{
			{Name: "b_c", Tenant: "a", NKeys: []string{testNKey}}, {Name: "c", Tenant: "a_b", NKeys: []string{testNKey}}}}}},
	} {
		if _, err := New(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error about %s", c.name, err, c.want)
		}
	}
}

func TestEmbeddedServerSyncsAlways(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	ses, err := b.opened()
	if err != nil {
		t.Fatal(err)
	}
	if !ses.server.srv.JetStreamConfig().SyncAlways {
		t.Error("an acknowledged write waits for its fsync")
	}
	if err := b.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
}

// denied is a connection from outside, with the permission errors that it gets.
type denied struct {
	*nats.Conn
	errs chan error
}

func dialDenied(t *testing.T, b *Bus, opts ...nats.Option) denied {
	t.Helper()
	d := denied{errs: make(chan error, 16)}
	d.Conn = dialOutside(t, b, append(opts, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		d.errs <- err
	}))...)
	return d
}

func (d denied) wantRefusal(t *testing.T, what string) {
	t.Helper()
	if err := d.Flush(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-d.errs:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("%s: %v, want a permissions violation", what, err)
		}
	case <-time.After(time.Minute):
		t.Errorf("%s was not refused", what)
	}
}

func TestAnonymousCallerMayDoWhatIsListedAndNothingElse(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	put(t, b.Store(), core.Record{Key: "grant.g_1", Public: []byte(`{}`), Secret: []byte("token")})
	nc := dialDenied(t, b)
	for _, subject := range []string{
		"$KV.>", "$KV.ESIGN.>", "$KV.ESIGN.grant.g_1", ">", "*.>", "esign.>", "esign.api.>", "esign.api.default.token.get",
		"esign.timer.>", "$JS.>", "$JS.EVENT.>", "$SYS.>", "$SRV.>",
	} {
		if _, err := nc.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		nc.wantRefusal(t, "subscribe to "+subject)
	}
	for _, subject := range []string{
		"$KV.ESIGN.grant.g_1", "esign.event.default.token.issued.v.g_1", "esign.timer.at.v.g", "esign.timer.due.v.g",
		"$JS.API.STREAM.INFO.KV_ESIGN", "$JS.API.STREAM.MSG.GET.KV_ESIGN", "$JS.API.DIRECT.GET.KV_ESIGN",
		"$JS.API.CONSUMER.CREATE.KV_ESIGN", "$JS.API.CONSUMER.CREATE.KV_ESIGN.x", "$JS.API.STREAM.INFO.ESIGN_TIMERS",
		"$JS.API.STREAM.PURGE.ESIGN_TIMERS", "$JS.API.STREAM.PURGE.ESIGN_EVENTS", "$JS.API.STREAM.DELETE.ESIGN_EVENTS",
		"$JS.API.STREAM.MSG.DELETE.ESIGN_EVENTS", "$JS.API.STREAM.UPDATE.ESIGN_EVENTS", "$JS.API.STREAM.CREATE.X",
		"$JS.API.STREAM.SNAPSHOT.ESIGN_EVENTS", "$SYS.REQ.SERVER.PING", "$SYS.REQ.USER.INFO", "anything",
	} {
		if err := nc.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		nc.wantRefusal(t, "publish on "+subject)
	}
	js, err := jetstream.New(nc.Conn)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range js.StreamNames(testContext(t)).Name() {
		names = append(names, name)
	}
	if len(names) != 1 || names[0] != wire.EventStream {
		t.Errorf("a caller sees the streams %v, want the events alone", names)
	}
}

func TestReplySubjectOfACallerReachesNoRecord(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	ctx := testContext(t)
	r := core.Record{Key: "grant.g_1", Public: []byte(`{}`), Secret: []byte("token")}
	r.Revision = put(t, b.Store(), r)
	if err := b.Publisher().Publish(ctx, testEvent("e1")); err != nil {
		t.Fatal(err)
	}
	nc := dialOutside(t, b)
	for _, subject := range []string{"$JS.API.INFO", "$JS.API.STREAM.INFO.ESIGN_EVENTS"} {
		if err := nc.PublishRequest(subject, recordPrefix+r.Key, nil); err != nil {
			t.Fatal(err)
		}
	}
	// A push consumer that delivers to the record's subject.
	_, err := nc.Request("$JS.API.CONSUMER.CREATE.ESIGN_EVENTS.push",
		[]byte(`{"stream_name":"ESIGN_EVENTS","config":{"name":"push","deliver_subject":"$KV.ESIGN.grant.g_1","ack_policy":"none"}}`),
		5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Request("$JS.API.INFO", nil, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	got, err := b.Store().Get(ctx, r.Key)
	if err != nil || got.Revision != r.Revision {
		t.Errorf("the record is at revision %d, %v; want %d", got.Revision, err, r.Revision)
	}
}

func TestAnonymousCallerHearsEventsAndAsks(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	ctx := testContext(t)
	sub, err := b.Conn().Subscribe("esign.api.*.token.get", func(m *nats.Msg) { _ = m.Respond([]byte("answer")) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := b.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	nc := dialOutside(t, b)
	heard, err := nc.SubscribeSync("esign.event.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := b.Publisher().Publish(ctx, testEvent("e1")); err != nil {
		t.Fatal(err)
	}
	if _, err := heard.NextMsg(5 * time.Second); err != nil {
		t.Errorf("hear an event: %v", err)
	}
	if m, err := nc.Request("esign.api.default.token.get", nil, 5*time.Second); err != nil || string(m.Data) != "answer" {
		t.Errorf("ask: %v", err)
	}
	consumeOne(ctx, t, nc, jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy})
	consumeOne(ctx, t, nc, jetstream.ConsumerConfig{Durable: "mine", AckPolicy: jetstream.AckExplicitPolicy,
		FilterSubject: "esign.event.default.>"})
}

func consumeOne(ctx context.Context, t *testing.T, nc *nats.Conn, cfg jetstream.ConsumerConfig) {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	c, err := js.CreateOrUpdateConsumer(ctx, wire.EventStream, cfg)
	if err != nil {
		t.Fatalf("make a consumer: %v", err)
	}
	m, err := c.Next(jetstream.FetchMaxWait(5 * time.Second))
	if err != nil {
		t.Fatalf("consume: %v", err)
	}
	if err := m.DoubleAck(ctx); err != nil {
		t.Errorf("acknowledge: %v", err)
	}
	if err := js.DeleteConsumer(ctx, wire.EventStream, c.CachedInfo().Name); err != nil {
		t.Errorf("remove the consumer: %v", err)
	}
}
