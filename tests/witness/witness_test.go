package witness_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/esignd/esignd/tests/witness"
)

// odd is a secret that has another form wherever texts are escaped.
const odd = "3AAABLbl /+<se\"cret>&=%ü-" + "0123456789abcdef*"

// hidings are the ways in which a secret comes to light, by name.
var hidings = map[string]func(secret string) []byte{
	"plain":              func(s string) []byte { return []byte("x " + s + " y") },
	"the second half":    func(s string) []byte { return []byte("…" + s[len(s)/2:]) },
	"query":              func(s string) []byte { return []byte("a=1&t=" + url.QueryEscape(s) + "&b") },
	"path":               func(s string) []byte { return []byte("/connect/" + url.PathEscape(s) + "/x") },
	"JSON":               func(s string) []byte { return mustMarshal(map[string]string{"a": s, "b": "c"}) },
	"JSON in JSON":       func(s string) []byte { return mustMarshal(string(mustMarshal(s))) },
	"JSON in base64":     func(s string) []byte { return mustMarshal(mustMarshal(map[string]string{"a": s})) },
	"quoted":             func(s string) []byte { return []byte(strconv.Quote(s) + ",") },
	"hex":                func(s string) []byte { return []byte("0a" + hex.EncodeToString([]byte(s)) + "0b") },
	"HEX":                func(s string) []byte { return fmt.Appendf(nil, "%X", "ab"+s) },
	"Go's bytes":         func(s string) []byte { return fmt.Append(nil, []byte("ab"+s+"c")) },
	"Go's bytes, in hex": func(s string) []byte { return fmt.Appendf(nil, "%#v", []byte("ab"+s+"c")) },
	"gzip":               func(s string) []byte { return append([]byte("before"), packed(s)...) },
	"gzip that is cut":   func(s string) []byte { b := packed(s + strings.Repeat(s, 1000)); return b[:len(b)-9] },
	"basic credentials":  func(s string) []byte { return []byte(base64.StdEncoding.EncodeToString([]byte("client:" + s))) },
}

func mustMarshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func packed(s string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte("some text and " + s))
	_ = w.Close()
	return b.Bytes()
}

func TestSecretIsFoundInEveryForm(t *testing.T) {
	for _, secret := range []string{odd, "rt_0123456789abcdef", "0123456789abcdef"} {
		w := witness.New()
		w.Note("refresh_token", secret)
		for name, hide := range hidings {
			if name == "the second half" && len(secret) < 32 {
				continue
			}
			if got := w.Search(hide(secret)); !slices.Equal(got, []string{"refresh_token"}) {
				t.Errorf("%q as %s: found %v in %s", secret, name, got, hide(secret))
			}
		}
		for before := range 4 {
			for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
				text := encoding.EncodeToString([]byte(strings.Repeat("~", before) + secret + "and more"))
				if got := w.Search([]byte(text)); len(got) != 1 {
					t.Errorf("%q in base64 after %d bytes: found %v in %s", secret, before, got, text)
				}
			}
		}
	}
}

func TestNothingIsFoundWhereThereIsNothing(t *testing.T) {
	w := witness.New()
	w.Note("state", "g_0123456789abcdef0123456789abcdef01234567."+strings.Repeat("s", 43))
	w.Note("code", "short")
	for _, text := range []string{"", "short", "g_0123456789abcdef0123456789abcdef01234567 is the grant", odd, string(packed("nothing"))} {
		if got := w.Search([]byte(text)); len(got) > 0 {
			t.Errorf("found %v in %q", got, text)
		}
	}
	if got := w.Kinds(); !slices.Equal(got, []string{"state"}) {
		t.Errorf("kinds are %v", got)
	}
}

func TestWatchNotesWhatGoesInAndOut(t *testing.T) {
	w, other := witness.New(), witness.New()
	vendor := httptest.NewServer(w.Watch(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Location", "http://127.0.0.1:1/?code=the-code-of-the-redirect&state=the-state-of-the-redirect")
		out.Header().Set("Content-Type", "application/json")
		_, _ = out.Write([]byte(`{"access_token":"the-access-token-1","refresh_token":"the-refresh-token-1*"}`))
	})))
	defer vendor.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, vendor.URL+"/token",
		strings.NewReader("client_secret=the-client-secret-1&code_verifier=the-verifier-0001"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := vendor.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	other.Join(w)
	want := []string{"access_token", "client_secret", "code", "code_verifier", "refresh_token", "state"}
	if got := other.Kinds(); !slices.Equal(got, want) {
		t.Errorf("it knows %v, want %v", got, want)
	}
	if got := other.Search([]byte("refresh_token=the-refresh-token-1%2A")); len(got) != 1 {
		t.Errorf("found %v", got)
	}
}
