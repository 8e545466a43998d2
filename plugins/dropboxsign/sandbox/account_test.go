package sandbox_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/esignd/esignd/plugins/dropboxsign/sandbox"
	at "github.com/esignd/esignd/plugins/sdk/authserver/authservertest"
)

const email = "jill@example.com"

func asOwner(s *sandbox.Server, r *http.Request) *http.Request {
	r.SetBasicAuth(s.APIKey(), "")
	return r
}

func TestVerifyFindsAccounts(t *testing.T) {
	s := start(t, sandbox.Config{Accounts: []string{email}})
	connect(t, s)
	target := s.URL() + "/v3/account/verify"
	for address, want := range map[string]bool{email: true, "person@sandbox.example": true, "nobody@example.com": false} {
		a := at.Do(t, asOwner(s, at.JSON(t, target, at.Params("email_address", address))))
		object, found := a.JSON["account"].(map[string]any)
		if a.Status != http.StatusOK || found != want || found && object["email_address"] != address {
			t.Errorf("%s: %d, found %v", address, a.Status, found)
		}
	}
	if a := at.Do(t, at.JSON(t, target, at.Params("email_address", email))); a.Status != http.StatusUnauthorized {
		t.Errorf("without credentials: %d", a.Status)
	}
	if a := at.Do(t, asOwner(s, at.JSON(t, target, at.Params("email_address", "no address")))); a.Status != http.StatusBadRequest {
		t.Errorf("without an address: %d", a.Status)
	}
}

func TestCreatedAccountWorksOnceConfirmed(t *testing.T) {
	s := start(t, sandbox.Config{})
	events := make(chan map[string]any, 1)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var event map[string]any
		if err := json.Unmarshal([]byte(r.FormValue("json")), &event); err != nil {
			t.Error(err)
		}
		events <- event
		_, _ = io.WriteString(w, "Hello API Event Received")
	}))
	defer receiver.Close()
	s.SetEventURL(receiver.URL)
	id, secret := s.Client()
	create := func() at.Answer {
		return at.Do(t, asOwner(s, at.Multipart(t, s.URL()+"/v3/account/create",
			at.Params("email_address", email, "client_id", id, "client_secret", secret))))
	}
	a := create()
	data, _ := a.JSON["oauth_data"].(map[string]any)
	access, _ := data["access_token"].(string)
	refresh, _ := data["refresh_token"].(string)
	if a.Status != http.StatusOK || access == "" || refresh == "" {
		t.Fatalf("create: %d", a.Status)
	}
	if again := create(); again.Status != http.StatusBadRequest {
		t.Errorf("create again: %d", again.Status)
	}
	if live(t, s, access) || s.Stats().LiveAccessTokens != 0 {
		t.Error("the token works before the person has confirmed")
	}
	if r := at.Do(t, at.JSON(t, s.URL()+"/oauth/token?refresh", refreshParams(s, refresh))); r.Text("error") != "invalid_grant" {
		t.Errorf("refresh before it: %d %q", r.Status, r.Text("error"))
	}
	if err := s.ConfirmAccount(t.Context(), email); err != nil {
		t.Fatal(err)
	}
	if !live(t, s, access) {
		t.Error("the token does not work after the person has confirmed")
	}
	checkEvent(t, s, <-events)
	if err := s.ConfirmAccount(t.Context(), email); err == nil {
		t.Error("confirmed twice")
	}
}

func checkEvent(t *testing.T, s *sandbox.Server, got map[string]any) {
	t.Helper()
	event, _ := got["event"].(map[string]any)
	when, _ := event["event_time"].(string)
	mac := hmac.New(sha256.New, []byte(s.APIKey()))
	_, _ = io.WriteString(mac, when+"account_confirmed")
	if event["event_type"] != "account_confirmed" || event["event_hash"] != hex.EncodeToString(mac.Sum(nil)) {
		t.Errorf("event %v is not signed as documented", event["event_type"])
	}
	if account, _ := got["account"].(map[string]any); account["email_address"] != email {
		t.Errorf("event about %v", account["email_address"])
	}
}

func TestCreateRefuses(t *testing.T) {
	s := start(t, sandbox.Config{})
	id, secret := s.Client()
	good := at.Params("email_address", email, "client_id", id, "client_secret", secret)
	target := s.URL() + "/v3/account/create"
	stranger := at.JSON(t, target, good)
	stranger.SetBasicAuth("other", "")
	for name, c := range map[string]struct {
		request *http.Request
		status  int
	}{
		"no credentials": {at.JSON(t, target, good), 401},
		"wrong api key":  {stranger, 401},
		"no address":     {asOwner(s, at.JSON(t, target, at.With(good, "email_address", ""))), 400},
		"wrong client":   {asOwner(s, at.JSON(t, target, at.With(good, "client_id", "other"))), 400},
		"wrong secret":   {asOwner(s, at.JSON(t, target, at.With(good, "client_secret", "other"))), 400},
	} {
		if a := at.Do(t, c.request); a.Status != c.status {
			t.Errorf("%s: %d, want %d", name, a.Status, c.status)
		}
	}
}
