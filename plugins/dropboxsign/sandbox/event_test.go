package sandbox_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/plugins/consent"
	"github.com/esignd/esignd/plugins/dropboxsign/sandbox"
	at "github.com/esignd/esignd/plugins/sdk/authserver/authservertest"
)

const acknowledgement = "Hello API Event Received"

// receiver answers the events in turn, the last answer for ever, and hands on the bodies.
func receiver(t *testing.T, answers ...func(http.ResponseWriter)) (target string, bodies chan string) {
	t.Helper()
	bodies = make(chan string, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := answers[min(len(bodies), len(answers)-1)]
		bodies <- r.FormValue("json")
		answer(w)
	}))
	t.Cleanup(s.Close)
	return s.URL, bodies
}

func says(status int, body string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestEventIsSentAgainUntilItIsAcknowledged(t *testing.T) {
	target, bodies := receiver(t,
		says(500, acknowledgement), says(200, ""), says(200, acknowledgement+"\n"), says(202, acknowledgement), says(200, acknowledgement))
	s := start(t, sandbox.Config{EventURL: target, EventBackoff: time.Millisecond})
	if err := s.SendEvent(t.Context(), "account_confirmed", email); err != nil {
		t.Fatal(err)
	}
	if len(bodies) != 5 {
		t.Fatalf("sent %d times", len(bodies))
	}
	first := <-bodies
	for range 4 {
		if again := <-bodies; again != first || first == "" {
			t.Error("what is sent again is not the same event")
		}
	}
}

func TestUnacknowledgedEventIsAnErrorAfterFiveTimes(t *testing.T) {
	target, bodies := receiver(t, says(200, ""))
	s := start(t, sandbox.Config{EventURL: target, EventBackoff: time.Millisecond})
	if err := s.SendEvent(t.Context(), "account_confirmed", email); err == nil || len(bodies) != 5 {
		t.Errorf("sent %d times, %v", len(bodies), err)
	}
	s.SetEventURL("")
	if err := s.SendEvent(t.Context(), "account_confirmed", email); err != nil {
		t.Errorf("without an event URL: %v", err)
	}
}

func TestSendingAnEventEndsWithItsContext(t *testing.T) {
	target, bodies := receiver(t, says(200, ""))
	s := start(t, sandbox.Config{EventURL: target, EventBackoff: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-bodies; cancel() }()
	if err := s.SendEvent(ctx, "account_confirmed", email); err == nil {
		t.Error("no error")
	}
}

func create(t *testing.T, s *sandbox.Server) (access string) {
	t.Helper()
	id, secret := s.Client()
	a := at.Do(t, asOwner(s, at.JSON(t, s.URL()+"/v3/account/create",
		at.Params("email_address", email, "client_id", id, "client_secret", secret))))
	data, _ := a.JSON["oauth_data"].(map[string]any)
	access, _ = data["access_token"].(string)
	if access == "" {
		t.Fatalf("create: %d", a.Status)
	}
	return access
}

func TestPersonConfirmsOnThePage(t *testing.T) {
	target, bodies := receiver(t, says(200, acknowledgement))
	s := start(t, sandbox.Config{EventURL: target})
	access := create(t, s)
	page := s.URL() + "/account/confirm?account=" + url.QueryEscape(email)
	for _, accept := range []bool{false, true} {
		if live(t, s, access) {
			t.Error("the token works before the person has confirmed")
		}
		u, err := consent.Consent(t.Context(), at.Client(), page, accept)
		if err != nil {
			t.Fatal(err)
		}
		if a := at.Do(t, at.Get(t, u.String(), "")); a.Status != http.StatusOK || strings.Contains(a.Body, "<form") {
			t.Errorf("accepted: %v, the page after it: %d", accept, a.Status)
		}
	}
	if !live(t, s, access) {
		t.Error("the token does not work after it")
	}
	if event := <-bodies; !strings.Contains(event, `"account_confirmed"`) || len(bodies) != 0 {
		t.Errorf("%d events too many, the first: %s", len(bodies), event)
	}
	target = s.URL() + "/account/confirm"
	for name, r := range map[string]*http.Request{
		"again":       at.Form(t, target, at.Params("account", email, "decision", "accept")),
		"nobody":      at.Form(t, target, at.Params("account", "x@example.com", "decision", "accept")),
		"no decision": at.Form(t, target, at.Params("account", email)),
		"JSON":        at.JSON(t, target, at.Params("account", email, "decision", "accept")),
	} {
		if a := at.Do(t, r); a.Status/100 != 4 {
			t.Errorf("%s: %d", name, a.Status)
		}
	}
}

// TestMain sees to it that nothing is left.
func TestCloseEndsEventsThatNobodyAcknowledges(t *testing.T) {
	target, bodies := receiver(t, says(200, ""))
	s := start(t, sandbox.Config{EventURL: target, EventBackoff: time.Hour})
	create(t, s)
	if _, err := consent.As(t.Context(), at.Client(), s.URL()+"/account/confirm", email, true); err != nil {
		t.Fatal(err)
	}
	<-bodies
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestAPIAnswersWithRateLimitHeaders(t *testing.T) {
	clock := at.NewClock()
	s := start(t, sandbox.Config{Now: clock.Now, RateLimit: 2})
	ask := func() at.Answer {
		return at.Do(t, asOwner(s, at.JSON(t, s.URL()+"/v3/account/verify", at.Params("email_address", email))))
	}
	reset := clock.Now().Add(time.Minute).Unix()
	for _, want := range []struct {
		status int
		left   string
	}{{200, "1"}, {200, "0"}, {429, "0"}, {429, "0"}} {
		a := ask()
		h := a.Header
		if a.Status != want.status || h.Get("X-RateLimit-Limit") != "2" || h.Get("X-RateLimit-Remaining") != want.left ||
			h.Get("X-RateLimit-Limit-Remaining") != want.left || h.Get("Retry-After") != "" {
			t.Errorf("%d, headers %v; want %v", a.Status, h, want)
		}
		if got := h.Get("X-RateLimit-Reset"); got != strconv.FormatInt(reset, 10) {
			t.Errorf("reset at %s, want %d", got, reset)
		}
		if a.Status == 429 && !strings.Contains(a.Body, "exceeded_rate") {
			t.Error("no exceeded_rate in the body")
		}
		clock.Advance(time.Second)
	}
	clock.Advance(time.Minute)
	if a := ask(); a.Status != http.StatusOK {
		t.Errorf("in the next minute: %d", a.Status)
	}
}

func TestAppSaysWhereItWantsItsEvents(t *testing.T) {
	target, bodies := receiver(t, says(200, acknowledgement))
	s := start(t, sandbox.Config{EventBackoff: time.Millisecond})
	id, _ := s.Client()
	update := func(id, callbackURL string) *http.Request {
		r := at.JSON(t, s.URL()+"/v3/api_app/"+id, at.Params("callback_url", callbackURL))
		r.Method = http.MethodPut
		return r
	}
	for name, tt := range map[string]struct {
		request *http.Request
		want    int
	}{
		"no credentials": {update(id, target), 401},
		"other app":      {asOwner(s, update("other", target)), 404},
		"no URL":         {asOwner(s, update(id, "")), 400},
		"odd URL":        {asOwner(s, update(id, "file:///etc/passwd")), 400},
	} {
		if a := at.Do(t, tt.request); a.Status != tt.want {
			t.Errorf("%s: %d", name, a.Status)
		}
	}
	if err := s.SendEvent(t.Context(), "callback_test", email); err != nil || len(bodies) != 0 {
		t.Errorf("sent %d, %v", len(bodies), err)
	}
	if a := at.Do(t, asOwner(s, update(id, target))); a.Status != 200 || !strings.Contains(a.Body, target) {
		t.Errorf("update: %d", a.Status)
	}
	if err := s.SendEvent(t.Context(), "callback_test", email); err != nil || len(bodies) != 1 {
		t.Errorf("sent %d, %v", len(bodies), err)
	}
}
