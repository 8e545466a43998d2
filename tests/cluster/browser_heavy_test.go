//go:build heavy

package cluster

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"testing"
	"time"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/tests/system"
)

// TestBrowserMeetsAnotherReplicaAtEachStep connects an account behind a load balancer that sends each request of the browser to
// another replica.
func TestBrowserMeetsAnotherReplicaAtEachStep(t *testing.T) {
	t.Parallel()
	f := startFleet(t, openVendor(t, time.Hour, 0, nil))
	cl := f.service()
	asked := system.Must(cl.Authorize(t.Context(), client.AuthorizeRequest{Client: clientName, Account: account(1)}))(t)
	b := &http.Client{
		Jar: system.Must(cookiejar.New(nil))(t), Timeout: 20 * time.Second, Transport: system.Plain.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	// The sandbox takes the person to have consented before, so each step is a redirect.
	at := system.Must(url.Parse(asked.ConnectURL))(t)
	for _, step := range []struct {
		replica int // -1: the vendor
		want    string
	}{{0, "the vendor"}, {-1, "the callback"}, {1, "the result"}} {
		if step.replica >= 0 {
			at.Host = f.daemons[step.replica].Public
		}
		resp := system.Must(b.Get(at.String()))(t)
		_ = resp.Body.Close()
		if resp.StatusCode/100 != 3 {
			t.Fatalf("on the way to %s: %s", step.want, resp.Status)
		}
		at = system.Must(resp.Location())(t)
	}
	if status := at.Query().Get("status"); status != "connected" {
		t.Errorf("ended as %q", status)
	}
	at.Host = f.daemons[2].Public
	resp := system.Must(b.Get(at.String()))(t)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the page of the result: %s", resp.Status)
	}
	tok := system.Must(cl.Token(t.Context(), selector(1)))(t)
	if live, err := f.vendor.live(tok.AccessToken.Reveal()); err != nil || !live {
		t.Errorf("the vendor takes the token: %t, %v", live, err)
	}
}
