package telemetry

import (
	"strings"
	"testing"
)

const (
	secret = "CANARY-7f3a9c1d5e"
	ticket = "g_0123456789abcdef0123456789abcdef01234567." + "Q2FuYXJ5LXRpY2tldA"
)

func TestScrubRemovesWhatLooksLikeASecret(t *testing.T) {
	for _, text := range []string{
		"Post \"https://vendor.example/token?code=" + secret + "&x=1\": EOF",
		"https://vendor.example/cb#access_token=" + secret,
		"nats://user:" + secret + "@127.0.0.1:4222 is not reachable",
		"/oauth/callback/a?code=" + secret + "&state=" + secret,
		"code=" + secret,
		"client_secret=" + secret + "&grant_type=refresh_token",
		`{"access_token":"` + secret + `","expires_in":3600}`,
		`{\"refresh_token\": \"` + secret + `\"}`,
		`{'api_key' : '` + secret + `'}`,
		"Authorization: Bearer " + secret,
		"authorization: basic " + secret,
		"Cookie: a=b; esignd_g_1=" + secret,
		"X-Api-Key: " + secret + secret,
		"client_assertion=" + secret,
		"map[code:[" + secret + secret + "]]",
		"id token eyJhbGciOiJIUzI1NiJ9." + secret + ".c2ln is bad",
	} {
		if got := scrub(text); strings.Contains(got, secret) {
			t.Errorf("scrub(%q) = %q", text, got)
		}
	}
	if got := scrub("GET /connect/" + ticket); strings.Contains(got, "Q2FuYXJ5") {
		t.Errorf("a ticket got through: %q", got)
	}
}

func TestScrubKeepsWhatPeopleNeed(t *testing.T) {
	for _, text := range []string{
		"",
		"refresh token: context deadline exceeded",
		"refresh adobesign grant g_0123456789abcdef0123456789abcdef01234567: invalid_grant (HTTP 400) [refused]",
		"rpc error: code = Unavailable desc = error reading from server: EOF",
		"client_secret: must be set",
		"vendor said code=invalid_grant",
		"state=active generation=3",
		"listen tcp 127.0.0.1:8080: bind: address already in use",
		"https://vendor.example/oauth/token",
		"bearer token is missing",
	} {
		if got := scrub(text); got != text {
			t.Errorf("scrub(%q) = %q", text, got)
		}
	}
}

func TestValuesAreRedactedByKey(t *testing.T) {
	for _, tc := range []struct{ key, value, want string }{
		{"access_token", "x", redacted},
		{"refreshToken", "x", redacted},
		{"http.request.header.authorization", "x", redacted},
		{"http.response.header.set-cookie", "x", redacted},
		{"X-Api-Key", "x", redacted},
		{"client_secret", "", ""},
		{"code", "AbC123", redacted},
		{"code", "CBNCKBAAHBCAABAApodTCtC", redacted},
		{"code", "invalid_grant", "invalid_grant"},
		{"code", "429", "429"},
		{"url.query", "a=b", redacted},
		{"url.full", "https://u:p@h.example/a/b?code=x#y", "https://h.example/a/b"},
		{"http.target", "/cb?x=y", "/cb"},
		{"redirect_uri", "/cb?x=y", "/cb"},
		{"token_type", "Bearer", "Bearer"},
		{"state", "active", "active"},
		{"last_error", "vendor_unavailable", "vendor_unavailable"},
	} {
		if got := redactValue(tc.key, tc.value); got != tc.want {
			t.Errorf("redactValue(%q, %q) = %q, want %q", tc.key, tc.value, got, tc.want)
		}
	}
}

func TestLongTextIsCut(t *testing.T) {
	got := scrub(strings.Repeat("é", maxText))
	if len(got) > maxText+20 || !strings.HasSuffix(got, "[cut]") {
		t.Errorf("%d bytes remain", len(got))
	}
}

func FuzzScrub(f *testing.F) {
	f.Add("https://a:b@c/d?e=f", "code=1")
	f.Add("Cookie: ", "\"token\":\"")
	f.Fuzz(func(t *testing.T, before, after string) {
		// Whatever stands around it, a URL's query does not get out.
		text := before + " https://vendor.example/cb?code=" + secret + " " + after
		if len(text) < maxText && strings.Contains(scrub(text), secret) {
			t.Errorf("scrub(%q) = %q", text, scrub(text))
		}
	})
}

func FuzzQuickLookMissesNothing(f *testing.F) {
	f.Add("a \\\"Api-Key\\\" : \\\"0123456789\\\"")
	f.Add("Basic\tdXNlcjpwYXNzd29yZA==")
	f.Add("SET-COOKIE: a=b")
	f.Add("?state=x&code=Y")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > maxText || isSuspicious(text) {
			return
		}
		if cookieText.MatchString(text) || schemeText.MatchString(text) || pairText.MatchString(text) {
			t.Errorf("%q was passed over", text)
		}
	})
}

func BenchmarkScrubSentence(b *testing.B) {
	for b.Loop() {
		scrub("refresh adobesign grant g_0123456789abcdef0123456789abcdef01234567: invalid_grant (HTTP 400) [refused]")
	}
}

func BenchmarkScrubWorst(b *testing.B) {
	text := strings.Repeat("bearer x token: ", maxText/16)
	for b.Loop() {
		scrub(text)
	}
}

// A refresh logs and traces some thirty attributes, nearly all of which are as they may be shown.
func TestAttributesWithoutASecretAreLookedAtWithoutGarbage(t *testing.T) {
	for key, text := range map[string]string{
		"grant": "g_0123456789abcdef0123456789abcdef01234567", "esignd.client": "adobe", "next": "it is handed out, and refreshed ahead of its end",
	} {
		if n := testing.AllocsPerRun(100, func() { _ = redactValue(key, text) }); n > 0 {
			t.Errorf("redactValue(%q, %q) allocates %.0f times", key, text, n)
		}
	}
}
