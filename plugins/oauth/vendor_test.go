package oauth_test

import (
	"bufio"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/esignd/esignd/core"
)

// canaries are in every request or answer of these tests and must be in no error and no span.
const (
	secretCanary = "canary-client-secret"
	tokenCanary  = "canary-refresh-token"
	codeCanary   = "canary-code"
	vendorCanary = "canary-vendor-text"
)

func credentials() core.Credentials {
	return core.Credentials{ClientID: "client 1", ClientSecret: core.NewSecret(secretCanary)}
}

func refresh() core.TokenRequest {
	return core.TokenRequest{Client: credentials(), GrantType: core.RefreshToken, RefreshToken: core.NewSecret(tokenCanary)}
}

// seen is a request as a vendor got it.
type seen struct {
	*http.Request
	body string
}

// vendor answers every request by the handler and returns its URL and what it saw last.
func vendor(t *testing.T, handler http.HandlerFunc) (url string, last func() seen) {
	t.Helper()
	var mu sync.Mutex
	var got seen
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read the request: %v", err)
		}
		mu.Lock()
		got = seen{r, string(body)}
		mu.Unlock()
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, func() seen {
		mu.Lock()
		defer mu.Unlock()
		return got
	}
}

func answers(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// rawVendor reads each request whole and lets respond do as it likes with the connection, which is closed after it.
func rawVendor(t *testing.T, respond func(net.Conn)) (url string, requests *atomic.Int32) {
	t.Helper()
	requests = new(atomic.Int32)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = listener.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = conn.Close() }()
				r, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				requests.Add(1)
				respond(conn)
			})
		}
	})
	return "http://" + listener.Addr().String() + "/token", requests
}

// writes returns a respond that writes text and closes.
func writes(text string) func(net.Conn) {
	return func(conn net.Conn) { _, _ = io.WriteString(conn, text) }
}

// hangs returns a respond that writes text and waits until the client is gone.
func hangs(text string) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = io.WriteString(conn, text)
		_, _ = io.Copy(io.Discard, conn)
	}
}

// vendorError fails the test unless err is a *core.VendorError with a known code.
func vendorError(t *testing.T, err error) *core.VendorError {
	t.Helper()
	var e *core.VendorError
	if !errors.As(err, &e) {
		t.Fatalf("error is %T (%v), want *core.VendorError", err, err)
	}
	for _, code := range core.VendorCodes() {
		if e.Code == code {
			return e
		}
	}
	t.Fatalf("code %q is not one of core.VendorCodes", e.Code)
	return nil
}

// silent is the log of servers whose clients are meant to fail.
func silent() *log.Logger { return log.New(io.Discard, "", 0) }
