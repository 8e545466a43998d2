// Embed-store is a program that has esignd's engine in it, and nothing else of esignd: no NATS, no listener, no process
// beside its own. The vendor's adapter runs in process, and grants are kept in a file of the program's own (bbolt).
//
//	go run .
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/examples/embed-store/boltstore"
	"github.com/esignd/esignd/plugins/consent"
	"github.com/esignd/esignd/plugins/dropboxsign"
	"github.com/esignd/esignd/plugins/dropboxsign/sandbox"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run lives twice on one file: in the first life an account is connected, in the second its token is there.
func run(ctx context.Context, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "embed-store")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	box, err := sandbox.New(sandbox.Config{AccessLifetime: 3 * time.Second})
	if err != nil {
		return err
	}
	if err := box.Start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, box.Close()) }()
	p := program{path: filepath.Join(dir, "state"), key: make([]byte, 32), box: box, out: out}
	_, _ = rand.Read(p.key) // never fails; a real key comes from where the program has its secrets
	for range 2 {
		if err := p.live(ctx); err != nil {
			return err
		}
	}
	return nil
}

// program is what stays between its lives.
type program struct {
	path string
	key  []byte
	box  *sandbox.Server
	out  io.Writer
}

var alice = client.Selector{Client: "dropbox", Account: "alice@example.com"}

// live opens the file, uses alice's token until it was refreshed, and closes everything.
func (p program) live(ctx context.Context) (err error) {
	db, err := bbolt.Open(p.path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }() // last: the engine writes until it is closed
	store, err := boltstore.New(db, p.key)
	if err != nil {
		return err
	}
	told := make(chan core.Transition, 16)
	m, err := p.engine(store, told)
	if err != nil {
		return err
	}
	if err := m.Start(ctx); err != nil {
		return err
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		err = errors.Join(err, m.Close(stopping))
	}()
	esign, err := client.NewLocal(m, "default")
	if err != nil {
		return err
	}
	token, err := esign.Token(ctx, alice)
	if errors.Is(err, client.NotFound) {
		if err := p.connect(ctx, m); err != nil {
			return err
		}
		token, err = esign.Token(ctx, alice)
	}
	if err != nil {
		return err
	}
	if err := p.call(ctx, esign, token); err != nil {
		return err
	}
	return p.awaitRefresh(ctx, told, token.Generation)
}

// engine returns the engine over a store, with the vendor's adapter in this process.
func (p program) engine(store core.Store, told chan<- core.Transition) (*core.Manager, error) {
	id, secret := p.box.Client()
	return core.New(core.Config{
		Store:    store,
		Adapters: core.AdapterMap{"dropboxsign": dropboxsign.New(dropboxsign.Config{})},
		Clients: []core.Client{{
			Name: "dropbox", Vendor: "dropboxsign", Tenants: []string{"default"}, RedirectURIs: []string{callback},
			Credentials: core.Credentials{ClientID: id, ClientSecret: core.NewSecret(secret), Settings: p.box.Settings()},
		}},
		Hooks: core.Hooks{Transition: func(_ context.Context, t core.Transition) { told <- t }},
	})
}

// callback is where the program would answer the browser that the vendor sends back.
const callback = "http://127.0.0.1:9/callback"

// connect has alice consent. A program sends her browser to AuthorizationURL, and hands all that her browser brings back to
// Exchange; here she presses the button of the sandbox's page.
func (p program) connect(ctx context.Context, m *core.Manager) error {
	a, err := m.Authorize(ctx, core.AuthorizeRequest{Tenant: "default", Client: alice.Client, Account: alice.Account, RedirectURI: callback})
	if err != nil {
		return err
	}
	back, err := consent.Consent(ctx, http.DefaultClient, a.AuthorizationURL, true)
	if err != nil {
		return err
	}
	g, err := m.Exchange(ctx, core.ExchangeRequest{Tenant: "default", Params: back.Query(), RedirectURI: callback})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.out, "%s is connected\n", g.Account)
	return err
}

// call asks the vendor's API who alice is.
func (p program) call(ctx context.Context, esign client.API, token client.Token) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.box.URL()+"/v3/account", nil)
	if err != nil {
		return err
	}
	api := http.Client{Transport: esign.Transport(alice, nil)}
	resp, err := api.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = fmt.Fprintf(p.out, "token: generation %d; the API answers %s\n", token.Generation, resp.Status)
	return err
}

// awaitRefresh waits for the hook to tell of a token that nobody has asked for.
func (p program) awaitRefresh(ctx context.Context, told <-chan core.Transition, generation uint64) error {
	for {
		select {
		case t := <-told:
			_, _ = fmt.Fprintf(p.out, "hook: %s is %s, generation %d, %s\n", t.Account, t.To, t.Generation, t.Reason)
			if t.Generation > generation {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
