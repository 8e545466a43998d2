//go:build heavy

package bench

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esignd/esignd/tests/system"
)

// vendor is an authorization server that does nothing but refresh: strict rotation, and a latency. It speaks
// eSignGlobal's dialect, and remembers of each account when it was refreshed.
type vendor struct {
	system.Sandbox // what else a sandbox has is not asked for here
	server         *httptest.Server
	latency        time.Duration
	lifetime       time.Duration

	mu       sync.Mutex // guards what follows
	accounts map[string]*account
	log      []time.Time // of every refresh, when it was answered
	reused   int         // refresh tokens that were presented again
	late     int         // refreshes of an account whose access token had ended
}

type account struct {
	generation int
	expires    time.Time // of its access token; zero: not known
	refreshed  int
}

const (
	vendorName   = "esignglobal"
	clientID     = "bench"
	clientSecret = "bench-secret"
)

// startVendor starts a vendor that answers after latency with tokens of the lifetime.
func startVendor(t testing.TB, latency, lifetime time.Duration) *vendor {
	t.Helper()
	v := &vendor{latency: latency, lifetime: lifetime, accounts: map[string]*account{}}
	v.server = httptest.NewServer(http.HandlerFunc(v.token))
	t.Cleanup(v.server.Close)
	return v
}

// Client implements system.Sandbox.
func (v *vendor) Client() (id, secret string) { return clientID, clientSecret }

// Settings implements system.Sandbox.
func (v *vendor) Settings() map[string]string {
	return map[string]string{"account_url": v.server.URL, "api_url": v.server.URL}
}

// registration is a client at this vendor.
func (v *vendor) registration() system.Registration {
	return system.Registration{Name: clientName, Vendor: vendorName, Box: v}
}

// accessSize is how long access tokens are: that of a small JWT.
const accessSize = 700

func accessToken(account string, generation int) string {
	head := fmt.Sprintf("at.%s.%d.", account, generation)
	return head + strings.Repeat("x", accessSize-len(head))
}

func refreshToken(account string, generation int) string {
	return fmt.Sprintf("rt~%s~%d", account, generation)
}

// seeded notes that an account exists whose access token ends at expires.
func (v *vendor) seeded(name string, expires time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.accounts[name] = &account{generation: 1, expires: expires}
}

func (v *vendor) token(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.FormValue("refresh_token"), "~")
	if r.FormValue("client_secret") != clientSecret || len(parts) != 3 {
		http.Error(w, `{"error":"invalid_client"}`, http.StatusUnauthorized)
		return
	}
	time.Sleep(v.latency)
	name := parts[1]
	generation, err := strconv.Atoi(parts[2])
	v.mu.Lock()
	a := v.accounts[name]
	if err != nil || a == nil || a.generation != generation {
		v.reused++
		v.mu.Unlock()
		http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
		return
	}
	now := time.Now()
	if !a.expires.IsZero() && now.After(a.expires) {
		v.late++
	}
	a.generation++
	a.refreshed++
	a.expires = now.Add(v.lifetime)
	v.log = append(v.log, now)
	generation = a.generation
	v.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"access_token": accessToken(name, generation), "refresh_token": refreshToken(name, generation),
		"token_type": "bearer", "expires_in": int(v.lifetime / time.Second),
	})
}

// seen is what a vendor saw.
type seen struct {
	refreshed    []time.Time
	once, more   int // accounts by how often they were refreshed
	reused, late int
}

func (v *vendor) seen() seen {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := seen{refreshed: append([]time.Time(nil), v.log...), reused: v.reused, late: v.late}
	for _, a := range v.accounts {
		switch {
		case a.refreshed == 1:
			s.once++
		case a.refreshed > 1:
			s.more++
		}
	}
	return s
}
