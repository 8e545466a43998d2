// Package authservertest is what the tests of the sandboxes share: a clock that stands still, requests in every
// encoding that a vendor may or may not take, and a sandbox that runs for the time of a test. It guarantees that a body which is not JSON fails no test by itself.
package authservertest

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// Clock stands still until it is moved. It may be used from many goroutines.
type Clock struct {
	mu  sync.Mutex // guards now
	now time.Time
}

// NewClock returns a clock at a fixed moment.
func NewClock() *Clock { return &Clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

// Now returns the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock on.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Answer is what a sandbox answered.
type Answer struct {
	Status int
	Header http.Header
	Body   string
	// JSON is Body decoded, nil where it is not an object.
	JSON map[string]any
}

// Text returns a member of the JSON object as a string, "" where it is none.
func (a Answer) Text(name string) string {
	s, _ := a.JSON[name].(string)
	return s
}

// Number returns a member of the JSON object as a number, 0 where it is none.
func (a Answer) Number(name string) int {
	n, _ := a.JSON[name].(float64)
	return int(n)
}

// Params turns name, value, name, value, … into parameters; a pair with an empty value is left out.
func Params(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	return v
}

// With returns v with one parameter replaced, or left out where value is empty.
func With(v url.Values, name, value string) url.Values {
	c := url.Values{}
	for k, values := range v {
		c[k] = values
	}
	c.Del(name)
	if value != "" {
		c.Set(name, value)
	}
	return c
}

// Form is a POST of the parameters as a form.
func Form(t testing.TB, target string, v url.Values) *http.Request {
	return post(t, target, "application/x-www-form-urlencoded", strings.NewReader(v.Encode()))
}

// InURL is a POST with the parameters in the URL.
func InURL(t testing.TB, target string, v url.Values) *http.Request {
	return post(t, target+"?"+v.Encode(), "application/x-www-form-urlencoded", nil)
}

// JSON is a POST of the parameters as a JSON object.
func JSON(t testing.TB, target string, v url.Values) *http.Request {
	object := map[string]string{}
	for name := range v {
		object[name] = v.Get(name)
	}
	data, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return post(t, target, "application/json", bytes.NewReader(data))
}

// Multipart is a POST of the parameters as multipart/form-data.
func Multipart(t testing.TB, target string, v url.Values) *http.Request {
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for name, values := range v {
		for _, value := range values {
			if err := w.WriteField(name, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return post(t, target, w.FormDataContentType(), &body)
}

// Get is a GET with an access token, or without one where it is empty.
func Get(t testing.TB, target, accessToken string) *http.Request {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	if accessToken != "" {
		r.Header.Set("Authorization", "Bearer "+accessToken)
	}
	return r
}

func post(t testing.TB, target, contentType string, body io.Reader) *http.Request {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	return r
}

// Client does not follow redirects and keeps no connection open.
func Client() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Do sends the request and reads the answer.
func Do(t testing.TB, r *http.Request) Answer {
	resp, err := Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := Answer{Status: resp.StatusCode, Header: resp.Header, Body: string(body)}
	_ = json.Unmarshal(body, &a.JSON)
	return a
}

// Run starts what a sandbox's New returned, and closes it with the test: Run(sandbox.New(cfg))(t).
func Run[S interface {
	Start() error
	Close() error
}](sandbox S, err error) func(testing.TB) S {
	return func(t testing.TB) S {
		t.Helper()
		if err == nil {
			err = sandbox.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := sandbox.Close(); err != nil {
				t.Error(err)
			}
		})
		return sandbox
	}
}
