package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/slogtest"

	"go.opentelemetry.io/otel/trace"
)

func newTestLogger(t *testing.T, cfg LogConfig) (*slog.Logger, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	next, level, err := stderrHandler(cfg, &out)
	if err != nil {
		t.Fatal(err)
	}
	return slog.New(redactor{level: level, next: next}), &out
}

func decodeLine(t *testing.T, out *bytes.Buffer) map[string]any {
	t.Helper()
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return line
}

func spanContext() context.Context {
	return trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2},
	}))
}

func TestHandlerKeepsSlogsRules(t *testing.T) {
	var out bytes.Buffer
	next, level, err := stderrHandler(LogConfig{}, &out)
	if err != nil {
		t.Fatal(err)
	}
	err = slogtest.TestHandler(redactor{level: level, next: next}, func() []map[string]any {
		var all []map[string]any
		for line := range strings.Lines(out.String()) {
			var m map[string]any
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatal(err)
			}
			all = append(all, m)
		}
		return all
	})
	if err != nil {
		t.Error(err)
	}
}

func TestRecordCarriesTheTraceAtItsTop(t *testing.T) {
	for name, with := range map[string]func(*slog.Logger) *slog.Logger{
		"plain":      func(l *slog.Logger) *slog.Logger { return l },
		"attributes": func(l *slog.Logger) *slog.Logger { return l.With("a", 1) },
		"group":      func(l *slog.Logger) *slog.Logger { return l.With("a", 1).WithGroup("g").With("b", 2) },
	} {
		t.Run(name, func(t *testing.T) {
			logger, out := newTestLogger(t, LogConfig{})
			with(logger).InfoContext(spanContext(), "hello", "c", 3)
			line := decodeLine(t, out)
			if line["trace_id"] != "01000000000000000000000000000000" || line["span_id"] != "0200000000000000" {
				t.Errorf("got %v", line)
			}
			if name == "group" {
				if group, _ := line["g"].(map[string]any); len(group) != 2 {
					t.Errorf("group g holds %v", line["g"])
				}
			}
		})
	}
}

func TestRecordWithoutASpanHasNoTrace(t *testing.T) {
	logger, out := newTestLogger(t, LogConfig{})
	logger.InfoContext(t.Context(), "hello")
	if _, ok := decodeLine(t, out)["trace_id"]; ok {
		t.Errorf("got %s", out)
	}
}

type valuer struct{}

func (valuer) LogValue() slog.Value { return slog.GroupValue(slog.String("password", secret)) }

type unexported struct{ token string }

func TestLogHoldsNoSecret(t *testing.T) {
	link := "https://vendor.example/?code=" + secret
	for _, format := range []string{"json", "text"} {
		logger, out := newTestLogger(t, LogConfig{Format: format})
		logger.With("refresh_token", secret).WithGroup("g").With("cookie", secret).Info(
			"got "+link,
			"access_token", secret,
			"error", &url.Error{Op: "Get", URL: link, Err: errors.New("EOF")},
			"wrapped", fmt.Errorf("exchange: %w", &url.Error{Op: "Post", URL: link, Err: errors.New("EOF")}),
			slog.Group("inner", "client_secret", secret),
			"lazy", valuer{},
			"links", []string{link},
			"params", url.Values{"code": {secret}},
			"headers", http.Header{"Code": {secret}},
			"body", []byte("client_secret="+secret),
			"struct", unexported{secret + secret},
			"token", unexported{"short"},
		)
		if strings.Contains(out.String(), secret) || strings.Contains(out.String(), "short") {
			t.Errorf("%s: %s", format, out)
		}
		if n := strings.Count(out.String(), redacted); n < 7 {
			t.Errorf("%s: %d redactions in %s", format, n, out)
		}
	}
}

func TestLevelAndFormatAreChecked(t *testing.T) {
	logger, out := newTestLogger(t, LogConfig{Level: "warn", Format: "text"})
	logger.Info("quiet")
	logger.Warn("loud")
	if got := out.String(); strings.Contains(got, "quiet") || !strings.Contains(got, "msg=loud") {
		t.Errorf("got %q", got)
	}
	for setting, cfg := range map[string]LogConfig{"log.level": {Level: "verbose"}, "log.format": {Format: "xml"}} {
		if _, _, err := stderrHandler(cfg, out); err == nil || !strings.Contains(err.Error(), setting) {
			t.Errorf("%s: %v", setting, err)
		}
	}
}
