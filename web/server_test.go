package web

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/tests/transcript"
)

func startServer(t *testing.T, cfg Config) (*Server, *transcript.Transcript) {
	t.Helper()
	s, log := newServer(t, cfg)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s, log
}

func TestServerAnswersOnBothAddresses(t *testing.T) {
	s, log := startServer(t, Config{Listen: "127.0.0.1:0", Admin: "127.0.0.1:0"})
	b := browser(t)
	if a := get(t, b, "http://"+s.PublicAddr().String()+"/healthz"); a.StatusCode != http.StatusOK {
		t.Errorf("public: %d", a.StatusCode)
	}
	if a := get(t, b, "http://"+s.AdminAddr().String()+"/"); !strings.Contains(a.text, "esignd console") {
		t.Errorf("admin: %d %s", a.StatusCode, a.text)
	}
	if a := get(t, b, "http://"+s.PublicAddr().String()+"/metrics"); a.StatusCode != http.StatusNotFound {
		t.Errorf("metrics are public: %d", a.StatusCode)
	}
	b.CloseIdleConnections()
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if strings.Contains(log.String(), "no login") {
		t.Errorf("a warning without reason: %s", log)
	}
}

func TestServerWithoutAddressesDoesNotListen(t *testing.T) {
	s, _ := startServer(t, Config{})
	if s.PublicAddr() != nil || s.AdminAddr() != nil {
		t.Errorf("listening on %v and %v", s.PublicAddr(), s.AdminAddr())
	}
}

func TestBusyPortNamesAddressSettingAndRemedy(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	busy := taken.Addr().String()
	for setting, cfg := range map[string]Config{
		"http.listen": {Listen: busy, Admin: "127.0.0.1:0"},
		"http.admin":  {Listen: "127.0.0.1:0", Admin: busy},
	} {
		s, _ := newServer(t, cfg)
		err := s.Start(t.Context())
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatalf("%s: %v", setting, err)
		}
		for _, want := range []string{setting, busy, "choose a free port"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q lacks %q", err, want)
			}
		}
		if s.PublicAddr() != nil {
			t.Errorf("%s: still listening on %v", setting, s.PublicAddr())
		}
	}
}

func TestCloseWaitsForAnswersAndIsBounded(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s, _ := startServer(t, Config{Listen: "127.0.0.1:0", Manager: scripted{
		callback: func(context.Context, core.CallbackAnswer) (core.CallbackReply, error) {
			close(entered)
			<-leave
			return core.CallbackReply{Status: "connected"}, nil
		},
	}})
	answered := make(chan int, 1)
	b := browser(t)
	go func() {
		resp, err := b.Get("http://" + s.PublicAddr().String() + "/oauth/callback/c")
		if err != nil {
			answered <- 0
			return
		}
		_ = resp.Body.Close()
		answered <- resp.StatusCode
	}()
	<-entered
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Close(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("close: %v", err)
	}
	close(leave)
	<-answered
}

func TestHugeHeadersAreRefused(t *testing.T) {
	s, log := startServer(t, Config{Listen: "127.0.0.1:0"})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.PublicAddr().String()+"/connect/done?status=connected", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Big", strings.Repeat("x", 2*maxHeaderBytes))
	resp, err := browser(t).Do(r) // the server may hang up before all of it was sent
	if err == nil {
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("got %d", resp.StatusCode)
		}
	}
	if strings.Contains(log.String(), "request answered") {
		t.Error("the request reached a page")
	}
}

// exchange sends bytes to an address and returns what comes until the end.
func exchange(t *testing.T, address, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}
