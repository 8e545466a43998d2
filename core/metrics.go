package core

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Keys of attributes of spans and measurements. No value is made of a request: each is a name of the configuration, or
// one of a list.
const (
	vendorKey    = attribute.Key("esignd.vendor")
	clientKey    = attribute.Key("esignd.client")
	stateKey     = attribute.Key("esignd.grant.state")
	reasonKey    = attribute.Key("esignd.reason")
	eventKey     = attribute.Key("esignd.event.type")
	claimKey     = attribute.Key("esignd.claim.result")
	phaseKey     = attribute.Key("esignd.refresh.phase")
	breakerKey   = attribute.Key("esignd.breaker.state")
	grantTypeKey = attribute.Key("oauth.grant_type")
	scopeKey     = attribute.Key("esignd.failure.scope")
	outcomeKey   = attribute.Key("esignd.outcome")
	errorKey     = attribute.Key("error.type")
)

// The parts of a refresh, in their order.
const (
	phaseQueue  = "queue"  // waiting for one of the calls that a vendor may have at once
	phaseClaim  = "claim"  // writing the claim
	phasePlugin = "plugin" // in the adapter and on the way to it
	phaseVendor = "vendor" // waiting for the vendor
	phaseCommit = "commit" // writing the outcome
)

// Buckets, in seconds.
var (
	callBuckets     = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 30, 60}
	lagBuckets      = []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800}
	lifetimeBuckets = []float64{1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400}
)

// metrics are the instruments of a Manager. docs/metrics.md lists them, as they are made here.
type metrics struct {
	issued, failures, lastTries   metric.Int64Counter
	claims, lostClaims, published metric.Int64Counter

	refreshes, phases, lag metric.Float64Histogram
	remaining              *Often

	observed observed
	// handedOut has the attributes of a client's tokens, made once: every token that is handed out is measured.
	handedOut map[string][]metric.RecordOption
}

// newMetrics makes the instruments. nil is the global provider.
func newMetrics(mp metric.MeterProvider) (*metrics, error) {
	i := NewInstruments(mp, scopeName)
	x := &metrics{
		issued: i.Counter("esignd.token.issued", "{token}", "Token sets that were committed.", vendorKey, clientKey, reasonKey),
		failures: i.Counter("esignd.token.request.failures", "{request}", "Requests for a token set that brought none.",
			vendorKey, clientKey, grantTypeKey, scopeKey, outcomeKey, errorKey),
		lastTries:  i.Counter("esignd.refresh.last_tries", "{call}", "Refresh tokens of unknown fate that were presented once more, where the vendor rotates.", vendorKey, clientKey),
		claims:     i.Counter("esignd.claim.attempts", "{claim}", "Claims that were tried, by what came of it.", vendorKey, clientKey, claimKey),
		lostClaims: i.Counter("esignd.claim.lost", "{claim}", "Claims that were settled because their owner is gone.", vendorKey, clientKey),
		published:  i.Counter("esignd.event.published", "{event}", "Events that were published.", vendorKey, eventKey),
		refreshes:  i.Histogram("esignd.refresh.duration", "Duration of refreshes, from the first who wants one to the commit.", callBuckets, vendorKey, errorKey),
		phases:     i.Histogram("esignd.refresh.phase.duration", "Duration of the parts of refreshes.", callBuckets, vendorKey, phaseKey),
		lag:        i.Histogram("esignd.timer.lag", "Time from when a timer was due to the look at its grant.", lagBuckets, vendorKey),
		remaining:  NewOften(i.Histogram("esignd.token.remaining", "Time to live of tokens when they are handed out.", lifetimeBuckets, vendorKey, clientKey)),
		handedOut:  map[string][]metric.RecordOption{},
	}
	x.observed.make(i)
	return x, i.Err()
}

// addClient prepares what is measured often.
func (x *metrics) addClient(cl *Client) {
	x.handedOut[cl.Name] = []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(of(cl)...))}
}

func of(cl *Client) []attribute.KeyValue {
	return []attribute.KeyValue{vendorKey.String(cl.Vendor), clientKey.String(cl.Name)}
}

// gave measures a token that is handed out.
func (x *metrics) gave(ctx context.Context, t *Token) {
	x.remaining.Record(ctx, t.ExpiresIn.Seconds(), x.handedOut[t.Client]...)
}

// gotToken counts a token set that was committed, whose event was owed with it.
func (x *metrics) gotToken(ctx context.Context, g *grant, reason string) {
	x.issued.Add(ctx, 1, metric.WithAttributes(vendorKey.String(g.Vendor), clientKey.String(g.Client), reasonKey.String(reason)))
}

// committed counts what a commit wrote into g.
func (x *metrics) committed(ctx context.Context, g *grant, r result) {
	if r.failure != nil || len(g.Debts) == 0 {
		return
	}
	if last := g.Debts[len(g.Debts)-1]; last.Type == TokenIssued && last.Generation == g.Generation {
		x.gotToken(ctx, g, last.Reason)
	}
}

// failed counts a request for a token set that brought none.
func (x *metrics) failed(ctx context.Context, cl *Client, grantType GrantType, v *VendorError) {
	x.failures.Add(ctx, 1, metric.WithAttributes(append(of(cl),
		grantTypeKey.String(string(grantType)),
		scopeKey.String(ruleFor(v).scope.String()),
		outcomeKey.String(v.Outcome.String()),
		errorKey.String(v.Code))...))
}

// claimed counts a claim by what came of it.
func (x *metrics) claimed(ctx context.Context, cl *Client, err error) {
	switch {
	case err == nil:
		x.claim(ctx, cl, "won")
	case errors.Is(err, ErrConflict):
		x.claim(ctx, cl, "contended")
	default:
		x.claim(ctx, cl, "unwritten")
	}
}

// awaited counts, once for each refresh, that another's claim was in its way.
func (x *metrics) awaited(ctx context.Context, t *target) {
	if !t.awaited {
		t.awaited = true
		x.claim(ctx, t.client, "awaited")
	}
}

func (x *metrics) claim(ctx context.Context, cl *Client, came string) {
	x.claims.Add(ctx, 1, metric.WithAttributes(append(of(cl), claimKey.String(came))...))
}

// lost counts a claim whose owner is gone.
func (x *metrics) lost(ctx context.Context, g *grant) {
	x.lostClaims.Add(ctx, 1, metric.WithAttributes(vendorKey.String(g.Vendor), clientKey.String(g.Client)))
}

// told counts an event that was published.
func (x *metrics) told(ctx context.Context, e Event) {
	x.published.Add(ctx, 1, metric.WithAttributes(vendorKey.String(e.Vendor), eventKey.String(string(e.Type))))
}

// phase measures a part of a refresh, which began at a time and ends now.
func (x *metrics) phase(ctx context.Context, cl *Client, name string, began time.Time) {
	x.part(ctx, cl, name, time.Since(began))
}

func (x *metrics) part(ctx context.Context, cl *Client, name string, d time.Duration) {
	x.phases.Record(ctx, d.Seconds(), metric.WithAttributes(vendorKey.String(cl.Vendor), phaseKey.String(name)))
}

// called measures a call, which took so long in all.
func (x *metrics) called(ctx context.Context, cl *Client, took time.Duration, waited *VendorTime) {
	atVendor := min(waited.Total(), took)
	x.part(ctx, cl, phasePlugin, took-atVendor)
	if atVendor > 0 {
		x.part(ctx, cl, phaseVendor, atVendor)
	}
}

// landed measures a refresh that is over.
func (x *metrics) landed(ctx context.Context, cl *Client, began time.Time, err error) {
	attrs := []attribute.KeyValue{vendorKey.String(cl.Vendor)}
	if err != nil {
		attrs = append(attrs, errorKey.String(errorType(err)))
	}
	x.refreshes.Record(ctx, time.Since(began).Seconds(), metric.WithAttributes(attrs...))
}

// lagged measures how late a timer is worked that was due d ago.
func (x *metrics) lagged(ctx context.Context, vendor string, d time.Duration) {
	x.lag.Record(ctx, max(0, d).Seconds(), metric.WithAttributes(vendorKey.String(vendor)))
}

// errorType is the value of error.type for an error: a code, never a text.
func errorType(err error) string {
	var v *VendorError
	var e *Error
	switch {
	case errors.As(err, &e):
		return string(e.Code)
	case errors.As(err, &v):
		return v.Code
	}
	return string(ServerError)
}
