package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/plugins/consent"
)

// demoAccount is a person who connects, and the service that uses their token.
type demoAccount struct {
	client  string
	account string
	vendor  string
	api     string // a path at the vendor that answers 200 to a live token
}

var demoAccounts = [...]demoAccount{
	{"adobe-main", "alice@example.com", "adobesign", "/api/rest/v6/users/me"},
	{"dropbox-main", "bob@example.com", "dropboxsign", "/v3/account"},
	{"global-main", "carol@example.com", "esignglobal", "/esignglobal/v1/envelope/envelopeDetail?envelopeId=demo"},
}

// demoWithin is how long --once waits for every kind of event of every vendor.
const demoWithin = time.Minute

// demo drives the accounts and counts what it sees.
type demo struct {
	out   io.Writer
	cl    *client.Client
	began time.Time

	mu   sync.Mutex
	seen map[string]bool // vendor and type; guarded by mu
	all  chan struct{}   // closed when every vendor has shown every kind
}

var demoTypes = [...]client.EventType{client.TokenIssued, client.TokenExpiring, client.TokenRevoked}

// runDemo connects the demo accounts as their owners would, uses their tokens as a service would, and revokes and
// connects again, until ctx ends or, with once, everything was seen.
func runDemo(ctx context.Context, s streams, server string, once bool) error {
	cl, closeConn, err := client.Dial(ctx, client.DialConfig{URL: server, Tenant: "default", Name: "esignd-demo"})
	if err != nil {
		return err
	}
	defer closeConn()
	d := &demo{out: s.out, cl: cl, began: time.Now(), seen: map[string]bool{}, all: make(chan struct{})}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return cl.Watch(ctx, client.WatchConfig{}, d.heard) })
	for _, a := range demoAccounts {
		group.Go(func() error {
			err := d.live(ctx, a)
			if ctx.Err() != nil {
				return nil // what the end cuts short is no failure
			}
			return err
		})
	}
	group.Go(func() error {
		select {
		case <-d.all:
			d.printf("every vendor has shown token.issued, token.expiring and token.revoked, %s after the start\n", time.Since(d.began).Round(time.Second))
			if once {
				cancel()
			}
			return nil
		case <-time.After(demoWithin):
			if once {
				return fmt.Errorf("not every kind of event was seen within %s: %v", demoWithin, d.seenSoFar())
			}
			return nil
		case <-ctx.Done():
			return nil
		}
	})
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (d *demo) printf(format string, args ...any) { _, _ = fmt.Fprintf(d.out, format, args...) }

func (d *demo) seenSoFar() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []string
	for k := range d.seen {
		list = append(list, k)
	}
	return list
}

// heard prints an event and notes it.
func (d *demo) heard(e client.Event) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range demoTypes {
		if e.Type == t && e.Account != "" {
			d.seen[e.Vendor+" "+string(t)] = true
		}
	}
	if len(d.seen) == len(demoAccounts)*len(demoTypes) {
		select {
		case <-d.all:
		default:
			close(d.all)
		}
	}
	return printEvent(d.out, e)
}

// generationsEach is how many tokens an account gets before it is revoked and connected again.
const generationsEach = 2

// live connects an account, uses its tokens, revokes it, and begins again.
func (d *demo) live(ctx context.Context, a demoAccount) error {
	sel := client.Selector{Client: a.client, Account: a.account}
	for ctx.Err() == nil {
		if err := d.connect(ctx, a); err != nil {
			return fmt.Errorf("connect %s: %w", a.account, err)
		}
		if err := d.use(ctx, a, sel); err != nil {
			return fmt.Errorf("use the token of %s: %w", a.account, err)
		}
		if ctx.Err() != nil {
			return nil
		}
		if _, err := d.cl.Revoke(ctx, sel, "demo"); err != nil {
			return fmt.Errorf("revoke %s: %w", a.account, err)
		}
		if _, err := d.cl.Token(ctx, sel); !errors.Is(err, client.ReauthorizationRequired) && ctx.Err() == nil {
			return fmt.Errorf("a token of %s after it was revoked: %w", a.account, err)
		}
	}
	return nil
}

// connect goes through the connect flow as a browser does: ticket, consent page, callback, with cookies.
func (d *demo) connect(ctx context.Context, a demoAccount) error {
	auth, err := d.cl.Authorize(ctx, client.AuthorizeRequest{Client: a.client, Account: a.account})
	if err != nil {
		return err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	browser := &http.Client{Jar: jar, Timeout: 15 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	page, err := visit(ctx, browser, auth.ConnectURL, http.StatusSeeOther)
	if err != nil {
		return err
	}
	back, err := consent.As(ctx, browser, page, a.account, true)
	if err != nil {
		return err
	}
	_, err = visit(ctx, browser, back.String(), http.StatusSeeOther)
	return err
}

// visit opens a page, checks the status, and returns where it sends the browser.
func visit(ctx context.Context, browser *http.Client, url string, want int) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", errors.New("the address is not a URL") // the error's text would hold it, and it holds a secret
	}
	resp, err := browser.Do(req)
	if err != nil {
		return "", errors.New("the page did not answer")
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != want {
		return "", fmt.Errorf("the page at %s answered %s", req.URL.Path, resp.Status)
	}
	return resp.Header.Get("Location"), nil
}

// use asks for a token every few seconds and calls the vendor with it, until the account has had its generations.
func (d *demo) use(ctx context.Context, a demoAccount, sel client.Selector) error {
	ticker := time.NewTicker(3 * time.Second)
	defer ticker.Stop()
	first := uint64(0)
	for {
		tok, err := d.cl.Token(ctx, sel)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if first == 0 {
			first = tok.Generation
		}
		if tok.Generation >= first+generationsEach {
			return nil
		}
		status, err := callVendor(ctx, tok, a.api)
		if err != nil {
			return err
		}
		d.printf("%s  %-30s %-12s %-28s generation %-3d HTTP %d, expires in %s\n", time.Now().Format(time.TimeOnly), "used the token", a.vendor, a.account, tok.Generation, status, tok.ExpiresIn)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// callVendor calls the vendor's API with a token.
func callVendor(ctx context.Context, tok client.Token, path string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, tok.APIBaseURL+path, nil)
	if err != nil {
		return 0, fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+tok.AccessToken.Reveal())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("call the vendor's API: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	return resp.StatusCode, nil
}
