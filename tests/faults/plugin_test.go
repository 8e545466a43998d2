package faults

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/host"
	"github.com/esignd/esignd/tests/transcript"
)

// plugin is a vendor's adapter in a process of its own, with what that process and its host have written.
type plugin struct {
	*host.Plugin
	logs *transcript.Transcript
	seen secrets // of all that use the process
}

// startPlugin runs the vendor's plugin for as long as the test, and then searches what it wrote. The plugin writes its
// spans to standard error, so that they are searched with the rest.
func startPlugin(t *testing.T, v vendor) *plugin {
	t.Helper()
	p := &plugin{logs: &transcript.Transcript{}, seen: newSecrets()}
	var err error
	p.Plugin, err = host.New(host.Config{
		Path: filepath.Join(binaries, host.FileName(v.name)), Vendor: v.name, Logger: debugLog(p.logs),
		Env: []string{"OTEL_TRACES_EXPORTER=console", "OTEL_BSP_SCHEDULE_DELAY=100"},
	})
	if err == nil {
		err = p.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if n := p.Status().Restarts; n > 0 {
			t.Errorf("the plugin was restarted %d times: %s", n, p.Status().LastError)
		}
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
		p.seen.search(t, "the plugin's log", p.logs.String())
		p.seen.search(t, "the host's spans", spanText(hostSpans.GetSpans()))
		if !strings.Contains(p.logs.String(), "SpanContext") {
			t.Error("the plugin's log has no spans, so the search shows nothing of them")
		}
	})
	return p
}

func debugLog(o *transcript.Transcript) *slog.Logger {
	return slog.New(slog.NewJSONHandler(o, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// recorder keeps how each call of Token ended.
type recorder struct {
	core.Adapter
	mu   sync.Mutex
	list []error // nil: a token set
}

// Token implements core.Adapter.
func (r *recorder) Token(ctx context.Context, request core.TokenRequest) (core.TokenResponse, error) {
	response, err := r.Adapter.Token(ctx, request)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, err)
	return response, err
}

func (r *recorder) ended() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]error(nil), r.list...)
}
