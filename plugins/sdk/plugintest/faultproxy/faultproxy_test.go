package faultproxy_test

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/esignd/esignd/plugins/sdk/plugintest/faultproxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// vendor is a token endpoint that answers every POST to /token and names its own URL.
type vendor struct {
	*httptest.Server
	acted atomic.Int64
}

func startVendor(t *testing.T) *vendor {
	v := &vendor{}
	v.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/token":
			v.acted.Add(1)
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"access_token":"real","expires_in":3600,"refresh_token":"next","api_access_point":"%s/"}`, v.URL)
		case "/go":
			http.Redirect(w, r, v.URL+"/there", http.StatusFound)
		default:
			_, _ = io.WriteString(w, r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("X-Mine"))
		}
	}))
	t.Cleanup(v.Close)
	return v
}

func startProxy(t *testing.T, cfg faultproxy.Config) *faultproxy.Proxy {
	t.Helper()
	p, err := faultproxy.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// caller sends what an adapter would, on a connection of its own, and does not follow redirects.
func caller(t *testing.T) *http.Client {
	transport := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func askToken(t *testing.T, c *http.Client, base string) (*http.Response, []byte, error) {
	t.Helper()
	res, err := c.Post(base+"/token", "application/x-www-form-urlencoded", strings.NewReader("grant_type=refresh_token"))
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 2<<20))
	return res, body, err
}

func TestForwardsAndStandsForTheSandbox(t *testing.T) {
	v := startVendor(t)
	p := startProxy(t, faultproxy.Config{Target: v.URL})
	req, _ := http.NewRequest(http.MethodGet, p.URL()+"/a?b=c", nil)
	req.Header.Set("X-Mine", "kept")
	res, err := caller(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if got := string(body); got != "GET /a?b=c kept" {
		t.Errorf("got %q", got)
	}
	if _, body, err = askToken(t, caller(t), p.URL()); err != nil || !strings.Contains(string(body), p.URL()+"/") || strings.Contains(string(body), v.URL) {
		t.Errorf("the answer does not name the proxy: %s, %v", body, err)
	}
	res, err = caller(t).Get(p.URL() + "/go")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if got := res.Header.Get("Location"); got != p.URL()+"/there" {
		t.Errorf("Location %q", got)
	}
	if got := p.Stats(); got != (faultproxy.Stats{Requests: 3, TokenRequests: 1}) {
		t.Errorf("counted %+v", got)
	}
}

func TestAFaultMeetsOneTokenRequestAndNoOther(t *testing.T) {
	v := startVendor(t)
	p := startProxy(t, faultproxy.Config{Target: v.URL})
	f, _ := faultproxy.ByName("500")
	p.Next(f)
	res, err := caller(t).Get(p.URL() + "/a")
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", res, err)
	}
	_ = res.Body.Close()
	for i, want := range []int{500, 200} {
		res, body, err := askToken(t, caller(t), p.URL())
		if err != nil || res.StatusCode != want {
			t.Errorf("token request %d: %v, %v", i, res, err)
		}
		if got := strings.Contains(string(body), faultproxy.Canary); got != (want == 500) {
			t.Errorf("token request %d: %s", i, body)
		}
	}
	if v.acted.Load() != 1 {
		t.Errorf("the vendor acted %d times", v.acted.Load())
	}
	p.Next(f.Acts())
	if res, _, err := askToken(t, caller(t), p.URL()); err != nil || res.StatusCode != http.StatusInternalServerError || v.acted.Load() != 2 {
		t.Errorf("%v, %v, acted %d times", res, err, v.acted.Load())
	}
}

func TestAPredicateSaysWhatATokenRequestIs(t *testing.T) {
	v := startVendor(t)
	p := startProxy(t, faultproxy.Config{Target: v.URL, IsTokenRequest: func(r *http.Request, _ []byte) bool { return r.URL.Path == "/a" }})
	f, _ := faultproxy.ByName("503")
	p.Next(f)
	if res, _, err := askToken(t, caller(t), p.URL()); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("%v, %v", res, err)
	}
	res, err := caller(t).Get(p.URL() + "/a")
	if err != nil || res.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("%v, %v", res, err)
	}
	_ = res.Body.Close()
}

// How each fault looks to a caller that takes up to 2 MiB and does not wait for ever. A status of 0 is an error before
// the head of the answer, bodyErr one after it.
func TestFaultsAsTheirNamesSay(t *testing.T) {
	const failed = 0
	type look struct {
		status  int
		bodyErr bool
		body    func(string) bool
	}
	has := func(parts ...string) func(string) bool {
		return func(s string) bool {
			return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(s, p) })
		}
	}
	real := has(`"real"`)
	looks := map[string]look{
		"400 invalid_grant":       {400, false, has("invalid_grant", faultproxy.Canary)},
		"401 invalid_client":      {401, false, has("invalid_client")},
		"429 retryAfter":          {429, false, has(`"retryAfter":90`)},
		"slow headers":            {status: failed},
		"a byte a second":         {200, true, nil},
		"hang":                    {status: failed},
		"hang in the body":        {200, true, nil},
		"reset":                   {status: failed},
		"reset in the body":       {200, true, nil},
		"closed":                  {status: failed},
		"not HTTP":                {status: failed},
		"headers without end":     {status: failed},
		"refused connection":      {status: failed},
		"TLS untrusted":           {status: failed},
		"TLS not spoken":          {status: failed},
		"truncated JSON":          {200, true, nil},
		"empty 200":               {200, false, func(s string) bool { return s == "" }},
		"64 MiB body":             {200, false, func(s string) bool { return len(s) == 2<<20 && strings.HasPrefix(s, `{"access_token"`) }},
		"compressed bomb":         {200, false, inflates},
		"302 elsewhere":           {302, false, has(faultproxy.Canary)},
		"307 elsewhere":           {307, false, has(faultproxy.Canary)},
		"expires_in missing":      {200, false, func(s string) bool { return real(s) && !strings.Contains(s, "expires_in") }},
		"expires_in negative":     {200, false, has(`"real"`, `"expires_in":-3600`)},
		"expires_in huge":         {200, false, has(`"real"`, `"expires_in":1000000000000000000`)},
		"no refresh_token":        {200, false, func(s string) bool { return real(s) && !strings.Contains(s, "refresh_token") }},
		"duplicate keys":          {200, false, func(s string) bool { return strings.Count(s, `"access_token"`) == 2 && json.Valid([]byte(s)) }},
		"error in a 200":          {200, false, has("invalid_grant")},
		"error beside a token":    {200, false, has("invalid_grant", `"real"`)},
		"Latin-1":                 {200, false, has(`"real"`, "\xe9")},
		"business error in a 200": {200, false, has(`"code":"1000004"`)},
	}
	for _, f := range faultproxy.Faults() {
		want, named := looks[f.Name]
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			v := startVendor(t)
			p := startProxy(t, faultproxy.Config{Target: v.URL})
			p.Next(f)
			c := caller(t)
			if strings.Contains(f.Name, "hang") || strings.Contains(f.Name, "slow") || strings.Contains(f.Name, "a second") {
				c.Timeout = 300 * time.Millisecond
			}
			res, body, err := askToken(t, c, p.URLFor(f))
			if !named {
				if res == nil || err != nil {
					t.Fatalf("no whole answer: %v", err)
				}
				return
			}
			if (res == nil) != (want.status == failed) || res != nil && (res.StatusCode != want.status || (err != nil) != want.bodyErr) {
				t.Fatalf("got %v, %v", res, err)
			}
			if want.body != nil && !want.body(string(body)) {
				t.Errorf("body %.200q", body)
			}
			if got := p.Stats().Elsewhere; got != 0 {
				t.Errorf("%d visits elsewhere", got)
			}
		})
		delete(looks, f.Name)
	}
	if len(looks) > 0 {
		t.Errorf("there are no such faults: %v", looks)
	}
}

// inflates reports whether the text is the start of gzip that does not end soon.
func inflates(s string) bool {
	r, err := gzip.NewReader(strings.NewReader(s))
	if err != nil {
		return false
	}
	n, err := io.Copy(io.Discard, io.LimitReader(r, 64<<20))
	return err == nil && n == 64<<20
}

func TestEveryFaultSaysTheCanary(t *testing.T) {
	silent := []string{"hang", "reset", "closed", "refused connection", "TLS untrusted", "TLS not spoken"}
	for _, f := range faultproxy.Faults() {
		if slices.Contains(silent, f.Name) {
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, faultproxy.Config{Target: startVendor(t).URL, Pace: time.Millisecond})
			p.Next(f)
			conn, err := net.Dial("tcp", p.URL()[len("http://"):])
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			const body = "grant_type=refresh_token"
			_, err = fmt.Fprintf(conn, "POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			if err != nil {
				t.Fatal(err)
			}
			var said strings.Builder
			for buf := make([]byte, 4096); !strings.Contains(said.String(), faultproxy.Canary); {
				n, err := conn.Read(buf)
				said.Write(buf[:n])
				if err != nil {
					t.Fatalf("it said %.200q", said.String())
				}
			}
		})
	}
}

func TestWhoeverFollowsARedirectIsCounted(t *testing.T) {
	p := startProxy(t, faultproxy.Config{Target: startVendor(t).URL})
	for i, name := range []string{"302 elsewhere", "307 elsewhere"} {
		f, _ := faultproxy.ByName(name)
		p.Next(f)
		follower := caller(t)
		follower.CheckRedirect = nil
		res, body, err := askToken(t, follower, p.URL())
		if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(body), "access_token") {
			t.Errorf("%s: %v, %v", name, res, err)
		}
		if got := p.Stats().Elsewhere; got != i+1 {
			t.Errorf("%s: %d visits elsewhere", name, got)
		}
	}
}

func TestConnectionsAreRefusedUntilRestored(t *testing.T) {
	p := startProxy(t, faultproxy.Config{Target: startVendor(t).URL})
	f, _ := faultproxy.ByName("refused connection")
	p.Next(f)
	p.Next(f)
	if _, _, err := askToken(t, caller(t), p.URL()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v", err)
	}
	if err := p.Restore(); err != nil {
		t.Fatal(err)
	}
	if res, _, err := askToken(t, caller(t), p.URL()); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("after Restore: %v, %v", res, err)
	}
}

func TestRestoreDropsFaultsThatHaveNotHappened(t *testing.T) {
	p := startProxy(t, faultproxy.Config{Target: startVendor(t).URL})
	f, _ := faultproxy.ByName("500")
	p.Next(f)
	if err := p.Restore(); err != nil {
		t.Fatal(err)
	}
	if res, _, err := askToken(t, caller(t), p.URL()); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("%v, %v", res, err)
	}
}

func TestCloseLetsNobodyWait(t *testing.T) {
	p := startProxy(t, faultproxy.Config{Target: startVendor(t).URL})
	f, _ := faultproxy.ByName("hang")
	p.Next(f)
	asked := make(chan error, 1)
	go func() {
		_, _, err := askToken(t, &http.Client{}, p.URL())
		asked <- err
	}()
	for deadline := time.Now().Add(3 * time.Second); p.Stats().Faulted == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the fault was not met")
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := <-asked; err == nil {
		t.Error("the caller got an answer")
	}
}

func TestATargetHasToBeAURL(t *testing.T) {
	for _, target := range []string{"", "127.0.0.1:80", "https://127.0.0.1", "http://"} {
		if p, err := faultproxy.Start(faultproxy.Config{Target: target}); err == nil {
			t.Errorf("%q is taken", target)
			_ = p.Close()
		}
	}
}
