package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/trace"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// What the daemon speaks of. Where one of these is given to a Client, its Tenant is not read: the Client's counts.
type (
	// Selector names a grant: by its id, or by client and account.
	Selector = core.Selector
	// Token is a live access token. Its AccessToken prints as "[redacted]"; Reveal returns it.
	Token = core.Token
	// Grant is what may be told of a grant. LastEvent and LastEventAt stay empty here.
	Grant = core.GrantInfo
	// GrantFilter selects grants for a list.
	GrantFilter = core.GrantFilter
	// AuthorizeRequest starts an authorization.
	AuthorizeRequest = core.AuthorizeRequest
	// Authorization is an authorization in progress.
	Authorization = core.Authorization
	// ImportRequest brings a grant that was consented to elsewhere.
	ImportRequest = core.ImportRequest
	// Secret is a token or code; NewSecret makes one.
	Secret = core.Secret
	// Error is what the daemon answered instead. errors.Is matches it by code.
	Error = core.Error
)

// NewSecret returns s as a Secret.
func NewSecret(s string) Secret { return core.NewSecret(s) }

// The codes of an Error, each of which errors.Is matches.
const (
	InvalidRequest          = core.InvalidRequest
	NotFound                = core.NotFound
	AccessDenied            = core.AccessDenied
	ReauthorizationRequired = core.ReauthorizationRequired
	TemporarilyUnavailable  = core.TemporarilyUnavailable
	InvalidClient           = core.InvalidClient
	Unsupported             = core.Unsupported
	ServerError             = core.ServerError
)

// Why there is no token for now, where the code alone does not tell. errors.Is matches each; the Error has RetryAfter.
const (
	// ErrRateLimited is a TemporarilyUnavailable: the vendor, or esignd's quota, takes no more requests until RetryAfter.
	ErrRateLimited = core.ErrRateLimited
	// ErrVendorUnavailable is a TemporarilyUnavailable: the vendor, or the way to it, fails. esignd goes on trying.
	ErrVendorUnavailable = core.ErrVendorUnavailable
	// ErrClientSuspended is an InvalidClient: the vendor refuses the client's credentials until the operator mends them.
	ErrClientSuspended = core.ErrClientSuspended
)

// ReasonNoResponders is the Reason of an Error with TemporarilyUnavailable where no daemon listens.
const ReasonNoResponders = "no_responders"

// DefaultTimeout is how long an answer is waited for. It is longer than the daemon takes for any.
const DefaultTimeout = 35 * time.Second

// Config is what a Client is made of. Conn and Tenant are required.
type Config struct {
	// Conn stays the caller's, who closes it.
	Conn *nats.Conn
	// Tenant is whose grants the service uses.
	Tenant string
	// Service is the service's name where the daemon's nats.auth lists it. Dial finds it in the credentials. It says how
	// Watch hears events.
	Service string
	// Prefix is the first part of every subject. Empty: esign.
	Prefix string
	// Timeout is how long an answer is waited for where the context has no deadline. 0: DefaultTimeout.
	Timeout time.Duration
	// Sealed has every answer sealed to a key that this Client makes for the request, so that who reads along on NATS
	// learns no token. An answer that is not sealed, from an esignd that does not know how, is not used.
	Sealed bool
	// Logger gets what a Watch skips or tries again. nil: slog.Default.
	Logger *slog.Logger
	// TracerProvider makes a span of each request, and of each event that Watch hands on. nil: the global one.
	TracerProvider trace.TracerProvider
}

// Client asks esignd. Its methods may be called concurrently.
type Client struct {
	conn    *nats.Conn
	tenant  string
	service string
	prefix  string
	timeout time.Duration
	sealed  bool
	log     *slog.Logger
	tracer  trace.Tracer
	cache   *cache // of a Cached one, else nil
}

// New checks cfg and returns a Client. It does no I/O.
func New(cfg Config) (*Client, error) {
	if cfg.Prefix == "" {
		cfg.Prefix = wire.DefaultPrefix
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	switch {
	case cfg.Conn == nil:
		return nil, errors.New("client: Config.Conn is missing")
	case !wire.ValidToken(cfg.Tenant):
		return nil, fmt.Errorf("client: tenant %q: letters, digits, - and _ are wanted", cfg.Tenant)
	case cfg.Service != "" && !wire.ValidToken(cfg.Service):
		return nil, fmt.Errorf("client: service %q: letters, digits, - and _ are wanted", cfg.Service)
	case !wire.ValidPrefix(cfg.Prefix):
		return nil, fmt.Errorf("client: prefix %q: letters, digits, - and _ are wanted, parted by dots", cfg.Prefix)
	}
	return &Client{
		conn: cfg.Conn, tenant: cfg.Tenant, service: cfg.Service, prefix: cfg.Prefix, timeout: cfg.Timeout, sealed: cfg.Sealed, log: cfg.Logger,
		tracer: tracer(cfg.TracerProvider),
	}, nil
}

// Tenant returns whose grants the Client uses.
func (c *Client) Tenant() string { return c.tenant }

// TokenOption changes what Token asks for. MinTTL makes one.
type TokenOption struct{ tokenOptions }

// tokenOptions are what Token was asked.
type tokenOptions struct {
	minTTL int64 // seconds
	given  bool
}

// MinTTL asks for a token that lives at least for d, cut to whole seconds. Without it that is the smaller of 60 seconds
// and a sixth of the token's lifetime. A token that no refresh makes live so long comes with the warning min_ttl_unmet.
func MinTTL(d time.Duration) TokenOption {
	return TokenOption{tokenOptions{minTTL: int64(d / time.Second), given: true}}
}

// optionsOf returns what opts ask for; the last one counts.
func optionsOf(opts []TokenOption) (o tokenOptions) {
	for i := range opts {
		if opts[i].given {
			o = opts[i].tokenOptions
		}
	}
	return o
}

func (o tokenOptions) request(sel Selector) wire.TokenGetRequest {
	r := wire.TokenGetRequest{Selector: wire.SelectorOf(sel)}
	if o.given {
		r.MinTTL = &o.minTTL
	}
	return r
}

// least is how long a token that is kept must live to be handed out.
func (o tokenOptions) least() time.Duration {
	if !o.given {
		return defaultMinTTL
	}
	return max(time.Duration(o.minTTL), 1) * time.Second
}

// Token returns a live access token.
func (c *Client) Token(ctx context.Context, sel Selector, opts ...TokenOption) (t Token, err error) {
	o := optionsOf(opts)
	if c.cache == nil {
		return c.token(ctx, wire.TokenGet, o.request(sel))
	}
	kept, left, grant := c.cache.take(sel, o.least())
	if kept == nil {
		return c.cache.ask(ctx, c, sel, o, grant)
	}
	t = kept.token // the only copy of it, which is much of what all this costs
	t.ExpiresIn = left.Truncate(time.Second)
	return t, nil
}

// Refresh returns a token that was refreshed now, or, where another has asked for the same within a second, the token
// that came of that, with the warning refreshed_recently.
func (c *Client) Refresh(ctx context.Context, sel Selector) (Token, error) {
	ask := func() (Token, error) { return c.token(ctx, wire.TokenRefresh, wire.SelectorOf(sel)) }
	if c.cache != nil {
		return c.cache.force(ctx, sel, 0, ask)
	}
	return ask()
}

// Report says that the vendor refused the access token of a generation, and returns a token of a later one. However
// many report, the daemon refreshes once.
func (c *Client) Report(ctx context.Context, sel Selector, generation uint64) (Token, error) {
	ask := func() (Token, error) {
		return c.token(ctx, wire.TokenReport, wire.TokenReportRequest{Selector: wire.SelectorOf(sel), Generation: generation})
	}
	if c.cache != nil {
		return c.cache.force(ctx, sel, generation+1, ask)
	}
	return ask()
}

// Revoke ends the grant's tokens, at the vendor too where it can be told. reason is the caller's own, for the event;
// it may be empty.
func (c *Client) Revoke(ctx context.Context, sel Selector, reason string) (Grant, error) {
	return c.end(ctx, sel, wire.TokenRevoke, wire.TokenRevokeRequest{Selector: wire.SelectorOf(sel), Reason: reason})
}

// Authorize starts an authorization. The caller sends the resource owner to ConnectURL or, where the request has a
// RedirectURI of its own, to AuthorizationURL.
func (c *Client) Authorize(ctx context.Context, r AuthorizeRequest) (Authorization, error) {
	a, err := ask[wire.Authorization](ctx, c, wire.GrantAuthorize, wire.AuthorizeRequestOf(r))
	return a.Core(), err
}

// Exchange brings every query parameter of the redirect that came to the service's own callback.
func (c *Client) Exchange(ctx context.Context, params url.Values) (Grant, error) {
	return c.ExchangeAt(ctx, "", params)
}

// ExchangeAt is Exchange for a service that has a callback for each client: it also brings the address at which the redirect
// arrived, and is InvalidRequest where the authorization was begun with another one. So the answer of one vendor is
// never given to another (RFC 9700 §4.4).
func (c *Client) ExchangeAt(ctx context.Context, redirectURI string, params url.Values) (Grant, error) {
	return c.grant(ctx, wire.GrantExchange, wire.ExchangeRequest{Params: wire.NewParams(params), RedirectURI: redirectURI})
}

// Import brings a grant that was consented to elsewhere.
func (c *Client) Import(ctx context.Context, r ImportRequest) (Grant, error) {
	return c.grant(ctx, wire.GrantImport, wire.ImportRequestOf(r))
}

// VerifyAccount says whether the vendor of a client has an account with that e-mail address. Unsupported where the vendor
// does not tell.
func (c *Client) VerifyAccount(ctx context.Context, client, emailAddress string) (core.AccountLookup, error) {
	r, err := ask[wire.Account](ctx, c, wire.AccountVerify, wire.AccountRequest{Client: client, EmailAddress: emailAddress})
	return core.AccountLookup(r), err
}

// CreateAccount makes an account at the vendor, with a grant that awaits its owner's confirmation. The grant's account is
// the e-mail address; token.issued with the reason confirmed tells when it can be used.
func (c *Client) CreateAccount(ctx context.Context, client, emailAddress string) (Grant, error) {
	r, err := ask[wire.CreatedAccount](ctx, c, wire.AccountCreate, wire.AccountRequest{Client: client, EmailAddress: emailAddress})
	return r.Core(), err
}

// Grant returns what may be told of a grant.
func (c *Client) Grant(ctx context.Context, sel Selector) (Grant, error) {
	return c.grant(ctx, wire.GrantGet, wire.SelectorOf(sel))
}

// Forget revokes a grant and drops what is known of it.
func (c *Client) Forget(ctx context.Context, sel Selector) (Grant, error) {
	return c.end(ctx, sel, wire.GrantForget, wire.SelectorOf(sel))
}

// Grants returns a page of grants and the cursor of the next page, empty on the last. A page may hold fewer than the
// limit although more follow.
func (c *Client) Grants(ctx context.Context, f GrantFilter) ([]Grant, string, error) {
	page, err := ask[wire.GrantPage](ctx, c, wire.GrantList, wire.ListRequestOf(f))
	if err != nil {
		return nil, "", err
	}
	grants := make([]Grant, len(page.Grants))
	for i, g := range page.Grants {
		grants[i] = g.Core()
	}
	return grants, page.Cursor, nil
}

func (c *Client) token(ctx context.Context, e wire.Endpoint, req any) (Token, error) {
	t, err := ask[wire.Token](ctx, c, e, req)
	return t.Core(), err
}

func (c *Client) grant(ctx context.Context, e wire.Endpoint, req any) (Grant, error) {
	g, err := ask[wire.Grant](ctx, c, e, req)
	return g.Core(), err
}

// end is grant for what ends the grant's tokens.
func (c *Client) end(ctx context.Context, sel Selector, e wire.Endpoint, req any) (Grant, error) {
	do := func() (Grant, error) { return c.grant(ctx, e, req) }
	if c.cache != nil {
		return c.cache.end(sel, do)
	}
	return do()
}

// ask sends a request and reads its reply.
func ask[Reply any](ctx context.Context, c *Client, e wire.Endpoint, req any) (Reply, error) {
	var reply, none Reply
	body, err := json.Marshal(req)
	if err != nil {
		return none, fmt.Errorf("ask esignd for %s: %w", e, err)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	m := &nats.Msg{Subject: wire.APISubject(c.prefix, c.tenant, e), Data: body, Header: nats.Header{}}
	ctx, done := c.traceRequest(ctx, m, e)
	answer, err := c.request(ctx, m, repeatable(e))
	done(answer, err)
	if errors.Is(err, nats.ErrNoResponders) {
		out := core.Errorf(TemporarilyUnavailable, "ask esignd for %s: no daemon listens on %s: %w", e, m.Subject, err)
		out.Reason, out.RetryAfter = ReasonNoResponders, time.Second
		return none, out
	}
	if err != nil {
		return none, fmt.Errorf("ask esignd for %s: %w", e, err)
	}
	if answered := wire.DecodeError(answer.Header, answer.Data); answered != nil {
		return none, answered
	}
	if err := json.Unmarshal(answer.Data, &reply); err != nil {
		// The text of the error could hold a piece of the reply.
		return none, fmt.Errorf("ask esignd for %s: the answer is not what this endpoint answers", e)
	}
	return reply, nil
}
