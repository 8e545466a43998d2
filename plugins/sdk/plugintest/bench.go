package plugintest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/host"
	"github.com/esignd/esignd/plugins/sdk/plugintest/faultproxy"
)

// bench is what the checks of one run work on. Checks run one after the other, in any selection; what several of them
// need is made when the first one asks.
type bench struct {
	cfg      Config
	path     string // of the plugin's file
	dir      string // made for the run, and removed with it
	mark     string // in the environment of every process that the plugin starts
	evidence *evidence

	links []*link
	front *link // in front of the token endpoint, once a token request went through
	// wide lets faults meet every request that writes, instead of token requests.
	wide atomic.Bool

	subject  *subject // nil until started
	startErr error
	closed   bool // the subject was ended by a check; what comes after looks at what it said
	took     time.Duration

	metadata core.Metadata   // of the subject
	grantErr error           // why there was no grant the last time
	told     map[lack]string // the check that failed by it
}

// errStopped is returned once a check has ended the plugin.
var errStopped = errors.New("the plugin has been stopped")

// link is a proxy in front of one address of the sandbox.
type link struct {
	origin string
	proxy  *faultproxy.Proxy
}

// open builds the plugin where that is asked for, and stands the proxies up.
func open(ctx context.Context, cfg Config) (*bench, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	b := &bench{cfg: cfg, evidence: &evidence{}, told: map[lack]string{}}
	b.mark = fmt.Sprintf("ESIGND_PLUGINTEST=%d-%d", os.Getpid(), time.Now().UnixNano())
	if cfg.Binary != "" {
		if b.path, err = filepath.Abs(cfg.Binary); err != nil {
			return nil, fmt.Errorf("plugintest: find the plugin: %w", err)
		}
	}
	if cfg.Package != "" {
		if err := b.build(ctx); err != nil {
			return nil, errors.Join(err, b.close(ctx))
		}
	}
	if err := b.openLinks(); err != nil {
		return nil, errors.Join(err, b.close(ctx))
	}
	return b, nil
}

// build builds Config.Package into a folder that others cannot write.
func (b *bench) build(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "plugintest")
	if err != nil {
		return fmt.Errorf("plugintest: make a folder for the plugin: %w", err)
	}
	b.dir = dir
	b.path = filepath.Join(dir, host.FileName(b.cfg.Vendor))
	output, err := exec.CommandContext(ctx, "go", "build", "-o", b.path, b.cfg.Package).CombinedOutput() //nolint:gosec // the author's own package
	if err != nil {
		return fmt.Errorf("plugintest: go build %s: %w\n%s", b.cfg.Package, err, output)
	}
	return nil
}

// openLinks puts a proxy in front of each address that the settings name on the loopback.
func (b *bench) openLinks() error {
	for _, value := range b.cfg.Sandbox.Settings {
		origin := loopbackOrigin(value)
		if origin == "" || b.linkTo(origin) != nil {
			continue
		}
		proxy, err := faultproxy.Start(faultproxy.Config{Target: origin, IsTokenRequest: b.isMarked, Pace: 100 * time.Millisecond})
		if err != nil {
			return fmt.Errorf("plugintest: stand in front of the sandbox: %w", err)
		}
		b.links = append(b.links, &link{origin: origin, proxy: proxy})
	}
	return nil
}

func (b *bench) linkTo(origin string) *link {
	for _, l := range b.links {
		if l.origin == origin {
			return l
		}
	}
	return nil
}

// isMarked says which requests meet faults.
func (b *bench) isMarked(r *http.Request, body []byte) bool {
	if b.wide.Load() {
		return r.Method != http.MethodGet
	}
	return r.Method == http.MethodPost && (strings.Contains(string(body), "grant_type") || r.URL.Query().Has("grant_type"))
}

// loopbackOrigin returns scheme and host of an http URL on the loopback, "" for anything else.
func loopbackOrigin(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return ""
	}
	if ip := net.ParseIP(u.Hostname()); !strings.EqualFold(u.Hostname(), "localhost") && !ip.IsLoopback() {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// credentials are the client's, with the proxies in the place of the sandbox.
func (b *bench) credentials() core.Credentials {
	return b.credentialsBy(func(l *link) string { return l.proxy.URL() })
}

// credentialsBy is credentials with a choice of each proxy's URL.
func (b *bench) credentialsBy(urlOf func(*link) string) core.Credentials {
	c := core.Credentials{
		ClientID:     b.cfg.Sandbox.ClientID,
		ClientSecret: core.NewSecret(b.cfg.Sandbox.ClientSecret),
		Settings:     make(map[string]string, len(b.cfg.Sandbox.Settings)),
	}
	for name, value := range b.cfg.Sandbox.Settings {
		if l := b.linkTo(loopbackOrigin(value)); l != nil {
			value = urlOf(l) + strings.TrimPrefix(value, l.origin)
		}
		c.Settings[name] = value
	}
	if len(b.cfg.Sandbox.SecretSettings) > 0 {
		c.SecretSettings = map[string]core.Secret{}
	}
	for name, value := range b.cfg.Sandbox.SecretSettings {
		c.SecretSettings[name] = core.NewSecret(value)
	}
	return c
}

// requests counts what came to the sandbox.
func (b *bench) requests() int {
	n := 0
	for _, l := range b.links {
		n += l.proxy.Stats().Requests
	}
	return n
}

// name is what a report calls the plugin.
func (b *bench) name() string {
	if b.cfg.Adapter != nil {
		return fmt.Sprintf("%T", b.cfg.Adapter)
	}
	return cmp.Or(b.cfg.Binary, b.cfg.Package)
}

// start starts the plugin once, and returns it, or why it did not start.
func (b *bench) start(ctx context.Context) (*subject, error) {
	if b.subject == nil && b.startErr == nil {
		begun := time.Now()
		b.subject, b.startErr = b.another(ctx)
		b.took = time.Since(begun)
		if b.startErr == nil {
			b.metadata, b.startErr = b.subject.Metadata(ctx)
		}
	}
	if b.startErr != nil {
		return nil, b.startErr
	}
	if b.closed {
		return nil, errStopped
	}
	return b.subject, b.subject.settle(ctx)
}

// another starts one more process of the plugin; an adapter in process is the same one again.
func (b *bench) another(ctx context.Context) (*subject, error) {
	s := &subject{adapter: b.cfg.Adapter, evidence: b.evidence, timeout: b.cfg.Timeout}
	if b.cfg.Adapter != nil {
		return s, nil
	}
	log := logHandler{evidence: b.evidence}
	if b.cfg.Logger != nil {
		log.next = b.cfg.Logger.Handler()
	}
	// The race detector would keep every plugin for a second at its end.
	env := append([]string{b.mark, "GORACE=atexit_sleep_ms=0"}, b.cfg.Env...)
	plugin, err := host.New(host.Config{
		Path: b.path, Vendor: b.cfg.Vendor, Env: env, Logger: slog.New(log), LooseParents: true, Verbatim: true,
		Limits: host.Limits{Start: b.cfg.Timeout, Call: b.cfg.Timeout, Kill: stopWithin, MinBackoff: 10 * time.Millisecond},
	})
	if err != nil {
		return nil, err
	}
	if err := plugin.Start(ctx); err != nil {
		return nil, err
	}
	s.adapter, s.plugin = plugin.Adapter(), plugin
	return s, nil
}

// close ends everything that the run started.
func (b *bench) close(ctx context.Context) error {
	var errs []error
	for _, l := range b.links { // which lets go of calls that hang there
		errs = append(errs, l.proxy.Close())
	}
	if b.subject != nil && !b.closed {
		errs = append(errs, b.subject.close(ctx))
	}
	killAll(marked(b.mark))
	if b.dir != "" {
		errs = append(errs, os.RemoveAll(b.dir))
	}
	return errors.Join(errs...)
}
