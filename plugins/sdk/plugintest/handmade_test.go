package plugintest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/esignd/esignd/core"
)

// handmade asks the token endpoint without plugins/oauth, as an author may; each member is a mistake that authors make.
// Its zero value makes none.
type handmade struct {
	follows   bool // redirects
	swallows  bool // an answer of any size
	deaf      bool // to its context
	resends   bool // what failed
	quotes    bool // the vendor in its errors
	fussy     bool // about lifetimes
	gullible  bool // any 200 is a token set
	forgiving bool // 500 is a refusal
	fatal     bool // every 4xx is invalid_grant
	hasty     bool // a network failure is not_sent
}

func (h handmade) Token(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
	set, err := h.once(ctx, r)
	if h.resends && core.AsVendorError(err).Status >= 500 {
		return h.once(ctx, r)
	}
	return set, err
}

func (h handmade) once(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
	u, e, err := endpoint(r.Client)
	if err != nil {
		return core.TokenResponse{}, err
	}
	if h.deaf {
		ctx = context.WithoutCancel(ctx)
	}
	form := url.Values{
		"grant_type": {string(r.GrantType)}, "client_id": {r.Client.ClientID}, "client_secret": {r.Client.ClientSecret.Reveal()},
		"code": {r.Code.Reveal()}, "redirect_uri": {r.RedirectURI}, "code_verifier": {r.CodeVerifier.Reveal()}, "refresh_token": {r.RefreshToken.Reveal()},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return core.TokenResponse{}, &core.VendorError{Outcome: core.NotSent, Code: core.CodeInvalidRequest}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept-Encoding", "identity")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if !h.follows {
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	res, err := client.Do(req)
	if err != nil {
		return core.TokenResponse{}, h.unsent(err)
	}
	defer func() { _ = res.Body.Close() }()
	return h.read(u, res)
}

// unsent sorts an error of net/http out.
func (h handmade) unsent(err error) error {
	e := &core.VendorError{Outcome: core.Unknown, Code: core.CodeNetwork}
	text := err.Error()
	if h.hasty || strings.Contains(text, "refused") || strings.Contains(text, "tls:") {
		e.Outcome = core.NotSent
	}
	return e
}

func (h handmade) read(u *url.URL, res *http.Response) (core.TokenResponse, error) {
	const most = 1 << 20
	body := io.Reader(res.Body)
	if !h.swallows {
		body = io.LimitReader(body, most+1)
	}
	text, err := io.ReadAll(body)
	if err != nil || !h.swallows && len(text) > most {
		return core.TokenResponse{}, &core.VendorError{Outcome: core.Unknown, Code: core.CodeMalformedResponse, Status: res.StatusCode}
	}
	if res.StatusCode != http.StatusOK {
		return core.TokenResponse{}, h.failure(res, text)
	}
	var answer struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
		ExpiresIn    any    `json:"expires_in"`
	}
	err = json.Unmarshal(text, &answer)
	if h.gullible && answer.AccessToken == "" {
		answer.AccessToken = "none"
	} else if err != nil || answer.AccessToken == "" {
		return core.TokenResponse{}, &core.VendorError{Outcome: core.Unknown, Code: core.CodeMalformedResponse, Status: res.StatusCode}
	}
	seconds, _ := answer.ExpiresIn.(float64)
	if h.fussy && seconds <= 0 {
		return core.TokenResponse{}, &core.VendorError{Outcome: core.Unknown, Code: core.CodeMalformedResponse, Status: res.StatusCode}
	}
	if seconds < 0 || seconds > 1e9 {
		seconds = 0
	}
	return core.TokenResponse{
		AccessToken: core.NewSecret(answer.AccessToken), RefreshToken: core.NewSecret(answer.RefreshToken), TokenType: "Bearer",
		ExpiresIn: time.Duration(seconds) * time.Second, APIBaseURL: u.String(),
	}, nil
}

func (h handmade) failure(res *http.Response, text []byte) error {
	var answer struct {
		Error string `json:"error"`
	}
	_ = json.Unmarshal(text, &answer)
	e := &core.VendorError{Outcome: core.Unknown, Code: core.CodeHTTPError, Status: res.StatusCode}
	switch {
	case res.StatusCode == http.StatusTooManyRequests:
		e.Outcome, e.Code = core.Refused, core.CodeRateLimited
	case res.StatusCode == http.StatusServiceUnavailable:
		e.Outcome, e.Code = core.Refused, core.CodeUnavailable
	case res.StatusCode/100 == 4 && h.fatal:
		e.Outcome, e.Code = core.Refused, core.CodeInvalidGrant
	case res.StatusCode/100 == 4:
		e.Outcome = core.Refused
		switch answer.Error {
		case core.CodeInvalidGrant, core.CodeInvalidClient, core.CodeUnauthorizedClient, core.CodeInvalidRequest:
			e.Code = answer.Error
		}
	case res.StatusCode == http.StatusInternalServerError && h.forgiving:
		e.Outcome = core.Refused
	}
	e.RetryAfter = pause(res.Header.Get("Retry-After"))
	if h.quotes {
		e.Detail = "the vendor said " + string(text)
	}
	return e
}

func pause(s string) time.Duration {
	if n, err := strconv.Atoi(s); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil {
		return time.Until(t).Round(time.Second)
	}
	return 0
}

// errForeign is no *core.VendorError.
var errForeign = errors.New("it went wrong")
