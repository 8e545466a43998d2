package web

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/tests/transcript"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	grantA = "g_000000000000000000000000000000000000000a"
	grantB = "g_000000000000000000000000000000000000000b"
	canary = "CANARY-5d1c7a"
)

// scripted is a Manager that answers what a test says; what it says nothing of is a server error.
type scripted struct {
	visit    func(ticket string) (core.Visit, error)
	callback func(ctx context.Context, a core.CallbackAnswer) (core.CallbackReply, error)
	grants   func(f core.GrantFilter) ([]core.GrantInfo, string, error)
	event    func(client string, r core.EventRequest) (string, error)
}

func (s scripted) VendorEvent(_ context.Context, client string, r core.EventRequest) (string, error) {
	return s.event(client, r)
}

func (s scripted) Visit(_ context.Context, ticket string) (core.Visit, error) { return s.visit(ticket) }

func (s scripted) Callback(ctx context.Context, a core.CallbackAnswer) (core.CallbackReply, error) {
	return s.callback(ctx, a)
}

func (s scripted) Grants(_ context.Context, f core.GrantFilter) ([]core.GrantInfo, string, error) {
	if s.grants == nil {
		return nil, "", nil
	}
	return s.grants(f)
}

// bound is a Manager in which every authorization succeeds if, and only if, the browser that began it ends it.
func bound() scripted {
	return scripted{
		visit: func(ticket string) (core.Visit, error) {
			return core.Visit{
				RedirectURL: "https://vendor.example/authorize?state=" + ticket,
				Cookie:      core.NewSecret("cookie-of-" + ticket),
				ExpiresAt:   time.Now().Add(10 * time.Minute),
			}, nil
		},
		callback: func(_ context.Context, a core.CallbackAnswer) (core.CallbackReply, error) {
			state := a.Params.Get("state")
			if !a.Cookie.Equal(core.NewSecret("cookie-of-" + state)) {
				return core.CallbackReply{}, core.Errorf(core.AccessDenied, "another browser")
			}
			grant, _, _ := strings.Cut(state, ".")
			return core.CallbackReply{Grant: grant, Status: "connected"}, nil
		},
	}
}

func newServer(t *testing.T, cfg Config) (*Server, *transcript.Transcript) {
	t.Helper()
	log := &transcript.Transcript{}
	cfg.Logger = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if cfg.Manager == nil {
		cfg.Manager = bound()
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s, log
}

// browser keeps cookies and follows no redirect.
func browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Jar: jar, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	text string
}

func get(t *testing.T, c *http.Client, link string, change ...func(*http.Request)) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, link, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(r)
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp, string(body)}
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

func TestConfigIsChecked(t *testing.T) {
	for _, link := range []string{"ftp://x", "127.0.0.1:8080", "https://", "https://u:p@x", "https://x?y=z", "::"} {
		if _, err := New(Config{Manager: bound(), PublicURL: link}); err == nil || !strings.Contains(err.Error(), "http.public_url") {
			t.Errorf("public_url %q: %v", link, err)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("a Server without a Manager was made")
	}
}

func TestHealth(t *testing.T) {
	var ready error
	s, _ := newServer(t, Config{Ready: func() error { return ready }})
	check := func(h http.Handler, path string, status int, text string) {
		t.Helper()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != status || strings.TrimSpace(w.Body.String()) != text {
			t.Errorf("%s: %d %q", path, w.Code, w.Body)
		}
	}
	check(s.PublicHandler(), "/readyz", 200, "ready")
	check(s.PublicHandler(), "/healthz", 200, "ok")
	ready = core.Errorf(core.TemporarilyUnavailable, "the store is away")
	check(s.PublicHandler(), "/healthz", 200, "ok")
	check(s.PublicHandler(), "/readyz", 503, "not ready")
	check(s.AdminHandler(), "/readyz", 503, "not ready: temporarily_unavailable: the store is away")
}

func TestPanicIsAnAnswerAndItsValueIsNotLogged(t *testing.T) {
	s, log := newServer(t, Config{Manager: scripted{
		visit: func(ticket string) (core.Visit, error) { panic(ticket) },
	}})
	w := httptest.NewRecorder()
	s.PublicHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/connect/"+grantA+"."+canary, nil))
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "Something went wrong here") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if !strings.Contains(log.String(), "page panicked") || strings.Contains(log.String(), canary) {
		t.Errorf("logged %s", log)
	}
}

func TestPublicURLWithAPath(t *testing.T) {
	s, _ := newServer(t, Config{PublicURL: "https://example.com/esign/"})
	if c := s.cookie("x", core.Visit{}); c.Path != "/" || !c.Secure { // a __Host- cookie
		t.Errorf("cookie %+v", c)
	}
	plain, _ := newServer(t, Config{PublicURL: "http://127.0.0.1/esign/"})
	if c := plain.cookie("x", core.Visit{}); c.Path != "/esign/oauth/callback/" {
		t.Errorf("cookie %+v", c)
	}
	for _, prefix := range []string{"", "/esign"} {
		w := httptest.NewRecorder()
		s.PublicHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, prefix+"/connect/"+grantA+".x", nil))
		cookies := w.Result().Cookies()
		if w.Code != http.StatusSeeOther || len(cookies) != 1 || cookies[0].Path != "/" {
			t.Errorf("%q: %d %v", prefix, w.Code, cookies)
		}
		w = httptest.NewRecorder()
		s.PublicHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, prefix+"/connect/done?status=connected", nil))
		if !strings.Contains(w.Body.String(), `href="/esign/assets/message.css"`) {
			t.Errorf("%q: %s", prefix, w.Body)
		}
	}
}

func ExampleNew() {
	server, err := New(Config{
		Manager:   bound(), // a *core.Manager
		PublicURL: "https://esign.example.com",
		Listen:    "127.0.0.1:0",
		Admin:     "127.0.0.1:0",
	})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	if err := server.Start(ctx); err != nil {
		panic(err)
	}
	defer func() { _ = server.Close(ctx) }()
	_ = url.URL{Scheme: "http", Host: server.PublicAddr().String(), Path: "/healthz"}
	// Output:
}
