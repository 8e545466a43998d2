package plugintest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/sdk/plugintest/faultproxy"
)

// errNoCode is returned where the vendor's consent has no code flow.
var errNoCode = errors.New("the adapter declares no authorization_code grant")

// errVisit is wrapped where the consent page cannot be reached or answered.
var errVisit = errors.New("visit the consent page")

// visit is one authorization: what was asked, and with what the browser came back.
type visit struct {
	request  core.AuthorizationRequest
	verifier core.Secret
	params   url.Values
}

// authorizationRequest asks for the configured scopes, with a state and, where declared, a challenge of its own.
func (b *bench) authorizationRequest() (core.AuthorizationRequest, core.Secret) {
	r := core.AuthorizationRequest{
		Client: b.credentials(), RedirectURI: b.cfg.Sandbox.RedirectURI, State: random(), Scope: slices.Clone(b.cfg.Sandbox.Scopes),
	}
	if !b.metadata.PKCE {
		return r, core.Secret{}
	}
	verifier := random() + random()
	sum := sha256.Sum256([]byte(verifier))
	r.CodeChallenge = base64.RawURLEncoding.EncodeToString(sum[:])
	return r, core.NewSecret(verifier)
}

func random() string {
	raw := make([]byte, 24)
	_, _ = rand.Read(raw) // never fails
	return base64.RawURLEncoding.EncodeToString(raw)
}

// visit sends a person to the consent page, who accepts or denies.
func (b *bench) visit(ctx context.Context, s *subject, accept bool) (visit, error) {
	if !b.metadata.Supports(core.AuthorizationCode) {
		return visit{}, errNoCode
	}
	r, verifier := b.authorizationRequest()
	page, err := s.AuthorizationURL(ctx, r)
	if err != nil {
		return visit{}, fmt.Errorf("%w: AuthorizationURL: %w", errVisit, err)
	}
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Timeout)
	defer cancel()
	back, err := b.cfg.Sandbox.Consent(ctx, page, accept)
	if err != nil {
		return visit{}, fmt.Errorf("%w: %w", errVisit, err)
	}
	params := back.Query()
	for _, values := range params { // an issuer, or an API host
		for i, value := range values {
			for _, l := range b.links {
				values[i] = strings.ReplaceAll(value, l.origin, l.proxy.URL())
			}
		}
	}
	return visit{r, verifier, params}, nil
}

// codeRequest is a visit to the consent page, up to the request that exchanges its code.
func (b *bench) codeRequest(ctx context.Context, s *subject) (core.TokenRequest, error) {
	v, err := b.visit(ctx, s, true)
	if err != nil {
		return core.TokenRequest{}, err
	}
	result, err := s.Callback(ctx, core.CallbackRequest{Client: v.request.Client, Params: v.params})
	if err != nil {
		return core.TokenRequest{}, fmt.Errorf("Callback: %w", err)
	}
	if result.Denied != "" || result.Code.IsZero() {
		return core.TokenRequest{}, fmt.Errorf("Callback: %s", noCode(result))
	}
	return core.TokenRequest{
		Client: v.request.Client, GrantType: core.AuthorizationCode, Code: result.Code, RedirectURI: v.request.RedirectURI,
		State: core.NewSecret(v.request.State), CodeVerifier: v.verifier, Scope: v.request.Scope, APIBaseURL: result.APIBaseURL,
	}, nil
}

// grant is a new consent and its token set.
func (b *bench) grant(ctx context.Context, s *subject) (core.TokenResponse, error) {
	r, err := b.codeRequest(ctx, s)
	var set core.TokenResponse
	if err == nil {
		set, _, err = b.token(ctx, s, r)
	}
	if err == nil && b.metadata.Supports(core.RefreshToken) && set.RefreshToken.IsZero() {
		err = errors.New("the exchange brought no refresh token")
	}
	if set.APIBaseURL == "" {
		set.APIBaseURL = r.APIBaseURL
	}
	b.grantErr = err
	return set, err
}

// refreshRequest refreshes a token set.
func (b *bench) refreshRequest(set core.TokenResponse) core.TokenRequest {
	return core.TokenRequest{
		Client: b.credentials(), GrantType: core.RefreshToken, RefreshToken: set.RefreshToken, AccessToken: set.AccessToken,
		Scope: slices.Clone(b.cfg.Sandbox.Scopes), APIBaseURL: set.APIBaseURL,
	}
}

// clientRequest asks for the client's own token.
func (b *bench) clientRequest() core.TokenRequest {
	return core.TokenRequest{Client: b.credentials(), GrantType: core.ClientCredentials, Scope: slices.Clone(b.cfg.Sandbox.Scopes)}
}

// freshRequest is a token request that the sandbox grants, of a grant that nothing else uses.
func (b *bench) freshRequest(ctx context.Context, s *subject) (core.TokenRequest, error) {
	switch {
	case b.metadata.Supports(core.AuthorizationCode) && b.metadata.Supports(core.RefreshToken):
		set, err := b.grant(ctx, s)
		return b.refreshRequest(set), err
	case b.metadata.Supports(core.ClientCredentials):
		return b.clientRequest(), nil
	default:
		return b.codeRequest(ctx, s)
	}
}

// heard is what the sandbox answered to a token request; zero where none was seen.
type heard struct {
	request string // what it was asked
	status  int
	members map[string]any
}

// text is a member of the answer that is a string.
func (h heard) text(name string) string {
	s, _ := h.members[name].(string)
	return s
}

// token calls Token and listens to what the sandbox answers.
func (b *bench) token(ctx context.Context, s *subject, r core.TokenRequest) (core.TokenResponse, heard, error) {
	answers := make(chan heard, 8)
	listen := faultproxy.Fault{Name: "listen", Respond: func(x *faultproxy.Exchange) {
		a, err := x.Forward()
		if err != nil {
			return
		}
		h := heard{request: string(x.Body), status: a.Status}
		_ = json.Unmarshal(a.Body, &h.members) // no object: no members
		select {
		case answers <- h:
		default:
		}
		_ = x.Send(a) // the caller may have gone
	}}
	for _, l := range b.links {
		l.proxy.Next(listen)
	}
	set, err := s.Token(ctx, r)
	b.findFront()
	restoreErr := b.restore()
	select {
	case h := <-answers:
		return set, h, errors.Join(err, restoreErr)
	default:
		return set, heard{}, errors.Join(err, restoreErr)
	}
}

// findFront notes which proxy stands before the token endpoint.
func (b *bench) findFront() {
	for _, l := range b.links {
		if b.front == nil && l.proxy.Stats().TokenRequests > 0 {
			b.front = l
		}
	}
}

// restore drops the faults that did not happen.
func (b *bench) restore() error {
	var errs []error
	for _, l := range b.links {
		errs = append(errs, l.proxy.Restore())
	}
	return errors.Join(errs...)
}

// works asks the vendor's API whether an access token is live; known is false where the sandbox cannot be asked.
func (b *bench) works(ctx context.Context, set core.TokenResponse) (live, known bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Timeout)
	defer cancel()
	sandbox := b.cfg.Sandbox
	if sandbox.TokenWorks != nil {
		live, err = sandbox.TokenWorks(ctx, set)
		return live, true, err
	}
	if sandbox.Probe == "" {
		return false, false, nil
	}
	target := sandbox.Probe
	if strings.HasPrefix(target, "/") {
		base := set.APIBaseURL
		if base == "" {
			base = strings.TrimSuffix(sandbox.URL, "/")
		}
		target = base + target
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return false, true, errors.New("the probe of the sandbox is no URL")
	}
	req.Header.Set("Authorization", "Bearer "+set.AccessToken.Reveal())
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return false, true, fmt.Errorf("ask the probe of the sandbox: %w", err)
	}
	_ = res.Body.Close()
	switch {
	case res.StatusCode/100 == 2:
		return true, true, nil
	case res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden:
		return false, true, nil
	default:
		return false, true, fmt.Errorf("the probe of the sandbox answers with status %d, which tells nothing of the token", res.StatusCode)
	}
}

// attempt is what came of a token request that a fault met.
type attempt struct {
	set       core.TokenResponse
	err       error
	took      time.Duration
	sent      int  // token requests that went out
	elsewhere int  // redirects that were followed
	died      bool // the plugin's process ended
}

// fault lets a token request go wrong. The error says that the kit itself could not do so.
func (b *bench) fault(ctx context.Context, s *subject, f faultproxy.Fault, timeout time.Duration) (attempt, error) {
	r, err := b.freshRequest(ctx, s)
	if err != nil {
		return attempt{}, err
	}
	if b.front == nil {
		return attempt{}, errNoFront
	}
	proxy := b.front.proxy
	if at := proxy.URLFor(f); at != proxy.URL() {
		r.Client = b.credentialsBy(func(l *link) string {
			if l == b.front {
				return at
			}
			return l.proxy.URL()
		})
		r.APIBaseURL = strings.ReplaceAll(r.APIBaseURL, proxy.URL(), at)
	}
	before, pid := proxy.Stats(), s.pid()
	proxy.Next(f)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	begun := time.Now()
	var a attempt
	a.set, a.err = s.Token(ctx, r)
	a.took = time.Since(begun)
	after := proxy.Stats()
	a.sent, a.elsewhere = after.TokenRequests-before.TokenRequests, after.Elsewhere-before.Elsewhere
	a.died = pid != 0 && !alive(pid)
	return a, errors.Join(proxy.Restore(), s.settle(context.WithoutCancel(ctx)))
}
