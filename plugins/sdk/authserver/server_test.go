package authserver

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	at "github.com/esignd/esignd/plugins/sdk/authserver/authservertest"
)

// startServer serves a token endpoint that knows refreshes only.
func startServer(t testing.TB, l *Ledger) *Server {
	t.Helper()
	var s *Server
	s, err := NewServer(ServerConfig{Ledger: l, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.TokenEndpoint("", func(w http.ResponseWriter, _ *http.Request, p url.Values, unreadable error) {
			set, err := l.Refresh(p.Get("refresh_token"))
			if unreadable != nil || err != nil {
				WriteJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
				return
			}
			WriteJSON(w, http.StatusOK, map[string]string{"access_token": set.Access, "refresh_token": set.Refresh})
		}, Form).ServeHTTP(w, r)
	})})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func refreshRequest(t testing.TB, s *Server, token string) *http.Request {
	return at.Form(t, s.URL(), at.Params("grant_type", "refresh_token", "refresh_token", token))
}

func rotating(t testing.TB) *Ledger {
	cfg := testConfig(at.NewClock())
	cfg.Rotate = true
	return newLedger(t, cfg)
}

// eventually polls a condition for ten seconds.
func eventually(t testing.TB, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to that")
		}
	}
}

func TestServerListensOnTheLoopbackOnly(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "example.com:80", "nonsense"} {
		if _, err := NewServer(ServerConfig{Listen: listen, Ledger: rotating(t)}); err == nil {
			t.Errorf("%s is taken", listen)
		}
	}
}

func TestFaultAfterTheVendorActedLosesTheRotation(t *testing.T) {
	l := rotating(t)
	s := startServer(t, l)
	set := issue(t, l, "a")
	s.FailNext(1, Fault{Act: true, Drop: true})
	if _, err := at.Client().Do(refreshRequest(t, s, set.Refresh)); err == nil {
		t.Fatal("an answer came")
	}
	if n := l.Stats().Issued["refresh_token"]; n != 1 {
		t.Fatalf("the vendor acted %d times", n)
	}
	if a := at.Do(t, refreshRequest(t, s, set.Refresh)); a.Text("error") != "invalid_grant" {
		t.Errorf("the spent token is taken: %d", a.Status)
	}
}

func TestFaultBeforeTheVendorActsChangesNothing(t *testing.T) {
	l := rotating(t)
	s := startServer(t, l)
	set := issue(t, l, "a")
	s.FailNext(2, Fault{Status: 502, Header: http.Header{"Content-Type": {"text/html"}}, Body: "<html>"})
	s.FailNext(1, Fault{Drop: true})
	for range 2 {
		if a := at.Do(t, refreshRequest(t, s, set.Refresh)); a.Status != 502 || a.Body != "<html>" {
			t.Errorf("%d", a.Status)
		}
	}
	if _, err := at.Client().Do(refreshRequest(t, s, set.Refresh)); err == nil {
		t.Error("an answer came")
	}
	if a := at.Do(t, refreshRequest(t, s, set.Refresh)); a.Status != 200 {
		t.Errorf("after the faults: %d", a.Status)
	}
	if n := l.Stats().TokenRequests["refresh_token"]; n != 4 {
		t.Errorf("counted %d requests", n)
	}
}

func TestSlowAnswersShowOverlappingRefreshes(t *testing.T) {
	cfg := testConfig(at.NewClock())
	l := newLedger(t, cfg)
	s := startServer(t, l)
	set := issue(t, l, "a")
	hold := make(chan struct{})
	s.FailNext(1, Fault{Act: true, Wait: hold})
	first := make(chan at.Answer, 1)
	go func() { first <- at.Do(t, refreshRequest(t, s, set.Refresh)) }()
	eventually(t, func() bool { return l.Stats().Issued["refresh_token"] == 1 })
	if a := at.Do(t, refreshRequest(t, s, set.Refresh)); a.Status != 200 {
		t.Errorf("second: %d", a.Status)
	}
	close(hold)
	if a := <-first; a.Status != 200 || a.Text("access_token") == "" {
		t.Errorf("first: %d", a.Status)
	}
	at.Do(t, refreshRequest(t, s, set.Refresh))
	if n := s.Stats().OverlappingRefreshes; n != 1 {
		t.Errorf("counted %d overlaps", n)
	}
}

func TestCloseEndsRequestsThatHang(t *testing.T) {
	l := rotating(t)
	s := startServer(t, l)
	s.FailNext(1, Fault{Wait: make(chan struct{})})
	failed := make(chan error, 1)
	go func() {
		resp, err := at.Client().Do(refreshRequest(t, s, "x"))
		if err == nil {
			_ = resp.Body.Close()
		}
		failed <- err
	}()
	eventually(t, func() bool { return l.Stats().TokenRequests["refresh_token"] == 1 })
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-failed; err == nil {
		t.Error("the hanging request was answered")
	}
	if err := s.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
}

func TestTakenPortOfTheLastStartIsAnError(t *testing.T) {
	cfg := testConfig(at.NewClock())
	cfg.StateFile = filepath.Join(t.TempDir(), "state.json")
	s := startServer(t, newLedger(t, cfg))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", strings.TrimPrefix(s.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	next, err := NewServer(ServerConfig{Ledger: newLedger(t, cfg), Handler: http.NotFoundHandler()})
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Start(); err == nil || !strings.Contains(err.Error(), "free the port") {
		t.Errorf("%v", err)
	}
}

func TestMiddlewareWrapsEverything(t *testing.T) {
	s, err := NewServer(ServerConfig{
		Ledger: rotating(t), Handler: http.NotFoundHandler(),
		Middleware: func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if a := at.Do(t, at.Get(t, s.URL(), "")); a.Status != http.StatusTeapot {
		t.Errorf("%d", a.Status)
	}
}

func TestReadParamsRefuses(t *testing.T) {
	long := strings.Repeat("x", bodyLimit)
	for name, c := range map[string]struct {
		kind, body string
		want       error
	}{
		"too long":        {Form, "a=" + long, ErrBody},
		"bad escape":      {Form, "a=%zz", ErrBody},
		"not an object":   {JSON, "[]", ErrBody},
		"nested":          {JSON, `{"a":{"b":"c"}}`, ErrBody},
		"no boundary":     {Multipart, "a=b", ErrBody},
		"repeated":        {Form, "a=b&a=c", ErrRepeated},
		"unknown type":    {"text/xml", "<a/>", ErrContentType},
		"no type":         {"", "a=b", ErrContentType},
		"no value at all": {Form + "; charset", "a=b", ErrContentType},
	} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.kind)
		if _, err := ReadParams(r, "", Form, JSON, Multipart); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func FuzzReadParams(f *testing.F) {
	f.Add(Form, "grant_type=refresh_token&refresh_token=x")
	f.Add(JSON, `{"grant_type":"refresh_token","state":null}`)
	f.Add(Multipart+"; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"code\"\r\n\r\nx\r\n--b--\r\n")
	f.Fuzz(func(t *testing.T, kind, body string) {
		r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/", io.NopCloser(strings.NewReader(body)))
		r.Header["Content-Type"] = []string{kind}
		v, err := ReadParams(r, "", Form, JSON, Multipart)
		if err == nil && Once(v) != nil {
			t.Error("a repeated parameter got through")
		}
	})
}
