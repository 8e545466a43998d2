package consent_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/esignd/esignd/plugins/consent"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const page = `<!DOCTYPE html><html><head><meta charset="utf-8"><style>a { color: red }</style></head><body>
<p>Allow?&nbsp;<br><form method="post" action="answer?x=1"><input type="hidden" name="id" value="7&amp;8">
<input name="account" value="default"><button name="d" value="accept">Yes</button><button name="d" value="deny">No</button>
</form></body></html>`

// vendor shows the page at /open and redirects with what was posted.
func vendor(t *testing.T) (*httptest.Server, *http.Client) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /open", func(w http.ResponseWriter, _ *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "c", Value: "1"})
		_, _ = io.WriteString(w, page)
	})
	mux.HandleFunc("GET /at-once", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:9/callback?error=x", http.StatusFound)
	})
	mux.HandleFunc("GET /no-form", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<p>No.</p>") })
	mux.HandleFunc("GET /refused", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "secret text", http.StatusBadRequest) })
	mux.HandleFunc("POST /answer", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "x=1" {
			t.Errorf("posted to %s", r.URL)
		}
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		http.Redirect(w, r, "http://127.0.0.1:9/callback?"+r.PostForm.Encode(), http.StatusSeeOther)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s, s.Client()
}

func TestConsentPressesTheButton(t *testing.T) {
	s, client := vendor(t)
	for accept, want := range map[bool]string{true: "accept", false: "deny"} {
		u, err := consent.Consent(t.Context(), client, s.URL+"/open?state=1", accept)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		if q.Get("d") != want || q.Get("id") != "7&8" || q.Get("account") != "default" || u.Host != "127.0.0.1:9" {
			t.Errorf("redirected to %s", u)
		}
	}
	u, err := consent.As(t.Context(), client, s.URL+"/open", "somebody", true)
	if err != nil || u.Query().Get("account") != "somebody" {
		t.Errorf("%v, %v", u, err)
	}
	if client.CheckRedirect != nil {
		t.Error("the caller's client was changed")
	}
}

func TestConsentReturnsAnImmediateRedirect(t *testing.T) {
	s, client := vendor(t)
	u, err := consent.Consent(t.Context(), client, s.URL+"/at-once", true)
	if err != nil || u.Query().Get("error") != "x" {
		t.Errorf("%v, %v", u, err)
	}
}

func TestConsentErrorsHoldNeitherTextsNorStates(t *testing.T) {
	s, client := vendor(t)
	for _, target := range []string{
		s.URL + "/refused?state=hidden", s.URL + "/no-form?state=hidden", "http://127.0.0.1:1/?state=hidden", "http://%zz?hidden",
	} {
		_, err := consent.Consent(t.Context(), client, target, true)
		if err == nil {
			t.Errorf("%s: no error", target)
			continue
		}
		if strings.Contains(err.Error(), "hidden") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v", err)
		}
	}
}
