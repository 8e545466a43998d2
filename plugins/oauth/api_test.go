package oauth_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/oauth"
)

// passwordCanary is, like the others, in no error and no span.
const passwordCanary = "canary-password"

// get asks for an object with a token that is a canary.
func get(url string) oauth.APIRequest {
	return oauth.APIRequest{Method: http.MethodGet, URL: url, Bearer: core.NewSecret(tokenCanary)}
}

func TestAPIGetsWithABearerToken(t *testing.T) {
	base, last := vendor(t, answers(200, "application/json", `{"id":"u1"}`))
	a, err := oauth.NewClient(oauth.Config{}).API(t.Context(), get(base+"/users/me?full=1"))
	if err != nil || !a.OK() {
		t.Fatal(err)
	}
	got := last()
	if got.Method != http.MethodGet || got.URL.String() != "/users/me?full=1" || got.body != "" || got.Header.Get("Content-Type") != "" {
		t.Errorf("%s %s with %q of type %q", got.Method, got.URL, got.body, got.Header.Get("Content-Type"))
	}
	if got.Header.Get("Authorization") != "Bearer "+tokenCanary {
		t.Error("the access token is not in the Authorization header (RFC 6750 §2.1)")
	}
}

func TestAPIPostsParametersInEachEncodingAndSendsNoClientByItself(t *testing.T) {
	want := map[string]string{"email_address": "jane+1@example.com", "client_secret": secretCanary}
	for encoding, decode := range map[oauth.Encoding]func(*testing.T, seen) map[string]string{
		oauth.FormBody: decodeForm, oauth.JSONBody: decodeJSON, oauth.MultipartBody: decodeMultipart,
	} {
		base, last := vendor(t, answers(200, "application/json", `{}`))
		r := oauth.APIRequest{Method: http.MethodPost, URL: base + "/account", Body: encoding, Params: map[string]core.Secret{
			"email_address": core.NewSecret("jane+1@example.com"), "client_secret": core.NewSecret(secretCanary),
		}}
		if _, err := oauth.NewClient(oauth.Config{}).API(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, decode(t, last())); diff != "" {
			t.Errorf("encoding %d: %s", encoding, diff)
		}
		if got := last(); got.Method != http.MethodPost || got.Header.Get("Authorization") != "" {
			t.Errorf("%s, Authorization of %d bytes", got.Method, len(got.Header.Get("Authorization")))
		}
	}
}

// HTTP Basic of an API is not that of RFC 6749 §2.3.1: nothing is form-encoded first.
func TestAPISendsBasicCredentialsAsTheyAre(t *testing.T) {
	for _, password := range []string{"", passwordCanary + " %:"} {
		base, last := vendor(t, answers(200, "application/json", `{}`))
		r := oauth.APIRequest{
			Method: http.MethodPost, URL: base, Username: core.NewSecret("key +/="), Password: core.NewSecret(password),
		}
		if _, err := oauth.NewClient(oauth.Config{}).API(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		want := "Basic " + base64.StdEncoding.EncodeToString([]byte("key +/=:"+password))
		if got := last().Header.Get("Authorization"); got != want {
			t.Errorf("a password of %d bytes: another header than %d bytes of Basic", len(password), len(want))
		}
	}
}

func TestAPISendsNoOtherMethodAndNothingToAHostThatIsNoVendors(t *testing.T) {
	url, requests := rawVendor(t, writes(response("200 OK", "", "{}")))
	put := get(url)
	put.Method = http.MethodPut
	split := get(url)
	split.Bearer = core.NewSecret(tokenCanary + "\r\nX-Injected: 1")
	for name, r := range map[string]oauth.APIRequest{
		"another method":      put,
		"a broken header":     split,
		"http":                get("http://vendor.example/me"),
		"a private address":   get("https://10.0.0.1/me"),
		"a user in the URL":   get("https://u:" + passwordCanary + "@vendor.example/me"),
		"a fragment":          get("https://vendor.example/me#f"),
		"no URL":              get("::" + vendorCanary),
		"no host":             get("https:///me"),
		"another scheme":      get("file:///etc/passwd"),
		"a host by its query": get("https://?vendor.example"),
	} {
		_, err := oauth.NewClient(oauth.Config{}).API(t.Context(), r)
		if e := vendorError(t, err); e.Outcome != core.NotSent || strings.Contains(e.Error(), "canary") {
			t.Errorf("%s: %v", name, e)
		}
	}
	if n := requests.Load(); n != 0 {
		t.Errorf("the vendor saw %d requests", n)
	}
}

// A complete answer is no error of API, however bad; what it stands for, Err says. One that is cut, late or not there
// is an error.
func TestAPIFailsOnlyWithoutACompleteAnswer(t *testing.T) {
	for name, tt := range map[string]struct {
		respond func(net.Conn)
		api     string // the error of API, "" for none
		err     string // of Err
	}{
		"200":          {writes(response("200 OK", "", `{"a":1}`)), "", "malformed_response (HTTP 200): answer of HOST [unknown]"},
		"200 HTML":     {writes(response("200 OK", "", "<p>"+vendorCanary)), "", "malformed_response (HTTP 200): answer of HOST [unknown]"},
		"401":          {writes(response("401 No", "", `{"code":"`+vendorCanary+`"}`)), "", "http_error (HTTP 401): answer of HOST [refused]"},
		"403 OAuth":    {writes(response("403 No", "", `{"error":"ACCESS_DENIED"}`)), "", "access_denied (HTTP 403): answer of HOST [refused]"},
		"429":          {writes(response("429 Slow", "Retry-After: 7\r\n", "")), "", "rate_limited (HTTP 429): answer of HOST [refused]"},
		"500":          {writes(response("500 "+vendorCanary, "", vendorCanary)), "", "http_error (HTTP 500): answer of HOST [unknown]"},
		"503":          {writes(response("503 Busy", "", "")), "", "vendor_unavailable (HTTP 503): answer of HOST [refused]"},
		"cut":          {writes("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), "network (HTTP 200): answer of HOST was not read to its end [unknown]", ""},
		"refusal cut":  {writes("HTTP/1.1 403 No\r\nContent-Length: 99\r\n\r\n{"), "network (HTTP 403): answer of HOST was not read to its end [unknown]", ""},
		"too long":     {writes(response("200 OK", "", strings.Repeat(" ", 1<<20)+"{}")), "malformed_response (HTTP 200): answer of HOST was not read to its end [unknown]", ""},
		"closed":       {writes(""), "network: HOST gave no answer [unknown]", ""},
		"reset":        {func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }, "network: HOST gave no answer [unknown]", ""},
		"no HTTP":      {writes(vendorCanary + "\r\n\r\n"), "network: HOST gave no answer [unknown]", ""},
		"bad header":   {writes("HTTP/1.1 200 OK\r\n" + vendorCanary + "\r\n\r\n"), "network: HOST gave no answer [unknown]", ""},
		"hangs":        {hangs(""), "timeout: HOST gave no answer [unknown]", ""},
		"stalls":       {hangs("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), "timeout (HTTP 200): answer of HOST was not read to its end [unknown]", ""},
		"gzip, unread": {writes(response("200 OK", "Content-Encoding: gzip\r\n", `{"a":1}`)), "", "malformed_response (HTTP 200): answer of HOST [unknown]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, requests := rawVendor(t, tt.respond)
			client := oauth.NewClient(oauth.Config{Timeout: 3 * time.Second})
			if strings.HasPrefix(tt.api, "timeout") {
				client = oauth.NewClient(oauth.Config{Timeout: 200 * time.Millisecond})
			}
			a, err := client.API(t.Context(), get(url+"?code="+codeCanary))
			host := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/token")
			if tt.api == "" && err != nil || tt.api != "" && vendorError(t, err).Error() != strings.ReplaceAll(tt.api, "HOST", host) {
				t.Fatalf("%v, want %s", err, tt.api)
			}
			if tt.err != "" && vendorError(t, a.Err()).Error() != strings.ReplaceAll(tt.err, "HOST", host) {
				t.Errorf("Err says %v, want %s", a.Err(), tt.err)
			}
			if requests.Load() != 1 || strings.Contains(fmt.Sprintf("%v %+v %v", err, err, a.Err()), "canary") {
				t.Errorf("%d requests; %v, %v", requests.Load(), err, a.Err())
			}
		})
	}
}

func TestAPINotSentWhereNothingListensOrTheContextHasEnded(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	_, err := oauth.NewClient(oauth.Config{}).API(t.Context(), get(server.URL))
	if e := vendorError(t, err); e.Outcome != core.NotSent || e.Code != core.CodeNetwork {
		t.Error(e)
	}
	url, requests := rawVendor(t, writes(response("200 OK", "", "{}")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = oauth.NewClient(oauth.Config{}).API(ctx, get(url))
	if e := vendorError(t, err); e.Outcome != core.NotSent || requests.Load() != 0 {
		t.Errorf("%v after %d requests", e, requests.Load())
	}
}

func TestAPIFollowsNoRedirect(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		var elsewhere atomic.Bool
		other, _ := vendor(t, func(http.ResponseWriter, *http.Request) { elsewhere.Store(true) })
		base, _ := vendor(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other, status) })
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			r := get(base)
			r.Method = method
			a, err := oauth.NewClient(oauth.Config{}).API(t.Context(), r)
			if err != nil || a.OK() || elsewhere.Load() {
				t.Errorf("%s %d: %v, followed: %v", method, status, err, elsewhere.Load())
			}
			if e := vendorError(t, a.Decode(new(any))); e.Code != core.CodeRedirected || e.Outcome != core.Unknown {
				t.Errorf("%s %d: %v", method, status, e)
			}
		}
	}
}

func TestAPIAnswerNamesTheVendorsOwnCode(t *testing.T) {
	for body, want := range map[string]bool{
		`{"code":"INVALID_API_ACCESS_POINT","message":"x"}`:            true,
		`{"error":"invalid_api_access_point","error_description":"x"}`: true,
		`{"error":{"error_name":"Invalid_API_Access_Point"}}`:          true,
		`{"code":"INVALID_ACCESS_TOKEN"}`:                              false,
		`{"message":"INVALID_API_ACCESS_POINT"}`:                       false,
		`"INVALID_API_ACCESS_POINT"`:                                   false,
		``:                                                             false,
	} {
		base, _ := vendor(t, answers(403, "application/json", body))
		a, err := oauth.NewClient(oauth.Config{}).API(t.Context(), get(base))
		if err != nil || a.Is("invalid_api_access_point") != want {
			t.Errorf("%s: %v %v", body, a.Is("invalid_api_access_point"), err)
		}
	}
}

func TestAPIAnswerDecodesTheObjectOfA2xxAndNothingElse(t *testing.T) {
	type baseURIs struct {
		APIAccessPoint string `json:"apiAccessPoint"`
	}
	for _, tt := range []struct {
		status     int
		body, want string // "" is an error
	}{
		{200, `{"apiAccessPoint":"https://a/","webAccessPoint":"https://w/"}`, "https://a/"},
		{201, "\ufeff" + `{"apiAccessPoint":"https://a/"}`, "https://a/"},
		{200, `{"apiAccessPoint":["` + vendorCanary + `"]}`, ""},
		{200, `[]`, ""},
		{200, `null`, ""},
		{200, ``, ""},
		{200, `{"apiAccessPoint":"https://a/"}` + vendorCanary, ""},
		{403, `{"apiAccessPoint":"https://a/"}`, ""},
		{500, `{"apiAccessPoint":"https://a/"}`, ""},
	} {
		base, _ := vendor(t, answers(tt.status, "application/json", tt.body))
		a, err := oauth.NewClient(oauth.Config{}).API(t.Context(), get(base))
		if err != nil {
			t.Fatal(err)
		}
		var got baseURIs
		err = a.Decode(&got)
		if tt.want == "" && strings.Contains(vendorError(t, err).Error(), "canary") {
			t.Errorf("the error tells the vendor's words: %v", err)
		}
		if tt.want != "" && (err != nil || got.APIAccessPoint != tt.want) {
			t.Errorf("%d %s: %q %v", tt.status, tt.body, got.APIAccessPoint, err)
		}
	}
}

func TestAPIAnswerHasATokenSetInAMember(t *testing.T) {
	for _, tt := range []struct {
		status             int
		body, member, want string // "" is an error
	}{
		{200, `{"account":{},"oauth_data":{"access_token":"at","expires_in":60}}`, "oauth_data", "at"},
		{200, `{"access_token":"at"}`, "", "at"},
		{200, `{"oauth_data":{}}`, "oauth_data", ""},
		{200, `{"oauth_data":"at"}`, "oauth_data", ""},
		{200, `{}`, "oauth_data", ""},
		{200, `{"oauth_data":{"access_token":"at","error":"x"}}`, "oauth_data", ""},
		{400, `{"oauth_data":{"access_token":"at"}}`, "oauth_data", ""},
	} {
		base, _ := vendor(t, answers(tt.status, "application/json", tt.body))
		a, err := oauth.NewClient(oauth.Config{}).API(t.Context(), get(base))
		if err != nil {
			t.Fatal(err)
		}
		got, err := a.Token(oauth.Endpoint{}, tt.member)
		if tt.want == "" {
			_ = vendorError(t, err)
		}
		if got.AccessToken.Reveal() != tt.want {
			t.Errorf("%d %s: %v", tt.status, tt.body, err)
		}
	}
}

func TestTokenAnswerShowsARefusalBeforeItIsAnError(t *testing.T) {
	base, last := vendor(t, answers(403, "application/json", `{"code":"INVALID_API_ACCESS_POINT","message":"`+vendorCanary+`"}`))
	a, err := oauth.NewClient(oauth.Config{}).TokenAnswer(t.Context(), oauth.Endpoint{TokenURL: base}, refresh())
	if err != nil || !a.Is("invalid_api_access_point") || decodeForm(t, last())["refresh_token"] != tokenCanary {
		t.Fatal(err)
	}
	_, err = a.Token(oauth.Endpoint{}, "")
	if e := vendorError(t, err); e.Code != core.CodeHTTPError || e.Outcome != core.Refused || e.Status != 403 {
		t.Error(e)
	}
}

func TestWithinBoundsSeveralRequestsByTheTimeout(t *testing.T) {
	client := oauth.NewClient(oauth.Config{Timeout: 100 * time.Millisecond})
	url, requests := rawVendor(t, hangs(""))
	ctx, cancel := client.Within(t.Context())
	defer cancel()
	_, err := client.API(ctx, get(url))
	if e := vendorError(t, err); e.Outcome != core.Unknown || e.Code != core.CodeTimeout {
		t.Error(e)
	}
	_, err = client.API(ctx, get(url))
	if e := vendorError(t, err); e.Outcome != core.NotSent || requests.Load() != 1 {
		t.Errorf("%v after %d requests", e, requests.Load())
	}
}
