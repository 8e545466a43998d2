//go:build heavy

package site

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/tests/page"
	"github.com/esignd/esignd/tests/system"
)

// TestTheGoOfThePagesWorks runs what the pages show in Go: an account that nobody connected, one that is, calls of the vendor, and the
// end of its grant.
func TestTheGoOfThePagesWorks(t *testing.T) {
	t.Parallel()
	session := newSession(t)
	do := func(kind, text string) {
		t.Helper()
		b := page.Block{Kind: kind, Text: text, Link: kind == "text", Stays: text == "bin/esignd dev\n"}
		if _, err := session.Do(b); err != nil {
			t.Fatal(err, session.Logs())
		}
	}
	do("sh", "bin/esignd dev\n")
	do("text", "…\nesignd is up…\n")
	do("sh", "echo $ESIGND_SERVER\n")
	esign, nc, err := connect(strings.TrimSpace(session.Output()))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	link := ""
	s := service{esign: esign, who: client.Selector{Client: "dropbox-main", Account: "bob@example.com"}, sendToOwner: func(l string) error {
		link = l
		return nil
	}}
	ctx := t.Context()
	for range 2 { // unknown, then pending
		if token, err := s.ask(ctx); err != nil || token != "" || link == "" {
			t.Fatalf("%q %q: %v", token, link, err)
		}
	}
	do("sh", "echo "+link+"\n")
	do("text", "http://…\n")
	if token, err := s.ask(ctx); err != nil || token == "" {
		t.Fatalf("%q: %v", token, err)
	}
	account := system.Must(esign.Token(ctx, s.who))(t).APIBaseURL + "/v3/account"
	if status, err := s.call(ctx, account); status != http.StatusOK {
		t.Errorf("%d: %v", status, err)
	}
	resp := system.Must(s.library(ctx).Get(account))(t)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Error(resp.Status)
	}
	system.Must(esign.Revoke(ctx, s.who, "over"))(t)
	done := errors.New("heard")
	s.heard = func(e client.Event) error {
		if e.Type != client.TokenRevoked || e.Account != s.who.Account || e.Reason != "over" {
			t.Errorf("heard %+v", e)
		}
		return done
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := s.watch(ctx); !errors.Is(err, done) {
		t.Error(err)
	}
}
