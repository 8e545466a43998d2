package client

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// TokenSource returns an oauth2.TokenSource whose Token asks esignd each time, within ctx: that interface has no
// context of its own. A token's Expiry is counted from when it was asked for, by this machine's clock. Extra has
// "api_base_url", "grant" and "generation".
//
// oauth2.ReuseTokenSource around it saves requests and goes on using a token that was revoked until it expires.
func (c *Client) TokenSource(ctx context.Context, sel Selector, opts ...TokenOption) oauth2.TokenSource {
	return newTokenSource(ctx, c, sel, opts)
}

func newTokenSource(ctx context.Context, api API, sel Selector, opts []TokenOption) oauth2.TokenSource {
	return tokenSource(func() (*oauth2.Token, error) {
		asked := time.Now()
		t, err := api.Token(ctx, sel, opts...)
		if err != nil {
			return nil, err
		}
		return oauthToken(t, asked), nil
	})
}

// tokenSource is a function as an oauth2.TokenSource.
type tokenSource func() (*oauth2.Token, error)

func (f tokenSource) Token() (*oauth2.Token, error) { return f() }

// oauthToken returns t as the oauth2 package has it.
func oauthToken(t Token, asked time.Time) *oauth2.Token {
	out := &oauth2.Token{
		AccessToken: t.AccessToken.Reveal(), TokenType: t.TokenType, Expiry: asked.Add(t.ExpiresIn),
		ExpiresIn: int64(t.ExpiresIn / time.Second),
	}
	return out.WithExtra(map[string]any{
		"api_base_url": t.APIBaseURL, "grant": t.Grant, "generation": t.Generation, "scope": strings.Join(t.Scope, " "),
	})
}

// Transport returns a http.RoundTripper that adds the grant's token to each request and hands it on to base, which is
// http.DefaultTransport where it is nil. A request without a host, such as one for "/api/rest/v6/agreements?pageSize=10",
// goes to the grant's api_base_url: the path is added to the base's.
//
// When the vendor answers 401 it reports the token's generation and, where the body can be sent again (there is none,
// or GetBody is set), sends the request once more with the new token. The answer to the second is returned as it is.
//
// The token goes to the grant's API only: to the host of its api_base_url or, where the vendor has one host for all,
// to the host of the request, by https or to this machine. A redirect to another host is followed without the token; a
// request to another host is an error.
func (c *Client) Transport(sel Selector, base http.RoundTripper) http.RoundTripper {
	return newTransport(c, sel, base)
}

func newTransport(api API, sel Selector, base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{client: api, sel: sel, base: base}
}

type transport struct {
	client API
	sel    Selector
	base   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	tok, err := t.client.Token(ctx, t.sel)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	sent := addressed(req, tok)
	if !mayHave(sent, tok) {
		if req.Response != nil {
			return t.base.RoundTrip(sent)
		}
		closeBody(req)
		return nil, notThere(sent, tok)
	}
	resp, err := t.base.RoundTrip(withToken(sent, tok))
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	next, err := t.client.Report(ctx, t.sel, tok.Generation)
	sent = addressed(req, next)
	if err != nil || next.Generation == tok.Generation || !mayHave(sent, next) {
		// The vendor's answer tells the caller more than that a second try was not possible.
		return resp, nil
	}
	again := withToken(sent, next)
	if req.Body != nil && req.Body != http.NoBody {
		if req.GetBody == nil {
			return resp, nil
		}
		if again.Body, err = req.GetBody(); err != nil {
			return resp, nil
		}
	}
	discard(resp)
	return t.base.RoundTrip(again)
}

// addressed returns req as it goes to the grant's API where it has no host, or as the redirect meant it that it follows,
// and else req itself.
func addressed(req *http.Request, tok Token) *http.Request {
	if req.URL.Host != "" || req.URL.Scheme != "" {
		return req
	}
	out := req.Clone(req.Context())
	if before := req.Response; before != nil && before.Request != nil {
		out.URL = before.Request.URL.ResolveReference(req.URL)
		return out
	}
	base, err := url.Parse(tok.APIBaseURL)
	if err != nil || base.Host == "" {
		return req
	}
	out.URL = base.JoinPath(req.URL.EscapedPath())
	out.URL.RawQuery = req.URL.RawQuery
	return out
}

// notThere says why the token is not sent with a request.
func notThere(req *http.Request, tok Token) error {
	if req.URL.Host == "" {
		return fmt.Errorf("client: the request has no host, and grant %s no api_base_url: give the whole URL", tok.Grant)
	}
	return fmt.Errorf("client: %s://%s is not the API of grant %s (%s): the token is not sent there",
		req.URL.Scheme, req.URL.Host, tok.Grant, tok.APIBaseURL)
}

// withToken returns a copy of req that has the token.
func withToken(req *http.Request, tok Token) *http.Request {
	out := req.Clone(req.Context())
	oauthToken(tok, time.Time{}).SetAuthHeader(out)
	return out
}

// mayHave reports whether the request goes where the token may be seen.
func mayHave(req *http.Request, tok Token) bool {
	if req.URL.Scheme != "https" && !onThisMachine(req.URL) {
		return false
	}
	if tok.APIBaseURL != "" {
		u, err := url.Parse(tok.APIBaseURL)
		return err == nil && sameOrigin(u, req.URL)
	}
	first := req
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
	}
	return sameOrigin(first.URL, req.URL)
}

func sameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// port is the URL's port, or that of its scheme.
func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case strings.EqualFold(u.Scheme, "https"):
		return "443"
	default:
		return "80"
	}
}

func onThisMachine(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || (ip != nil && ip.IsLoopback())
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// discard reads what is left of a small answer, so that its connection can be used again.
func discard(resp *http.Response) {
	const most = 64 << 10
	_, _ = io.CopyN(io.Discard, resp.Body, most)
	_ = resp.Body.Close()
}
