package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/esignd/esignd/bus/tlsfiles"
	"github.com/esignd/esignd/core"
)

// Manager is what the pages need of a [core.Manager]. Methods may be called concurrently, and return a *core.Error.
type Manager interface {
	Visit(ctx context.Context, ticket string) (core.Visit, error)
	Callback(ctx context.Context, a core.CallbackAnswer) (core.CallbackReply, error)
	Grants(ctx context.Context, f core.GrantFilter) ([]core.GrantInfo, string, error)
	VendorEvent(ctx context.Context, client string, r core.EventRequest) (reply string, err error)
}

// Config is what a Server is made of. Manager is required.
type Config struct {
	Manager Manager
	// PublicURL is where browsers reach the public listener. With https, cookies are Secure. It may have a path.
	PublicURL string
	// Listen and Admin are the addresses to listen on, host:port. Empty: Start does not listen there.
	Listen string
	Admin  string
	// TLS is what both listeners show, where it has a certificate; with authorities the admin listener asks for one of theirs.
	// The files are read again when they change.
	TLS tlsfiles.Files
	// AdminURL is where operators reach the admin listener; its host is a name under which that may be asked, besides
	// localhost and IP addresses. Empty: http at the address it listens on. Where Admin or AdminURL is not of this
	// machine alone, the console wants a session, which ConsoleLink begins.
	AdminURL string
	// MetricsToken is what who asks for the metrics sends, as a bearer token (RFC 6750). Zero: the metrics are for who
	// may see the console.
	MetricsToken core.Secret
	// TrustedProxies are whose X-Forwarded-For says for whom a request counts. None: it counts for who sends it.
	TrustedProxies []netip.Prefix
	// Ready says why the daemon cannot answer. nil: it always can.
	Ready func() error
	// Metrics answers /metrics. nil: 404.
	Metrics http.Handler
	// Vendors is asked for each page of the console; it answers at once. nil: the console has no such part.
	Vendors func() []VendorStatus
	// Shown is told of each opening of the console, with the filter. nil: nobody is.
	Shown func(context.Context, core.GrantFilter)
	// Version is shown in the console.
	Version string
	// RequestsPerMinute bounds the public requests of one address; events of vendors, which come from few addresses,
	// may be ten times as many. Zero: 300.
	RequestsPerMinute int
	// Logger gets what an operator should know. nil: slog.Default.
	Logger *slog.Logger
	// TracerProvider and MeterProvider make spans and metrics. nil: the global ones.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
}

// VendorStatus is what the console shows of a vendor and the plugin that serves it.
type VendorStatus struct {
	Name     string // as in the configuration
	Title    string // as people write it
	Version  string // the adapter's
	Healthy  bool
	State    string    // the plugin's state in a word, such as "ready" or "backoff"
	Detail   string    // why, in a sentence; may be empty
	Since    time.Time // of the state; zero: unknown
	Restarts int
}

// scopeName is the instrumentation scope of this package.
const scopeName = "github.com/esignd/esignd/web"

// callbackTimeout bounds the end of a connect flow, in which a vendor is called.
const callbackTimeout = 25 * time.Second

// Server answers browsers. It is made by New, and listens from Start to Close; its handlers work without.
type Server struct {
	cfg      Config
	prefix   string // path of PublicURL, without a slash at its end
	secure   bool   // PublicURL is https
	tracer   trace.Tracer
	duration metric.Float64Histogram
	proxies  proxies
	limits   *limiter
	// eventLimits bounds the events of vendors, adminLimits who asks for the console from elsewhere.
	eventLimits, adminLimits *limiter
	sessions                 *sessions
	login                    bool   // the console wants a session
	adminHost                string // of AdminURL
	public                   http.Handler
	admin                    http.Handler
	adminBound               atomic.Pointer[string] // the address, while the admin listener listens

	// Start sets these, before any other goroutine can ask for them.
	files          *tlsfiles.Source // nil without TLS
	publicListener *listener
	adminListener  *listener
}

// New checks cfg and returns a Server. It does no I/O.
func New(cfg Config) (*Server, error) {
	if cfg.Manager == nil {
		return nil, errors.New("web: Manager is nil")
	}
	public, err := url.Parse(cfg.PublicURL)
	if err != nil || cfg.PublicURL != "" && (public.Host == "" || public.Scheme != "http" && public.Scheme != "https") {
		return nil, fmt.Errorf("http.public_url: %q is not an http or https URL", cfg.PublicURL)
	}
	if public.User != nil || public.RawQuery != "" || public.Fragment != "" {
		return nil, errors.New("http.public_url: a user, a query or a fragment has no place in it")
	}
	admin, err := url.Parse(cfg.AdminURL)
	if err != nil || cfg.AdminURL != "" && (admin.Host == "" || strings.Trim(admin.Path, "/") != "" || admin.Scheme != "http" && admin.Scheme != "https") {
		return nil, fmt.Errorf("http.admin_url: %q is not an http or https URL without a path", cfg.AdminURL)
	}
	fillDefaults(&cfg)
	instruments := core.NewInstruments(cfg.MeterProvider, scopeName)
	duration := instruments.Histogram("http.server.request.duration", "Duration of HTTP server requests.",
		[]float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}, semconv.HTTPRequestMethodKey, semconv.HTTPRouteKey, semconv.HTTPResponseStatusCodeKey)
	if err := instruments.Err(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg:      cfg,
		prefix:   strings.TrimRight(public.EscapedPath(), "/"),
		secure:   public.Scheme == "https",
		tracer:   cfg.TracerProvider.Tracer(scopeName),
		duration: duration,
		proxies:  cfg.TrustedProxies,
		limits:   newLimiter(cfg.RequestsPerMinute, time.Now),

		eventLimits: newLimiter(10*cfg.RequestsPerMinute, time.Now),
		adminLimits: newLimiter(cfg.RequestsPerMinute, time.Now),
		sessions:    newSessions(time.Now),
		login:       cfg.wantsLogin(),
		adminHost:   strings.ToLower(admin.Hostname()),
	}
	publicSecure := func(*http.Request) bool { return s.secure }
	s.public = s.stripPrefix(s.observe(s.guard(publicPolicy, s.prefix, publicSecure, s.publicRoutes())))
	s.admin = s.observe(s.guard(adminPolicy, "", s.adminSecure, s.adminRoutes()))
	return s, nil
}

func fillDefaults(cfg *Config) {
	if cfg.Ready == nil {
		cfg.Ready = func() error { return nil }
	}
	if cfg.Metrics == nil {
		cfg.Metrics = http.NotFoundHandler()
	}
	if cfg.RequestsPerMinute == 0 {
		cfg.RequestsPerMinute = 300
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.TracerProvider == nil {
		cfg.TracerProvider = otel.GetTracerProvider()
	}
	if cfg.MeterProvider == nil {
		cfg.MeterProvider = otel.GetMeterProvider()
	}
}

// PublicHandler returns what the public listener serves.
func (s *Server) PublicHandler() http.Handler { return s.public }

// AdminHandler returns what the admin listener serves: the console and the metrics, of all tenants.
func (s *Server) AdminHandler() http.Handler { return s.admin }

func (s *Server) publicRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /connect/done", s.limited(s.done))
	mux.Handle("GET /connect/{ticket}", s.limited(s.connect))
	mux.Handle("GET /oauth/callback/{client}", s.limited(s.callback))
	mux.Handle("POST /events/{client}", s.limitedBy(s.eventLimits, s.prefix, s.vendorEvent))
	mux.Handle("GET /assets/", s.limited(s.assets))
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz(func(*http.Request) bool { return false }))
	mux.Handle("/", s.limited(s.notFound))
	return mux
}

func (s *Server) adminRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", s.signedIn(s.console))
	mux.Handle("GET /live", s.signedIn(s.live))
	mux.HandleFunc("GET /assets/", s.assets)
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz(func(r *http.Request) bool { return !s.login || s.session(r) != "" }))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { s.message(w, http.StatusNotFound, pageNotFound, "") })
	if !s.login {
		mux.HandleFunc("GET /metrics", s.metrics)
		return mux
	}
	bounded := func(next http.HandlerFunc) http.Handler { return s.limitedBy(s.adminLimits, "", next) }
	mux.Handle("GET /metrics", bounded(s.metrics))
	mux.Handle("GET /session/{link}", bounded(s.openSession))
	mux.Handle("POST /logout", bounded(s.logout))
	return mux
}

// stripPrefix lets a proxy hand on paths with or without the path of PublicURL.
func (s *Server) stripPrefix(next http.Handler) http.Handler {
	if s.prefix == "" {
		return next
	}
	stripped := http.StripPrefix(s.prefix, next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.EscapedPath(), s.prefix+"/") {
			stripped.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// healthz says that the process lives. It asks nothing of anybody.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok") }

// readyz says whether requests can be answered now. Why not is for the operator, not for the public.
func (s *Server) readyz(why func(*http.Request) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := s.cfg.Ready()
		switch {
		case err == nil:
			writeText(w, http.StatusOK, "ready")
		case why(r):
			writeText(w, http.StatusServiceUnavailable, "not ready: "+err.Error())
		default:
			writeText(w, http.StatusServiceUnavailable, "not ready")
		}
	}
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text)
}
