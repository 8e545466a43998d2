package faults

import (
	"net/http"
	"testing"
	"time"

	adobesign "github.com/esignd/esignd/plugins/adobesign/sandbox"
	dropboxsign "github.com/esignd/esignd/plugins/dropboxsign/sandbox"
	esignglobal "github.com/esignd/esignd/plugins/esignglobal/sandbox"
	generic "github.com/esignd/esignd/plugins/generic/sandbox"
)

// vendor is one row of the matrix's third side.
type vendor struct {
	name string
	// rotates is what the adapter declares; the sandbox behaves so.
	rotates bool
	// lifetime is that of an access token where the vendor does not say.
	lifetime time.Duration
	scopes   []string
	// exchanges says that faults meet the exchange of a code too. One vendor that rotates and one that does not show
	// what core makes of it.
	exchanges bool
	// api is a path of the vendor's API that an access token opens.
	api string
	// sandbox makes the vendor; middleware wraps its requests.
	sandbox func(middleware func(http.Handler) http.Handler) (sandbox, error)
}

// sandbox is what the vendors' sandboxes have in common.
type sandbox interface {
	Start() error
	Close() error
	URL() string
	Client() (id, secret string)
	Settings() map[string]string
}

// vendors are those whose adapters are tested.
func vendors() []vendor {
	return []vendor{
		{
			name: "adobesign", lifetime: time.Hour, scopes: []string{"user_login:self"}, exchanges: true,
			api: "/api/rest/v6/users/me",
			sandbox: func(middleware func(http.Handler) http.Handler) (sandbox, error) {
				return adobesign.New(adobesign.Config{Middleware: middleware})
			},
		},
		{
			name: "dropboxsign", lifetime: time.Hour, api: "/v3/account",
			sandbox: func(middleware func(http.Handler) http.Handler) (sandbox, error) {
				return dropboxsign.New(dropboxsign.Config{Middleware: middleware})
			},
		},
		{
			name: "esignglobal", rotates: true, lifetime: 24 * time.Hour, scopes: []string{"signature"}, exchanges: true,
			api: "/esignglobal/v1/envelope/envelopeDetail?envelopeId=1",
			sandbox: func(middleware func(http.Handler) http.Handler) (sandbox, error) {
				return esignglobal.New(esignglobal.Config{Rotate: true, Middleware: middleware})
			},
		},
		{
			name: "generic", rotates: true, lifetime: time.Hour, scopes: []string{"sign"}, api: "/me",
			sandbox: func(middleware func(http.Handler) http.Handler) (sandbox, error) {
				return generic.New(generic.Config{WithoutPKCE: true, Middleware: middleware})
			},
		},
	}
}

// startSandbox runs the vendor for as long as the test.
func startSandbox(t *testing.T, v vendor, middleware func(http.Handler) http.Handler) sandbox {
	t.Helper()
	box, err := v.sandbox(middleware)
	if err == nil {
		err = box.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := box.Close(); err != nil {
			t.Error(err)
		}
	})
	return box
}
