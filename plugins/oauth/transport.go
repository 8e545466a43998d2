package oauth

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/esignd/esignd/core"
)

// dialTimeout bounds the making of a connection, and apart from it the TLS handshake.
const dialTimeout = 5 * time.Second

// newTransport returns what every request goes through: instrumentation outside, then quiet, then net/http. In that
// order the instrumentation sees only errors that quiet has stripped of the vendor's words.
func newTransport(cfg Config) http.RoundTripper {
	opts := []otelhttp.Option{
		// No propagator: trace context and baggage are none of the vendor's business.
		otelhttp.WithPropagators(propagation.NewCompositeTextMapPropagator()),
		// The conventions name a client's span by the method alone.
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Method }),
	}
	if cfg.TracerProvider != nil {
		opts = append(opts, otelhttp.WithTracerProvider(cfg.TracerProvider))
	}
	if cfg.MeterProvider != nil {
		opts = append(opts, otelhttp.WithMeterProvider(cfg.MeterProvider))
	}
	return otelhttp.NewTransport(&quiet{base: baseTransport(cfg)}, opts...)
}

func baseTransport(cfg Config) *http.Transport {
	dial := cfg.Dial
	if dial == nil {
		dial = guardedDialer{}.dial
	}
	tlsConfig := &tls.Config{}
	if cfg.TLS != nil {
		tlsConfig = cfg.TLS.Clone()
	}
	// Not 1.3 for all: eSignGlobal speaks 1.2 only.
	tlsConfig.MinVersion = max(tlsConfig.MinVersion, tls.VersionTLS12)
	// HTTP/1.1 alone: HTTP/2 shares connections and repeats a request that the server says it did not process.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:           http.ProxyFromEnvironment,
		DialContext:     dial,
		TLSClientConfig: tlsConfig,
		Protocols:       protocols,
		// On a reused connection net/http repeats some requests by itself, and a request that meets the server's
		// idle close has an unknown outcome, which a vendor that rotates makes expensive. A handshake is cheap at
		// the rate at which tokens are refreshed.
		DisableKeepAlives:      true,
		DisableCompression:     true,
		TLSHandshakeTimeout:    dialTimeout,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// quiet turns every error into a sendError and keeps the query out of the span that is around it.
type quiet struct{ base http.RoundTripper }

func (q *quiet) RoundTrip(r *http.Request) (*http.Response, error) {
	bare := *r.URL
	bare.User, bare.RawQuery, bare.Fragment = nil, "", ""
	trace.SpanFromContext(r.Context()).SetAttributes(attribute.String("url.full", bare.String()))

	var sent atomic.Bool
	ctx := httptrace.WithClientTrace(withDialPolicy(r), &httptrace.ClientTrace{
		// A connection is handed over after its TLS handshake, and nothing of the request is written before.
		GotConn: func(httptrace.GotConnInfo) { sent.Store(true) },
	})
	res, err := q.base.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return nil, &sendError{sent: sent.Load(), code: networkCode(ctx, err)}
	}
	res.Body = &quietBody{ReadCloser: res.Body, ctx: ctx}
	return res, nil
}

// quietBody is a response body whose read errors are sendErrors.
type quietBody struct {
	io.ReadCloser
	ctx context.Context // the request's, which also bounds the reading of its answer
}

func (b *quietBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &sendError{sent: true, code: networkCode(b.ctx, err)}
	}
	return n, err
}

// sendError is a failure of the network. It does not wrap the error it stands for: net/http quotes the server's bytes
// in some of them.
type sendError struct {
	sent bool
	code string
}

func (e *sendError) Error() string { return e.code }

// ErrorType is the value of the span attribute error.type.
func (e *sendError) ErrorType() string { return e.code }

func networkCode(ctx context.Context, err error) string {
	var netErr net.Error
	switch {
	case errors.Is(err, errNotPublic):
		return core.CodeHostRefused
	case ctx.Err() != nil, errors.As(err, &netErr) && netErr.Timeout():
		return core.CodeTimeout
	default:
		return core.CodeNetwork
	}
}

// sendFailure says what is known of a request that got no answer from host.
func sendFailure(err error, host string) *core.VendorError {
	e := &core.VendorError{Outcome: core.Unknown, Code: core.CodeNetwork, Detail: host + " gave no answer"}
	var send *sendError
	if !errors.As(err, &send) {
		return e
	}
	e.Code = send.code
	if !send.sent {
		e.Outcome = core.NotSent
		e.Detail = "no connection to " + host
	}
	if e.Code == core.CodeHostRefused {
		e.Detail = host + " resolves to an address that is not public"
	}
	return e
}
