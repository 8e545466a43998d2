package e2e

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"testing"
	"time"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/plugins/consent"
	"github.com/esignd/esignd/tests/system"
)

// browser keeps cookies, as a person's does, and stops at every redirect, so that a test sees each.
type browser struct {
	t    testing.TB
	http *http.Client
}

// page is what a browser got.
type page struct {
	status   int
	header   http.Header
	location *url.URL // nil: no redirect
	text     string
}

func newBrowser(t testing.TB) *browser {
	t.Helper()
	jar := system.Must(cookiejar.New(nil))(t)
	return &browser{t: t, http: &http.Client{
		Jar: jar, Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// open opens an address.
func (b *browser) open(address string) page {
	b.t.Helper()
	return readPage(b.t, system.Must(b.http.Get(address))(b.t))
}

// consent opens a connect URL and answers the vendor's page. It returns where the vendor sends the browser: the
// callback, with what the vendor says.
func (b *browser) consent(connectURL, account string, accept bool) *url.URL {
	b.t.Helper()
	p := b.open(connectURL)
	if p.status != http.StatusSeeOther || p.location == nil {
		b.t.Fatalf("the connect URL answers %d %s", p.status, p.text)
	}
	return system.Must(consent.As(b.t.Context(), b.http, p.location.String(), account, accept))(b.t)
}

// finish follows the callback to the end and returns the status there, and the last page.
func (b *browser) finish(callback *url.URL) (string, page) {
	b.t.Helper()
	p := b.open(callback.String())
	if p.status != http.StatusSeeOther || p.location == nil {
		b.t.Fatalf("the callback answers %d %s", p.status, p.text)
	}
	status := p.location.Query().Get("status")
	return status, b.open(p.location.String())
}

// connect connects an account as its owner would, from the first link to the result page.
func connect(t testing.TB, cl *client.Client, name, account string) client.Authorization {
	t.Helper()
	a := system.Must(cl.Authorize(t.Context(), client.AuthorizeRequest{Client: name, Account: account}))(t)
	b := newBrowser(t)
	if status, last := b.finish(b.consent(a.ConnectURL, account, true)); status != "connected" || last.status != http.StatusOK {
		t.Fatalf("connect %s: ended as %q with a page of status %d", account, status, last.status)
	}
	return a
}
