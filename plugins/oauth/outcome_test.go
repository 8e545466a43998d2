package oauth_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/oauth"
)

// response is an HTTP answer with a length that fits.
func response(status string, header, body string) string {
	return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s", status, len(body), header, body)
}

func TestTokenOutcomeIsWhatIsKnown(t *testing.T) {
	const grantError = `{"error":"invalid_grant","error_description":"` + vendorCanary + `"}`
	html := "<html>" + vendorCanary + "</html>"
	for name, tt := range map[string]struct {
		respond func(net.Conn)
		outcome core.Outcome
		code    string
		status  int
	}{
		"400 invalid_grant":                {writes(response("400 Bad", "", grantError)), core.Refused, core.CodeInvalidGrant, 400},
		"401 invalid_client":               {writes(response("401 No", "", `{"error":"invalid_client"}`)), core.Refused, core.CodeInvalidClient, 401},
		"400 upper case":                   {writes(response("400 Bad", "", `{"error":" INVALID_GRANT "}`)), core.Refused, core.CodeInvalidGrant, 400},
		"400 code beside message":          {writes(response("400 Bad", "", `{"code":"UNAUTHORIZED_CLIENT","message":"x"}`)), core.Refused, core.CodeUnauthorizedClient, 400},
		"400 error object":                 {writes(response("400 Bad", "", `{"error":{"error_msg":"x","error_name":"invalid_grant"}}`)), core.Refused, core.CodeInvalidGrant, 400},
		"400 unknown code":                 {writes(response("400 Bad", "", `{"error":"`+vendorCanary+`"}`)), core.Refused, core.CodeHTTPError, 400},
		"400 our own code":                 {writes(response("400 Bad", "", `{"error":"plugin_unavailable"}`)), core.Refused, core.CodeHTTPError, 400},
		"400 numeric code":                 {writes(response("400 Bad", "", `{"code":1,"message":"x"}`)), core.Refused, core.CodeHTTPError, 400},
		"400 HTML":                         {writes(response("400 Bad", "", html)), core.Refused, core.CodeHTTPError, 400},
		"403 empty":                        {writes(response("403 No", "", "")), core.Refused, core.CodeHTTPError, 403},
		"400 gzip":                         {writes(response("400 Bad", "Content-Encoding: gzip\r\n", grantError)), core.Refused, core.CodeHTTPError, 400},
		"400 chunked":                      {writes("HTTP/1.1 400 B\r\nTransfer-Encoding: chunked\r\n\r\n19\r\n{\"error\":\"invalid_grant\"}\r\n0\r\n\r\n"), core.Refused, core.CodeInvalidGrant, 400},
		"400 chunked, cut":                 {writes("HTTP/1.1 400 B\r\nTransfer-Encoding: chunked\r\n\r\n19\r\n{\"error\":\"invalid_grant\"}\r\n"), core.Unknown, core.CodeNetwork, 400},
		"400 chunked, bad trailer":         {writes("HTTP/1.1 400 B\r\nTransfer-Encoding: chunked\r\n\r\n19\r\n{\"error\":\"invalid_grant\"}\r\n0\r\n" + vendorCanary + "\r\n\r\n"), core.Unknown, core.CodeNetwork, 400},
		"400 cut":                          {writes("HTTP/1.1 400 B\r\nContent-Length: 99\r\n\r\n" + grantError[:20]), core.Unknown, core.CodeNetwork, 400},
		"400 cut after a whole object":     {writes("HTTP/1.1 400 B\r\nContent-Length: 99\r\n\r\n" + `{"error":"invalid_grant"}`), core.Unknown, core.CodeNetwork, 400},
		"400 undelimited, whole":           {writes("HTTP/1.1 400 B\r\n\r\n" + grantError), core.Refused, core.CodeInvalidGrant, 400},
		"400 undelimited, cut":             {writes("HTTP/1.1 400 B\r\n\r\n" + grantError[:20]), core.Unknown, core.CodeNetwork, 400},
		"400 stalls":                       {hangs("HTTP/1.1 400 B\r\nContent-Length: 99\r\n\r\n{"), core.Unknown, core.CodeTimeout, 400},
		"400 too long":                     {writes(response("400 B", "", grantError+strings.Repeat(" ", 1<<20))), core.Unknown, core.CodeMalformedResponse, 400},
		"429":                              {writes(response("429 Slow", "", `{"error":"invalid_grant"}`)), core.Refused, core.CodeRateLimited, 429},
		"429 cut":                          {writes("HTTP/1.1 429 B\r\nContent-Length: 99\r\n\r\n"), core.Unknown, core.CodeNetwork, 429},
		"503":                              {writes(response("503 Busy", "", html)), core.Refused, core.CodeUnavailable, 503},
		"503 cut":                          {writes("HTTP/1.1 503 B\r\nContent-Length: 99\r\n\r\nx"), core.Unknown, core.CodeNetwork, 503},
		"500":                              {writes(response("500 Oops", "", html)), core.Unknown, core.CodeHTTPError, 500},
		"500 with an OAuth code":           {writes(response("500 Oops", "", grantError)), core.Unknown, core.CodeHTTPError, 500},
		"502":                              {writes(response("502 Oops", "", html)), core.Unknown, core.CodeHTTPError, 502},
		"504":                              {writes(response("504 Oops", "", html)), core.Unknown, core.CodeHTTPError, 504},
		"302":                              {writes(response("302 Go", "Location: http://127.0.0.1:1/\r\n", "")), core.Unknown, core.CodeRedirected, 302},
		"101":                              {hangs("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), core.Unknown, core.CodeHTTPError, 101},
		"200 HTML":                         {writes(response("200 OK", "", html)), core.Unknown, core.CodeMalformedResponse, 200},
		"200 empty":                        {writes(response("200 OK", "", "")), core.Unknown, core.CodeMalformedResponse, 200},
		"200 null":                         {writes(response("200 OK", "", "null")), core.Unknown, core.CodeMalformedResponse, 200},
		"200 array":                        {writes(response("200 OK", "", "[1]")), core.Unknown, core.CodeMalformedResponse, 200},
		"200 no token":                     {writes(response("200 OK", "", `{"expires_in":1}`)), core.Unknown, core.CodeMalformedResponse, 200},
		"200 business code":                {writes(response("200 OK", "", `{"code":"1001","message":"`+vendorCanary+`"}`)), core.Unknown, core.CodeMalformedResponse, 200},
		"200 error":                        {writes(response("200 OK", "", grantError)), core.Unknown, core.CodeInvalidGrant, 200},
		"200 error and token":              {writes(response("200 OK", "", `{"access_token":"at","error":"`+vendorCanary+`"}`)), core.Unknown, core.CodeMalformedResponse, 200},
		"200 truncated JSON":               {writes(response("200 OK", "", goodToken[:40])), core.Unknown, core.CodeMalformedResponse, 200},
		"200 cut":                          {writes("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + goodToken), core.Unknown, core.CodeNetwork, 200},
		"200 gzip":                         {writes(response("200 OK", "Content-Encoding: gzip\r\n", goodToken)), core.Unknown, core.CodeMalformedResponse, 200},
		"200 too long":                     {writes(response("200 OK", "", goodToken+strings.Repeat(" ", 1<<20))), core.Unknown, core.CodeMalformedResponse, 200},
		"200 stalls":                       {hangs("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), core.Unknown, core.CodeTimeout, 200},
		"204":                              {writes("HTTP/1.1 204 None\r\n\r\n"), core.Unknown, core.CodeMalformedResponse, 204},
		"closed without an answer":         {writes(""), core.Unknown, core.CodeNetwork, 0},
		"reset":                            {func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }, core.Unknown, core.CodeNetwork, 0},
		"no HTTP":                          {writes(vendorCanary + "\r\n\r\n"), core.Unknown, core.CodeNetwork, 0},
		"bad header":                       {writes("HTTP/1.1 400 B\r\n" + vendorCanary + "\r\n\r\n"), core.Unknown, core.CodeNetwork, 0},
		"header too long":                  {writes("HTTP/1.1 400 B\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n"), core.Unknown, core.CodeNetwork, 0},
		"never answers":                    {hangs(""), core.Unknown, core.CodeTimeout, 0},
		"header without end":               {hangs("HTTP/1.1 400 B\r\nX: "), core.Unknown, core.CodeTimeout, 0},
		"204 then a second answer, unread": {writes("HTTP/1.1 400 B\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n\r\n"), core.Refused, core.CodeHTTPError, 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, requests := rawVendor(t, tt.respond)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			client := oauth.NewClient(oauth.Config{Timeout: 3 * time.Second})
			if tt.code == core.CodeTimeout {
				client = oauth.NewClient(oauth.Config{Timeout: 200 * time.Millisecond})
			}
			_, err := client.Token(ctx, oauth.Endpoint{TokenURL: url}, refresh())
			got := vendorError(t, err)
			if got.Outcome != tt.outcome || got.Code != tt.code || got.Status != tt.status {
				t.Errorf("got %v %s %d, want %v %s %d", got.Outcome, got.Code, got.Status, tt.outcome, tt.code, tt.status)
			}
			if strings.Contains(fmt.Sprintf("%v %+v", err, *got), "canary") {
				t.Errorf("the error tells a secret or the vendor's words: %v", err)
			}
			if n := requests.Load(); n != 1 {
				t.Errorf("the vendor saw %d requests", n)
			}
		})
	}
}

func TestTokenNotSentWhereNothingListens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + listener.Addr().String()
	_ = listener.Close()
	_, err = oauth.NewClient(oauth.Config{}).Token(t.Context(), oauth.Endpoint{TokenURL: url}, refresh())
	if got := vendorError(t, err); got.Outcome != core.NotSent || got.Code != core.CodeNetwork {
		t.Error(got)
	}
}

func TestTokenNotSentWhereTLSFails(t *testing.T) {
	var handled atomic.Bool
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { handled.Store(true) }))
	server.Config.ErrorLog = silent()
	server.StartTLS()
	defer server.Close()
	_, err := oauth.NewClient(oauth.Config{}).Token(t.Context(), oauth.Endpoint{TokenURL: server.URL}, refresh())
	if got := vendorError(t, err); got.Outcome != core.NotSent || got.Code != core.CodeNetwork || handled.Load() {
		t.Error(got, handled.Load())
	}
}

func TestTokenNotSentWhileTLSHangs(t *testing.T) {
	// The kernel takes the connection; nobody speaks TLS on it.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	client := oauth.NewClient(oauth.Config{Timeout: 100 * time.Millisecond})
	_, err = client.Token(t.Context(), oauth.Endpoint{TokenURL: "https://" + listener.Addr().String()}, refresh())
	if got := vendorError(t, err); got.Outcome != core.NotSent || got.Code != core.CodeTimeout {
		t.Error(got)
	}
}

func TestTokenNotSentWithAnEndedContext(t *testing.T) {
	url, requests := rawVendor(t, writes(response("200 OK", "", goodToken)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := oauth.NewClient(oauth.Config{}).Token(ctx, oauth.Endpoint{TokenURL: url}, refresh())
	if got := vendorError(t, err); got.Outcome != core.NotSent || requests.Load() != 0 {
		t.Error(got, requests.Load())
	}
}

// A server that closes after each answer without saying so is what makes net/http repeat requests on a connection that
// it reuses.
func TestTokenIsNeverSentTwice(t *testing.T) {
	var answered atomic.Bool
	url, requests := rawVendor(t, func(conn net.Conn) {
		if answered.CompareAndSwap(false, true) {
			writes(response("200 OK", "Connection: keep-alive\r\n", goodToken))(conn)
		}
	})
	client := oauth.NewClient(oauth.Config{})
	if _, err := client.Token(t.Context(), oauth.Endpoint{TokenURL: url}, refresh()); err != nil {
		t.Fatal(err)
	}
	_, err := client.Token(t.Context(), oauth.Endpoint{TokenURL: url}, refresh())
	if got := vendorError(t, err); got.Outcome != core.Unknown || requests.Load() != 2 {
		t.Errorf("%v after %d requests, want 2", got, requests.Load())
	}
}

// The first connection stays open and answers nothing more: a second request on it would be lost.
func TestTokenReusesNoConnection(t *testing.T) {
	url, requests := rawVendor(t, hangs(response("200 OK", "Connection: keep-alive\r\n", goodToken)))
	client := oauth.NewClient(oauth.Config{})
	for range 3 {
		if _, err := client.Token(t.Context(), oauth.Endpoint{TokenURL: url}, refresh()); err != nil {
			t.Fatal(err)
		}
	}
	if n := requests.Load(); n != 3 {
		t.Errorf("the vendor saw %d requests", n)
	}
}

func TestTokenFollowsNoRedirect(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		var elsewhere atomic.Bool
		other, _ := vendor(t, func(http.ResponseWriter, *http.Request) { elsewhere.Store(true) })
		base, _ := vendor(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other, status) })
		_, err := oauth.NewClient(oauth.Config{}).Token(t.Context(), oauth.Endpoint{TokenURL: base}, refresh())
		if got := vendorError(t, err); got.Code != core.CodeRedirected || got.Outcome != core.Unknown || elsewhere.Load() {
			t.Errorf("%d: %v, followed: %v", status, got, elsewhere.Load())
		}
	}
}

// A vendor speaks TLS 1.2 and nothing newer. What is older than that gets nothing.
func TestTokenSpeaksTLS12AndNothingOlder(t *testing.T) {
	for version, taken := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		server := httptest.NewUnstartedServer(answers(200, "application/json", goodToken))
		server.Config.ErrorLog = silent()
		server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: version}
		server.StartTLS()
		config := &tls.Config{MinVersion: tls.VersionTLS10} // does not count
		config.RootCAs = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
		_, err := oauth.NewClient(oauth.Config{TLS: config}).Token(t.Context(), oauth.Endpoint{TokenURL: server.URL}, refresh())
		server.Close()
		if taken && err != nil {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if !taken && vendorError(t, err).Outcome != core.NotSent {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
	}
}

func TestTokenTellsHowLongToWait(t *testing.T) {
	const date = "Sun, 06 Nov 1994 08:49:37 GMT"
	at := time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC)
	header := func(format string, args ...any) string {
		return "Date: " + date + "\r\n" + fmt.Sprintf(format, args...) + "\r\n"
	}
	for name, tt := range map[string]struct {
		text string
		want time.Duration
	}{
		"seconds":           {response("429 Slow", header("Retry-After: 30"), ""), 30 * time.Second},
		"date":              {response("503 Busy", header("Retry-After: %s", at.Add(time.Minute).Format(http.TimeFormat)), ""), time.Minute},
		"past date":         {response("503 Busy", header("Retry-After: %s", at.Add(-time.Minute).Format(http.TimeFormat)), ""), 0},
		"body":              {response("429 Slow", "", `{"code":"THROTTLING_X","retryAfter":12}`), 12 * time.Second},
		"body as text":      {response("429 Slow", "", `{"retryAfter":"12"}`), 12 * time.Second},
		"longest":           {response("429 Slow", "Retry-After: 5\r\n", `{"retryAfter":12.2}`), 13 * time.Second},
		"reset":             {response("429 Slow", header("X-Ratelimit-Reset: %d", at.Add(90*time.Second).Unix()), ""), 90 * time.Second},
		"reset, not 429":    {response("400 Bad", header("X-RateLimit-Reset: %d", at.Add(90*time.Second).Unix()), ""), 0},
		"negative":          {response("429 Slow", "Retry-After: -5\r\n", ""), 0},
		"not a number":      {response("429 Slow", "Retry-After: NaN\r\n", ""), 0},
		"endless":           {response("429 Slow", "Retry-After: 1e300\r\n", ""), 24 * time.Hour},
		"nonsense":          {response("429 Slow", "Retry-After: soon\r\n", `{"retryAfter":[]}`), 0},
		"not in a redirect": {response("302 Go", "Retry-After: 30\r\n", ""), 0},
	} {
		t.Run(name, func(t *testing.T) {
			url, _ := rawVendor(t, writes(tt.text))
			_, err := oauth.NewClient(oauth.Config{}).Token(t.Context(), oauth.Endpoint{TokenURL: url}, refresh())
			if got := vendorError(t, err).RetryAfter; got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}
