package authserver

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// The pair of RFC 7636, appendix B.
const (
	rfcVerifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	rfcChallenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

func TestChallengeIsOfTheMethodS256(t *testing.T) {
	if got, err := Challenge(url.Values{}); got != "" || err != nil {
		t.Errorf("no challenge: %q, %v", got, err)
	}
	s256 := url.Values{"code_challenge": {rfcChallenge}, "code_challenge_method": {"S256"}}
	if got, err := Challenge(s256); got != rfcChallenge || err != nil {
		t.Errorf("the RFC's: %q, %v", got, err)
	}
	for name, q := range map[string]url.Values{
		"plain":             {"code_challenge": {rfcVerifier}, "code_challenge_method": {"plain"}},
		"plain, by default": {"code_challenge": {rfcVerifier}},
		"method alone":      {"code_challenge_method": {"S256"}},
		"s256":              {"code_challenge": {rfcChallenge}, "code_challenge_method": {"s256"}},
		"empty":             {"code_challenge": {""}, "code_challenge_method": {"S256"}},
		"short":             {"code_challenge": {rfcChallenge[1:]}, "code_challenge_method": {"S256"}},
		"padded":            {"code_challenge": {rfcChallenge + "="}, "code_challenge_method": {"S256"}},
		"no base64url":      {"code_challenge": {strings.Repeat("+", 43)}, "code_challenge_method": {"S256"}},
	} {
		if got, err := Challenge(q); err != ErrChallenge || got != "" { //nolint:errorlint // returned as it is
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestCodeIsRedeemedWithItsVerifierAlone takes the challenge from the consent page to the token request.
func TestCodeIsRedeemedWithItsVerifierAlone(t *testing.T) {
	for _, tc := range []struct {
		name, challenge, verifier string
		taken                     bool
	}{
		{"the right one", rfcChallenge, rfcVerifier, true},
		{"none where none was asked for", "", "", true},
		{"a wrong one", rfcChallenge, strings.Repeat("x", 43), false},
		{"none", rfcChallenge, "", false},
		{"the challenge itself", rfcChallenge, rfcChallenge, false},
		{"one where the challenge was taken off", "", rfcVerifier, false},
	} {
		l, err := NewLedger(LedgerConfig{ClientID: "id", ClientSecret: "s", Access: 1e9, Code: 60e9, Formats: Formats{"%s", "%s", "%s"}})
		if err != nil {
			t.Fatal(err)
		}
		pages, err := NewPages(PagesConfig{AutoConsent: "person"}, l)
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		pages.Ask(w, httptest.NewRequest(http.MethodGet, "/authorize", nil), Asked{
			RedirectURI: "http://127.0.0.1/cb", CodeChallenge: tc.challenge,
			Granted: func(code string) url.Values { return url.Values{"code": {code}} },
		})
		back, err := w.Result().Location()
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = l.Redeem(back.Query().Get("code"), func(a Approval) error {
			if !a.Proven(tc.verifier) {
				return ErrMismatch
			}
			return nil
		})
		if taken := err == nil; taken != tc.taken {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}
