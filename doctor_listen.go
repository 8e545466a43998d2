package esignd

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/esignd/esignd/bus"
	"github.com/esignd/esignd/core"
)

// listeners looks at the addresses that callers, browsers and vendors come to.
func (d *doctor) listeners(ctx context.Context) {
	const part = "http"
	if !d.running {
		d.free(ctx, part, "http.listen", d.cfg.HTTP.Listen)
		d.free(ctx, part, "http.admin", d.cfg.HTTP.Admin)
		if d.cfg.NATS.URL == "" {
			d.free(ctx, "nats", "nats.listen", d.cfg.NATS.Listen)
		}
	}
	public := strings.TrimSuffix(d.cfg.HTTP.PublicURL, "/")
	for _, cl := range d.cfg.Clients {
		if cl.GrantType == core.AuthorizationCode {
			d.add(part, bus.Note, "", "the redirect URI to register at %s for client %s is %s/oauth/callback/%s", cl.Vendor, cl.Name, public, cl.Name)
		}
	}
	u, err := url.Parse(public)
	if err != nil {
		return // the configuration was checked
	}
	if loopback(net.JoinHostPort(u.Hostname(), "0")) {
		d.add(part, bus.Note, "", "http.public_url is %s: only a browser on this machine can connect an account", public)
	}
	if !d.running {
		d.add(part, bus.Note, "run esignd doctor again while esignd runs", "esignd does not run, so that %s was not asked", public)
		return
	}
	d.callback(ctx, public)
}

// callback asks for the health of what browsers reach at the public URL.
func (d *doctor) callback(ctx context.Context, public string) {
	const part = "http"
	ctx, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, public+"/healthz", nil)
	if err != nil {
		d.add(part, bus.Problem, "mend http.public_url", "%s is not an address that can be asked", public)
		return
	}
	stay := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := stay.Do(req)
	if err != nil {
		d.add(part, bus.Warning, "see to DNS, to the proxy in front of esignd and to its certificate; a machine behind the proxy may not see it as browsers do",
			"http.public_url does not answer from here: %v", err)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		d.add(part, bus.Warning, "let the proxy pass on every path to http.listen", "%s/healthz answers %s: it is not esignd that browsers reach", public, resp.Status)
		return
	}
	d.add(part, bus.Fine, "", "esignd answers at %s", public)
}

// free sees whether an address can be listened on.
func (d *doctor) free(ctx context.Context, part, setting, address string) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		d.add(part, bus.Problem, "stop the program that listens there, or set "+setting+" to another address", "%s: %v", setting, err)
		return
	}
	_ = l.Close()
	d.add(part, bus.Fine, "", "%s: %s is free", setting, address)
}
