//go:build heavy

package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	global "github.com/esignd/esignd/plugins/esignglobal/sandbox"
	"github.com/esignd/esignd/tests/system"
)

// vendor is eSignGlobal's sandbox, with rotation and strict detection of reuse, a door of its own for each replica, and a
// memory of every refresh token that was presented.
type vendor struct {
	*global.Server
	t     testing.TB
	doors []string // URLs, by replica
	// latency is how long it takes to answer a refresh: half before it acts, half after.
	latency time.Duration
	gates   map[string]gate // by account; not changed
	http    *http.Client

	mu        sync.Mutex // guards what follows
	owner     map[string]string
	presented map[string][]presentation // by refresh token
	refreshed int                       // refreshes that were acted on
	underWay  map[int]int               // refreshes that are being answered, by door
}

// gate holds the refreshes of an account until it is opened, before the vendor acts or after.
type gate struct {
	acted bool
	open  chan struct{}
}

// presentation is one time that a refresh token was presented.
type presentation struct {
	at   time.Time
	door int
}

func openVendor(t testing.TB, lifetime, latency time.Duration, gates map[string]gate) *vendor {
	t.Helper()
	v := &vendor{t: t, latency: latency, gates: gates, owner: map[string]string{}, presented: map[string][]presentation{}, underWay: map[int]int{}}
	v.Server = system.Must(global.New(global.Config{
		AccessLifetime: lifetime, Rotate: true, AutoConsent: "person@sandbox.example", Middleware: v.watch,
	}))(t)
	if err := v.Start(); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	v.http = &http.Client{
		Transport: transport, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	for range replicas {
		v.doors = append(v.doors, system.Must(v.AlsoListen())(t))
	}
	return v
}

// door is the vendor as one replica reaches it.
type door struct {
	*vendor
	url string
}

// Settings implements system.Sandbox.
func (d door) Settings() map[string]string {
	return map[string]string{"account_url": d.url, "api_url": d.url}
}

// watch notes the presentations of refresh tokens, and takes the vendor's time over them.
func (v *vendor) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		token := field(r.Header.Get("Content-Type"), body, "refresh_token")
		if token == "" {
			next.ServeHTTP(w, r)
			return
		}
		account, done := v.note(token, r.Host)
		defer done()
		v.takeTime(r, account, false)
		kept := httptest.NewRecorder()
		next.ServeHTTP(kept, r)
		v.answered(token, kept.Body.Bytes())
		v.takeTime(r, account, true)
		for name, values := range kept.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(kept.Code)
		_, _ = w.Write(kept.Body.Bytes())
	})
}

// takeTime holds a request for as long as its account's gate and the vendor's latency say, unless the caller goes away.
func (v *vendor) takeTime(r *http.Request, account string, acted bool) {
	latency := make(chan struct{})
	timer := time.AfterFunc(v.latency/2, func() { close(latency) })
	defer timer.Stop()
	waits := []<-chan struct{}{latency}
	if g, ok := v.gates[account]; ok && g.acted == acted {
		waits = append(waits, g.open)
	}
	for _, over := range waits {
		select {
		case <-over:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
}

// field reads one field of a multipart form.
func field(contentType string, body []byte, name string) string {
	_, options, err := mime.ParseMediaType(contentType)
	if err != nil || options["boundary"] == "" {
		return ""
	}
	form, err := multipart.NewReader(bytes.NewReader(body), options["boundary"]).ReadForm(1 << 20)
	if err != nil || len(form.Value[name]) != 1 {
		return ""
	}
	return form.Value[name][0]
}

// note keeps a presentation and returns whose token it is, and what is to be called when it was answered.
func (v *vendor) note(token, host string) (account string, done func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := presentation{at: time.Now(), door: -1}
	for i, url := range v.doors {
		if url == "http://"+host {
			p.door = i
		}
	}
	v.presented[token] = append(v.presented[token], p)
	v.underWay[p.door]++
	return v.owner[token], func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.underWay[p.door]--
	}
}

// answered keeps whose the next refresh token is.
func (v *vendor) answered(token string, body []byte) {
	var set struct {
		RefreshToken string `json:"refresh_token"`
	}
	if json.Unmarshal(body, &set) != nil || set.RefreshToken == "" {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.owner[set.RefreshToken] = v.owner[token]
	v.refreshed++
}

// answering is how many refreshes of a replica are being answered.
func (v *vendor) answering(replica int) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.underWay[replica]
}

// answeredRefreshes is how many refreshes the vendor has acted on.
func (v *vendor) answeredRefreshes() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.refreshed
}

// of returns the presentations of an account's refresh tokens, by token.
func (v *vendor) of(account string) map[string][]presentation {
	v.mu.Lock()
	defer v.mu.Unlock()
	found := map[string][]presentation{}
	for token, list := range v.presented {
		if v.owner[token] == account {
			found[token] = list
		}
	}
	return found
}

// again returns the presentations of each token that was presented more than once, by account.
func (v *vendor) again() map[string][]presentation {
	v.mu.Lock()
	defer v.mu.Unlock()
	found := map[string][]presentation{}
	for token, list := range v.presented {
		if len(list) > 1 {
			found[v.owner[token]] = list
		}
	}
	return found
}

// span returns when the first and the last refresh token was presented.
func (v *vendor) span() (first, last time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, list := range v.presented {
		for _, p := range list {
			if first.IsZero() || p.at.Before(first) {
				first = p.at
			}
			if p.at.After(last) {
				last = p.at
			}
		}
	}
	return first, last
}

// tokens is a token set as the vendor issued it.
type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

// consent has the owner of an account consent, and exchanges the code, as the program did that used the account before.
func (v *vendor) consent(account string) (tokens, error) {
	id, secret := v.Client()
	query := url.Values{"response_type": {"code"}, "clientId": {id}, "redirectUri": {"http://127.0.0.1:1/"}, "scope": {"signature"}}
	resp, err := v.http.Get(v.URL() + "/oauth?" + query.Encode())
	if err != nil {
		return tokens{}, err
	}
	_ = resp.Body.Close()
	to, err := resp.Location()
	if err != nil {
		return tokens{}, err
	}
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for name, value := range map[string]string{"client_id": id, "client_secret": secret, "grant_type": "authorization_code", "code": to.Query().Get("code")} {
		_ = form.WriteField(name, value) // into memory
	}
	_ = form.Close()
	resp, err = v.http.Post(v.URL()+"/esignglobal/v1/oauth2/accessToken", form.FormDataContentType(), &body)
	if err != nil {
		return tokens{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	var set tokens
	if err := json.NewDecoder(resp.Body).Decode(&set); err != nil || set.Refresh == "" {
		return tokens{}, fmt.Errorf("exchange a code: %s, %w", resp.Status, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.owner[set.Refresh] = account
	return set, nil
}

// live reports whether the vendor takes the access token.
func (v *vendor) live(access string) (bool, error) {
	req, err := http.NewRequest(http.MethodGet, v.URL()+"/esignglobal/v1/envelope/envelopeDetail?envelopeId=1", nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("Authorization", "Bearer "+access)
	resp, err := v.http.Do(req)
	if err != nil {
		return false, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK, err
}
