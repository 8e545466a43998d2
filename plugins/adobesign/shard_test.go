package adobesign_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/adobesign"
	"github.com/esignd/esignd/plugins/oauth"
)

const (
	oldShard = "https://api.na1.adobesign.com"
	newShard = "https://api.na4.adobesign.com"
	// the requests that a refresh may lead to, as a script logs them
	refreshOld = "POST api.na1.adobesign.com/oauth/v2/refresh "
	refreshNew = "POST api.na4.adobesign.com/oauth/v2/refresh "
	askOld     = "GET api.adobesign.com/api/rest/v6/baseUris Bearer at1"
	askNew     = "GET api.adobesign.com/api/rest/v6/baseUris Bearer at2"
)

// step is one answer; a zero status never answers.
type step struct {
	status int
	body   string
}

var (
	moved     = step{403, `{"code":"INVALID_API_ACCESS_POINT","message":"Request must be made to correct API access point"}`}
	refreshed = step{200, `{"access_token":"at2","token_type":"Bearer","expires_in":3600}`}
	atNew     = step{200, `{"apiAccessPoint":" https://api.na4.adobesign.com/ ","webAccessPoint":"https://secure.na4.adobesign.com/"}`}
)

// script is every host of Adobe's and answers one step after the other.
type script struct {
	*adobesign.Adapter
	mu    sync.Mutex
	steps []step
	seen  []string // method, host, path and Authorization
}

func newScript(t *testing.T, cfg oauth.Config, steps ...step) *script {
	t.Helper()
	s := &script{steps: steps}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		s.mu.Lock()
		s.seen = append(s.seen, r.Method+" "+r.Host+r.URL.Path+" "+r.Header.Get("Authorization"))
		var next step
		if len(s.steps) > 0 {
			next, s.steps = s.steps[0], s.steps[1:]
		}
		s.mu.Unlock()
		if next.status == 0 {
			<-r.Context().Done()
			return
		}
		if next.status == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "90")
		}
		if next.status/100 == 3 {
			w.Header().Set("Location", newShard)
		}
		w.WriteHeader(next.status)
		_, _ = io.WriteString(w, next.body)
	}))
	t.Cleanup(server.Close)
	s.Adapter = adapterOf(server, cfg)
	return s
}

// saw checks the requests that there were.
func (s *script) saw(t *testing.T, want ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if diff := cmp.Diff(want, s.seen); diff != "" {
		t.Error(diff)
	}
}

// refreshRequest is a refresh of a grant on the old shard.
func refreshRequest() core.TokenRequest {
	return core.TokenRequest{
		Client: client(nil), GrantType: core.RefreshToken, RefreshToken: core.NewSecret("rt*"),
		AccessToken: core.NewSecret("at1"), APIBaseURL: oldShard,
	}
}

func TestShardMovedRefreshFollowsTheAccount(t *testing.T) {
	for name, refusal := range map[string]step{
		"403 code":        moved,
		"400 code":        {400, moved.body},
		"400 error":       {400, `{"error":"INVALID_API_ACCESS_POINT","error_description":"x"}`},
		"403 lower case":  {403, `{"error":"invalid_api_access_point"}`},
		"403, no reason":  {403, `<html>`},
		"403, empty body": {403, ``},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t, oauth.Config{}, refusal, atNew, refreshed)
			got, err := s.Token(t.Context(), refreshRequest())
			if err != nil {
				t.Fatal(err)
			}
			s.saw(t, refreshOld, askOld, refreshNew)
			if got.APIBaseURL != newShard || got.AccessToken.Reveal() != "at2" || !got.RefreshToken.IsZero() || got.ExpiresIn != time.Hour {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestShardMovedAsksTheConfiguredHostForTheWay(t *testing.T) {
	s := newScript(t, oauth.Config{}, moved, atNew, refreshed)
	r := refreshRequest()
	r.Client.Settings = map[string]string{"api_url": "https://api.eu1.echosign.com/", "oauth_version": "v1"}
	if _, err := s.Token(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	s.saw(t, "POST api.na1.adobesign.com/oauth/refresh ", "GET api.eu1.echosign.com/api/rest/v6/baseUris Bearer at1",
		"POST api.na4.adobesign.com/oauth/refresh ")
}

// A refusal stands where the way cannot be learnt, so that the policy for refusals that give no reason decides.
func TestShardMovedRefusalStandsWithoutAGoodHost(t *testing.T) {
	for name, tt := range map[string]struct {
		answer step
		wait   time.Duration
	}{
		"the access token has expired": {answer: step{401, `{"code":"INVALID_ACCESS_TOKEN","message":"canary"}`}},
		"throttled":                    {answer: step{429, `{"code":"THROTTLING_X","retryAfter":120}`}, wait: 2 * time.Minute},
		"down":                         {answer: step{503, ``}},
		"broken":                       {answer: step{500, `{"apiAccessPoint":"https://api.na4.adobesign.com/"}`}},
		"redirect":                     {answer: step{302, ``}},
		"HTML":                         {answer: step{200, `<html>canary</html>`}},
		"no host":                      {answer: step{200, `{}`}},
		"of another type":              {answer: step{200, `{"apiAccessPoint":["https://api.na4.adobesign.com/"]}`}},
		"a foreign host":               {answer: step{200, `{"apiAccessPoint":"https://canary.example/"}`}},
		"a host with a port":           {answer: step{200, `{"apiAccessPoint":"https://api.na4.adobesign.com:8443/"}`}},
		"plain http":                   {answer: step{200, `{"apiAccessPoint":"http://api.na4.adobesign.com/"}`}},
		"the same shard":               {answer: step{200, `{"apiAccessPoint":"` + oldShard + `/"}`}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t, oauth.Config{}, moved, tt.answer)
			_, err := s.Token(t.Context(), refreshRequest())
			e := core.AsVendorError(err)
			if e.Outcome != core.Refused || e.Code != core.CodeHTTPError || e.Status != 403 || e.RetryAfter != tt.wait {
				t.Errorf("%v, retry after %v", e, e.RetryAfter)
			}
			if strings.Contains(e.Error(), "canary") {
				t.Errorf("the error tells Adobe's words: %v", e)
			}
			s.saw(t, refreshOld, askOld)
		})
	}
}

func TestShardMovedRefusalStandsWithoutAnAccessToken(t *testing.T) {
	s := newScript(t, oauth.Config{}, moved)
	r := refreshRequest()
	r.AccessToken = core.Secret{}
	_, err := s.Token(t.Context(), r)
	if e := core.AsVendorError(err); e.Outcome != core.Refused || e.Code != core.CodeHTTPError || e.Status != 403 {
		t.Error(e)
	}
	s.saw(t, refreshOld)
}

func TestShardMovedIsFollowedOnceInACall(t *testing.T) {
	s := newScript(t, oauth.Config{}, moved, atNew, moved, atNew, refreshed)
	_, err := s.Token(t.Context(), refreshRequest())
	if e := core.AsVendorError(err); e.Outcome != core.Refused || e.Code != core.CodeHTTPError {
		t.Error(e)
	}
	s.saw(t, refreshOld, askOld, refreshNew)
}

func TestShardMovedWhatTheNewShardSaysCounts(t *testing.T) {
	for want, answer := range map[string]step{
		"invalid_grant refused":      {400, `{"error":"invalid_grant"}`},
		"rate_limited refused":       {429, ``},
		"http_error unknown":         {500, ``},
		"malformed_response unknown": {200, `{}`},
	} {
		s := newScript(t, oauth.Config{}, moved, atNew, answer)
		_, err := s.Token(t.Context(), refreshRequest())
		if e := core.AsVendorError(err); e.Code+" "+e.Outcome.String() != want {
			t.Errorf("%v, want %s", e, want)
		}
		s.saw(t, refreshOld, askOld, refreshNew)
	}
}

func TestShardMovedIsNotSeenInOtherFailures(t *testing.T) {
	for name, answer := range map[string]step{
		"throttled":       {429, moved.body},
		"down":            {503, moved.body},
		"broken":          {500, moved.body},
		"dead":            {403, `{"error":"invalid_grant"}`},
		"another reason":  {403, `{"code":"PERMISSION_DENIED","message":"x"}`},
		"no reason, 400":  {400, ``},
		"not an answer":   {200, moved.body},
		"not a code here": {400, `{"code":"X","message":"INVALID_API_ACCESS_POINT"}`},
	} {
		s := newScript(t, oauth.Config{}, answer, atNew, refreshed)
		if _, err := s.Token(t.Context(), refreshRequest()); err == nil {
			t.Errorf("%s: followed", name)
		}
		s.saw(t, refreshOld)
	}
	s := newScript(t, oauth.Config{}, moved, atNew, refreshed)
	r := refreshRequest()
	r.GrantType, r.Code = core.AuthorizationCode, core.NewSecret("c")
	if _, err := s.Token(t.Context(), r); err == nil {
		t.Error("an exchange is followed: its code is spent, or of no use elsewhere")
	}
	s.saw(t, "POST api.na1.adobesign.com/oauth/v2/token ")
}

// The question hangs; the call ends within its own time with the refusal that it had.
func TestShardMovedEndsWithinTheCallsTime(t *testing.T) {
	s := newScript(t, oauth.Config{Timeout: 500 * time.Millisecond}, moved, step{})
	start := time.Now()
	_, err := s.Token(t.Context(), refreshRequest())
	if e := core.AsVendorError(err); e.Outcome != core.Refused || e.Code != core.CodeHTTPError || e.Status != 403 {
		t.Error(e)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v of 500 ms", took)
	}
}

func TestReportedTokenHasTheShardAskedWithTheNewOne(t *testing.T) {
	s := newScript(t, oauth.Config{}, refreshed, atNew)
	r := refreshRequest()
	r.Reported = true
	got, err := s.Token(t.Context(), r)
	if err != nil || got.APIBaseURL != newShard || got.AccessToken.Reveal() != "at2" {
		t.Errorf("%+v %v", got, err)
	}
	s.saw(t, refreshOld, askNew)
}

func TestReportedTokenSetIsNotLostWhateverTheQuestionLeadsTo(t *testing.T) {
	for name, answer := range map[string]step{
		"refused":   {401, ``},
		"throttled": {429, ``},
		"down":      {500, ``},
		"HTML":      {200, `<html>`},
		"no host":   {200, `{"apiAccessPoint":""}`},
		"foreign":   {200, `{"apiAccessPoint":"https://api.na4.adobesign.com.evil.example/"}`},
		"the same":  {200, `{"apiAccessPoint":"` + oldShard + `/"}`},
	} {
		s := newScript(t, oauth.Config{}, refreshed, answer)
		r := refreshRequest()
		r.Reported = true
		got, err := s.Token(t.Context(), r)
		if err != nil || got.APIBaseURL != oldShard || got.AccessToken.Reveal() != "at2" {
			t.Errorf("%s: %+v %v", name, got, err)
		}
		s.saw(t, refreshOld, askNew)
	}
}

func TestReportedTokenSetIsBackBeforeTheCallEnds(t *testing.T) {
	s := newScript(t, oauth.Config{}, refreshed, step{})
	ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
	defer cancel()
	r := refreshRequest()
	r.Reported = true
	got, err := s.Token(ctx, r)
	if err != nil || got.APIBaseURL != oldShard || got.AccessToken.Reveal() != "at2" || ctx.Err() != nil {
		t.Errorf("%+v %v, the call's context: %v", got, err, ctx.Err())
	}
}

func TestReportedAsksNothingMoreThanItMust(t *testing.T) {
	unreported := newScript(t, oauth.Config{}, refreshed, atNew)
	if _, err := unreported.Token(t.Context(), refreshRequest()); err != nil {
		t.Error(err)
	}
	unreported.saw(t, refreshOld)

	r := refreshRequest()
	r.Reported = true
	followed := newScript(t, oauth.Config{}, moved, atNew, refreshed, atNew)
	if got, err := followed.Token(t.Context(), r); err != nil || got.APIBaseURL != newShard {
		t.Errorf("%+v %v", got, err)
	}
	followed.saw(t, refreshOld, askOld, refreshNew)

	dead := newScript(t, oauth.Config{}, step{400, `{"error":"invalid_grant"}`}, atNew)
	if _, err := dead.Token(t.Context(), r); core.AsVendorError(err).Code != core.CodeInvalidGrant {
		t.Error(err)
	}
	dead.saw(t, refreshOld)
}

// Where the refresh's own time is over before it begins, nothing follows it.
func TestShardMovedSendsNothingAfterTheCall(t *testing.T) {
	s := newScript(t, oauth.Config{}, moved, atNew, refreshed)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Token(ctx, refreshRequest())
	if e := core.AsVendorError(err); e.Outcome != core.NotSent || len(s.seen) != 0 {
		t.Errorf("%v after %v", e, s.seen)
	}
}
