//go:build heavy

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/esignd/esignd/bus"
	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/tests/system"
)

const (
	tenant     = "default"
	clientName = "bench"
)

// accountName names an account; kind keeps those of different purposes apart.
func accountName(kind string, i int) string { return fmt.Sprintf("%s-%07d@example.com", kind, i) }

// crop is grants to be put into a store.
type crop struct {
	kind          string
	n             int
	lifetime, age time.Duration // of the access tokens
}

// sow puts grants into the store of a daemon that does not run, as if each had been imported. They are written through
// package bus to a server that does not sync, since a hundred thousand imports would take minutes. The form of a record
// is that of a grant that the daemon itself has imported. It returns the number of the last write.
func sow(t testing.TB, d *system.Daemon, v *vendor, crops ...crop) uint64 {
	t.Helper()
	model := importModel(t, d, v)
	srv := openStore(t, d)
	defer srv.WaitForShutdown()
	defer srv.Shutdown()
	dir := t.TempDir()
	keyset := filepath.Join(dir, "keyset.json") // a copy: this Bus wraps it
	b, err := os.ReadFile(filepath.Join(d.DataDir, "keyset.json"))
	if err == nil {
		err = os.WriteFile(keyset, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	opened := system.Must(bus.Open(t.Context(), bus.Config{
		DataDir: filepath.Join(dir, "bus"), URL: srv.ClientURL(), Logger: slog.New(slog.DiscardHandler),
		Keys: bus.Keys{Keyset: keyset, Wrap: core.NewSecret(strings.Repeat("ab", 32))},
	}))(t)
	rec := system.Must(opened.Store().Get(t.Context(), "grant."+model))(t)
	for _, c := range crops {
		write(t, opened.Store(), v, rec, c)
	}
	if err := opened.Store().Delete(t.Context(), rec.Key, rec.Revision); err != nil {
		t.Fatal(err)
	}
	if err := opened.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return tidy(t, srv.ClientURL())
}

// importModel has the daemon import one grant, stops it, and returns the grant's id.
func importModel(t testing.TB, d *system.Daemon, v *vendor) string {
	t.Helper()
	const name = "model@example.com"
	v.seeded(name, time.Time{})
	d.Start()
	g := system.Must(d.Dial().Import(t.Context(), client.ImportRequest{
		Client: clientName, Account: name, RefreshToken: core.NewSecret(refreshToken(name, 1)),
		AccessToken: core.NewSecret(accessToken(name, 1)), ExpiresAt: time.Now().Add(24 * time.Hour),
	}))(t)
	d.Stop()
	return g.Grant
}

// openStore serves the daemon's store without syncs.
func openStore(t testing.TB, d *system.Daemon) *server.Server {
	t.Helper()
	const name = "ESIGND"
	account := server.NewAccount(name)
	srv := system.Must(server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true,
		StoreDir: filepath.Join(d.DataDir, "nats"), Accounts: []*server.Account{account},
		Users: []*server.User{{Username: "sower", Password: "sower", Account: account}}, NoAuthUser: "sower",
	}))(t)
	srv.Start()
	if !srv.ReadyForConnections(30 * time.Second) {
		t.Fatal("the server of the store does not get ready")
	}
	served := system.Must(srv.LookupAccount(name))(t) // the server has a copy
	if err := served.EnableJetStream(nil, nil); err != nil && !served.JetStreamEnabled() {
		t.Fatal(err)
	}
	return srv
}

// tidy removes the stream of events that a Bus makes in this account, where the daemon has none, and returns the number
// of the last write of a record.
func tidy(t testing.TB, url string) uint64 {
	t.Helper()
	nc := system.Must(nats.Connect(url))(t)
	defer nc.Close()
	js := system.Must(jetstream.New(nc))(t)
	if err := js.DeleteStream(t.Context(), "ESIGN_EVENTS"); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Fatal(err)
	}
	return system.Must(js.Stream(t.Context(), "KV_ESIGN"))(t).CachedInfo().State.LastSeq
}

// recordWrites returns the number of the last write of a record in the store of a daemon that does not run.
func recordWrites(t testing.TB, d *system.Daemon) uint64 {
	t.Helper()
	srv := openStore(t, d)
	defer srv.WaitForShutdown()
	defer srv.Shutdown()
	return tidy(t, srv.ClientURL())
}

// write puts a crop into the store.
func write(t testing.TB, store core.Store, v *vendor, model core.Record, c crop) {
	t.Helper()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(128)
	for i := range c.n {
		group.Go(func() error { return writeOne(ctx, store, v, model.Public, c, accountName(c.kind, i)) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

func writeOne(ctx context.Context, store core.Store, v *vendor, model []byte, c crop, name string) error {
	id := core.GrantID(tenant, clientName, name)
	issued := time.Now().UTC().Add(-c.age)
	rec := core.Record{Key: "grant." + id, Public: model}
	for member, value := range map[string]any{"id": id, "account": name, "lifetime": c.lifetime, "age": c.age, "issued_at": issued} {
		var err error
		if rec.Public, err = with(rec.Public, member, value); err != nil {
			return err
		}
	}
	secret, err := json.Marshal(map[string]string{"access_token": accessToken(name, 1), "refresh_token": refreshToken(name, 1)})
	if err != nil {
		return err
	}
	rec.Secret = secret
	v.seeded(name, issued.Add(c.lifetime))
	_, err = store.Put(ctx, rec)
	return err
}

// with returns a record with another value of a string or a number, and all else as the daemon wrote it: members in another
// order would take it longer to read.
func with(public []byte, member string, value any) ([]byte, error) {
	b, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	before, after, ok := bytes.Cut(public, []byte(`,"`+member+`":`))
	end := bytes.IndexAny(after, ",}") // of a value that has neither
	if !ok || end < 0 {
		return nil, fmt.Errorf("the record that is the model has no %s", member)
	}
	return slices.Concat(before, []byte(`,"`+member+`":`), b, after[end:]), nil
}
