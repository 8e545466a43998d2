package web

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// The content policies. Pages load nothing but their own style sheet and script (the icon is empty); the
// console's script also asks its own origin for news.
const (
	publicPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	adminPolicy  = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

// A year, without the names below the host's, which are not esignd's to speak for.
const transportSecurity = "max-age=31536000"

// guard sets the headers that every answer carries, and turns a panic into an answer. Pages are below base.
func (s *Server) guard(policy, base string, secure func(*http.Request) bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("X-Robots-Tag", "noindex, nofollow")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if secure(r) {
			h.Set("Strict-Transport-Security", transportSecurity)
		}
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler { //nolint:errorlint // a panic value, compared as net/http does
				panic(p)
			}
			// The value may be made of the request, so only its place is logged.
			s.cfg.Logger.ErrorContext(r.Context(), "a page panicked; the browser is told that it is our fault, and others are served", "route", route(r), "stack", string(debug.Stack()))
			s.message(w, http.StatusInternalServerError, pageOurFault, base)
		}()
		next.ServeHTTP(w, r)
	})
}

// observe makes a span, a duration and a debug record of a request. They name its route; its URL, which holds codes and
// tickets, is in none of them. Trace context of the request is not taken over: on the public listener anybody sets it.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isProbe(r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		began := time.Now()
		method := knownMethod(r.Method)
		ctx, span := s.tracer.Start(r.Context(), method,
			trace.WithSpanKind(trace.SpanKindServer), trace.WithNewRoot(),
			trace.WithAttributes(semconv.HTTPRequestMethodKey.String(method)))
		defer span.End()
		r = r.WithContext(ctx)
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(rec, r)

		took := time.Since(began)
		span.SetName(method + " " + route(r))
		attrs := []attribute.KeyValue{semconv.HTTPRoute(route(r)), semconv.HTTPResponseStatusCode(rec.status)}
		span.SetAttributes(attrs...)
		if rec.status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		s.duration.Record(context.WithoutCancel(ctx), took.Seconds(),
			metric.WithAttributes(append(attrs, semconv.HTTPRequestMethodKey.String(method))...))
		s.cfg.Logger.DebugContext(ctx, "request answered",
			"method", method, "route", route(r), "status", rec.status, "took", took)
	})
}

func isProbe(path string) bool { return path == "/healthz" || path == "/readyz" || path == "/metrics" }

func knownMethod(method string) string {
	if slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, method) {
		return method
	}
	return "_OTHER"
}

// route is the path pattern that a request was answered by.
func route(r *http.Request) string {
	if _, pattern, ok := strings.Cut(r.Pattern, " "); ok {
		return pattern
	}
	return "/"
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
	wrote  bool
}

func (r *recorder) WriteHeader(status int) {
	if !r.wrote {
		r.status, r.wrote = status, true
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	r.wrote = true
	return r.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// limited answers 429 where an address asks too often.
func (s *Server) limited(next http.HandlerFunc) http.Handler {
	return s.limitedBy(s.limits, s.prefix, next)
}

func (s *Server) limitedBy(limits *limiter, base string, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if wait := limits.take(s.proxies.peer(r)); wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
			s.message(w, http.StatusTooManyRequests, pageTooMany, base)
			return
		}
		next(w, r)
	})
}

// sameHost refuses a Host that is a foreign name. A page of that name could have had its address changed to ours, and
// the browser would let it read the answer; a bare IP address cannot be changed so.
func (s *Server) sameHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.isOwnHost(r.Host) {
			writeText(w, http.StatusMisdirectedRequest,
				"This listener answers under an IP address, localhost, or the name in http.admin_url.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) isOwnHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || host != "" && host == s.adminHost
}
