package oauth

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/esignd/esignd/core"
)

// defaultTimeout bounds a call whose context does not end sooner.
const defaultTimeout = 10 * time.Second

// Config is what a Client is made of. Its zero value is right for production.
type Config struct {
	// Timeout bounds a whole call, the reading of the answer included. 0: ten seconds.
	Timeout time.Duration
	// TracerProvider and MeterProvider get what is told of a call. nil: the global ones.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
	// Dial replaces the dialer, and with it the refusal of addresses that are not public. It is for tests that let
	// a server of their own stand for a vendor's host. nil: the guarded dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// TLS is for an adapter whose vendor is known to speak 1.3, which says so by MinVersion, and for tests. Nothing older than
	// 1.2 is spoken, whatever it says. nil: TLS 1.2 or later and the system's roots.
	TLS *tls.Config
}

// Client calls vendors. It keeps no connection and needs no closing; its methods may be called concurrently.
type Client struct {
	timeout   time.Duration
	transport http.RoundTripper
}

// NewClient returns a Client. It does no I/O.
func NewClient(cfg Config) *Client {
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	return &Client{timeout: cfg.Timeout, transport: newTransport(cfg)}
}

// Response is the vendor's token set, with the further members that [Endpoint.Extra] named.
type Response struct {
	core.TokenResponse
	// Extra has the members that were there and were strings.
	Extra map[string]string
}

// Token asks e's token endpoint for what r asks for. An error is a [*core.VendorError].
func (c *Client) Token(ctx context.Context, e Endpoint, r core.TokenRequest) (Response, error) {
	a, err := c.TokenAnswer(ctx, e, r)
	if err != nil {
		return Response{}, err
	}
	return a.Token(e, "")
}

// TokenAnswer is [Client.Token] for an adapter that looks at the vendor's own error code before it takes the answer for
// what it is. Its error is as that of [Client.API].
func (c *Client) TokenAnswer(ctx context.Context, e Endpoint, r core.TokenRequest) (APIAnswer, error) {
	if len(e.GrantTypes) > 0 && !slices.Contains(e.GrantTypes, r.GrantType) {
		return APIAnswer{}, &core.VendorError{
			Outcome: core.NotSent,
			Code:    core.CodeUnsupportedGrantType,
			Detail:  "the vendor has no such grant type",
		}
	}
	target := e.TokenURL
	if r.GrantType == core.RefreshToken && e.RefreshURL != "" {
		target = e.RefreshURL
	}
	return c.complete(ctx, call{method: http.MethodPost, url: target, body: e.Body, auth: e.Auth, client: r.Client, params: e.tokenParams(r)})
}

// Within bounds by the client's timeout a call of an adapter that may take several requests, each of which is bounded
// by it alone.
func (c *Client) Within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.timeout)
}

// Revoke ends a token at e's revocation endpoint. A token that the vendor calls dead already is success. An error is
// a [*core.VendorError].
func (c *Client) Revoke(ctx context.Context, e Endpoint, r core.RevocationRequest) error {
	params := []param{{"token", r.Token.Reveal()}}
	if r.TokenTypeHint != "" && !slices.Contains(e.Omit, "token_type_hint") {
		params = append(params, param{"token_type_hint", r.TokenTypeHint})
	}
	ctx, cancel := c.Within(ctx)
	defer cancel()
	a, err := c.send(ctx, call{method: http.MethodPost, url: e.RevocationURL, auth: e.RevocationAuth, client: r.Client, params: params})
	if err != nil {
		return err
	}
	if a.ok() || a.refused() && slices.Contains(e.DeadTokenCodes, a.vendorCode()) {
		return nil
	}
	return a.failure()
}

// call is one request to a vendor.
type call struct {
	method string
	url    string
	body   Encoding
	params []param // of a POST
	auth   ClientAuth
	client core.Credentials
	// bearer, or username and password, are sent with AuthNone.
	bearer, username, password core.Secret
}

// complete sends call within the timeout, once. An answer that was not read to its end is an error.
func (c *Client) complete(ctx context.Context, call call) (APIAnswer, error) {
	ctx, cancel := c.Within(ctx)
	defer cancel()
	a, err := c.send(ctx, call)
	if err != nil {
		return APIAnswer{}, err
	}
	if a.incomplete != "" {
		return APIAnswer{}, a.failure()
	}
	return APIAnswer{answer: a}, nil
}

// send sends c once and reads the answer, whatever its status. An error is a [*core.VendorError].
func (c *Client) send(ctx context.Context, call call) (answer, error) {
	u, err := VendorURL(withoutQuery(call.url))
	if err != nil {
		return answer{}, HostRefused("esignd does not call this URL: " + err.Error())
	}
	req, err := call.request(ctx)
	if err != nil {
		return answer{}, &core.VendorError{Outcome: core.NotSent, Code: core.CodeInternal, Detail: "the request could not be built"}
	}
	// A RoundTripper and not an http.Client: a Client follows redirects, and its errors tell the URL.
	began := time.Now()
	defer func() { core.AddVendorTime(ctx, time.Since(began)) }()
	res, err := c.transport.RoundTrip(req)
	if err != nil {
		return answer{}, sendFailure(err, u.Host)
	}
	return readAnswer(res, u.Host), nil
}

func (c call) request(ctx context.Context) (*http.Request, error) {
	var body []byte
	var contentType string
	if c.method == http.MethodPost {
		var err error
		if body, contentType, err = encode(c.body, withClient(c.params, c.auth, c.client)); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, c.method, c.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	// Without GetBody net/http has no second copy of the body to send.
	req.GetBody = nil
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("Accept", "application/json")
	// Asking for no encoding keeps the limit on the answer's size a limit on what is read into memory.
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", "esignd")
	c.authorize(req)
	return req, nil
}
