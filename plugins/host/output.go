package host

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"
)

const (
	maxLine       = 16 << 10 // bytes of a line that are kept
	maxAttributes = 32       // of a JSON line
	maxLastLine   = 300      // runes of the line that an error quotes
	bytesASecond  = 2 << 20  // are read
	bytesAtOnce   = 16 << 20
	lineCost      = 100      // bytes that a line counts for when it is read, besides its own
	loggedASecond = 16 << 10 // bytes
	loggedAtOnce  = 512 << 10
	recordCost    = 300         // bytes that a record counts for, besides its line's
	droppedEvery  = time.Second // is told of lines that are dropped, at most
)

// outputLog turns what a process writes into log records. Nothing that is written can make it fail or grow: lines are
// cut, a flood is dropped and counted, so that the log grows by a bounded number of bytes a second, and JSON is read without
// trusting its types. Nor does a flood keep this process busy: it is read slowly, so that the one who writes has to wait.
type outputLog struct {
	logger  *slog.Logger
	secrets *discretion
	bytes   *rate.Limiter // of all streams together

	mu      sync.Mutex    // guards what follows
	limiter *rate.Limiter // of bytes that are logged
	dropped int           // and not told yet
	told    time.Time     // when lines that were dropped were last told of
	inPanic bool
	last    string
}

func newOutputLog(logger *slog.Logger, secrets *discretion) *outputLog {
	return &outputLog{
		logger: logger, secrets: secrets,
		bytes: rate.NewLimiter(bytesASecond, bytesAtOnce), limiter: rate.NewLimiter(loggedASecond, loggedAtOnce),
	}
}

// readAll logs what comes from r as standard error until it ends.
func (o *outputLog) readAll(r io.Reader) {
	w := &lineWriter{emit: o.stderrLine, slow: o.slow}
	_, _ = io.Copy(w, r)
	w.flush()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reportDropped()
}

// stdout returns the writer for what the plugin prints where nobody listens.
func (o *outputLog) stdout() io.Writer {
	return &lineWriter{emit: func(line []byte, _ bool) { o.plainLine("stdout", string(line)) }, slow: o.slow}
}

// drop reads what is for nobody, until it ends.
func (o *outputLog) drop(r io.Reader) {
	_, _ = io.Copy(&lineWriter{emit: func([]byte, bool) {}, slow: o.slow}, r)
}

// slow waits where more is written than is read in the long run.
func (o *outputLog) slow(n int) { _ = o.bytes.WaitN(context.Background(), min(n, bytesAtOnce)) }

// stderr returns a writer for what the plugin prints to the standard error that go-plugin gave it.
func (o *outputLog) stderr() io.Writer { return &lineWriter{emit: o.stderrLine, slow: o.slow} }

// lastLine returns the last line of standard error, fit for an error's text.
func (o *outputLog) lastLine() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last
}

func (o *outputLog) stderrLine(line []byte, cut bool) {
	o.mu.Lock()
	if text := printable(string(line[:min(len(line), 4*maxLastLine)]), maxLastLine); text != "" && !o.inPanic {
		o.last = text // of a crash its first line, which says why
	}
	o.mu.Unlock()
	if !cut && bytes.HasPrefix(line, []byte("{")) && o.jsonLine(line) {
		return
	}
	o.plainLine("stderr", string(line))
}

// allow applies the limit to one line. It tells of the first that it drops at once, after which nothing more may come, and
// of others once in a while. The caller holds mu.
func (o *outputLog) allow(length int) bool {
	allowed := o.limiter.AllowN(time.Now(), recordCost+length)
	if !allowed {
		o.dropped++
	}
	if time.Since(o.told) > droppedEvery {
		o.reportDropped()
	}
	return allowed
}

// reportDropped says how many lines were dropped. The caller holds mu.
func (o *outputLog) reportDropped() {
	if o.dropped > 0 {
		o.logger.Warn("the plugin writes too much; lines were dropped", "lines", o.dropped)
		o.dropped, o.told = 0, time.Now()
	}
}

// plainLine logs a line that is no record: at debug level, but for a crash.
func (o *outputLog) plainLine(stream, line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if strings.TrimSpace(line) == "" {
		return
	}
	if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
		o.inPanic = true
		if o.allow(len(line)) {
			o.logger.Error("the plugin crashed; it is started again", "line", withoutPanicValue(line))
		}
		return
	}
	if o.inPanic {
		if isTraceback(line) && o.allow(len(line)) {
			o.logger.Error("the plugin crashed; it is started again", "line", line)
		}
		return
	}
	if o.allow(len(line)) {
		o.logger.Debug("the plugin wrote", "stream", stream, "line", o.secrets.clean(printable(line, maxLine)))
	}
}

// withoutPanicValue drops what was panicked with, unless it is the runtime's: it may hold what was worked on.
func withoutPanicValue(line string) string {
	if strings.HasPrefix(line, "fatal error: ") || strings.HasPrefix(line, "panic: runtime error: ") {
		return line
	}
	return "panic: (value withheld: it may hold a secret)"
}

// traceback matches the lines of a Go stack: headers, functions with their arguments as words, and positions.
var traceback = regexp.MustCompile(`^(goroutine \d+ .*\[[^\]]*\]:|\[signal .*\]|created by \S+( in goroutine \d+)?|` +
	`\S+\((0x[0-9a-f]+\??|\.\.\.|_|[{}, ])*\)|\t\S+:\d+( \+0x[0-9a-f]+)?|exit status \d+)$`)

func isTraceback(line string) bool { return traceback.MatchString(line) }

// jsonLine logs a line that is a JSON object, as slog and hclog write them; it reports whether the line was one.
func (o *outputLog) jsonLine(line []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.allow(len(line)) { // before it costs anything
		return true
	}
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	var fields map[string]any
	if err := decoder.Decode(&fields); err != nil || decoder.More() {
		return false
	}
	level := parseLevel(take(fields, "level", "@level"))
	message := take(fields, "msg", "@message", "message")
	take(fields, "time", "@timestamp", "timestamp")
	ctx := withTrace(context.Background(), take(fields, "trace_id"), take(fields, "span_id"))

	o.logger.LogAttrs(ctx, level, o.secrets.clean(message), slog.Group("plugin", o.attributes(fields)...))
	return true
}

func (o *outputLog) attributes(fields map[string]any) (attrs []any) {
	for _, key := range slices.Sorted(maps.Keys(fields))[:min(len(fields), maxAttributes)] {
		value := attributeValue(fields[key])
		if text, ok := value.(string); ok {
			value = o.secrets.clean(text)
		}
		attrs = append(attrs, slog.Any(o.secrets.clean(key), value))
	}
	return attrs
}

// take removes the named fields and returns the text of the first that is there.
func take(fields map[string]any, names ...string) string {
	text := ""
	for _, name := range slices.Backward(names) {
		if v, ok := fields[name]; ok {
			text = fmt.Sprint(attributeValue(v))
			delete(fields, name)
		}
	}
	return text
}

// attributeValue returns scalars as they are and the rest as JSON.
func attributeValue(v any) any {
	switch v := v.(type) {
	case string, bool:
		return v
	case json.Number:
		return v.String()
	default:
		b, err := json.Marshal(v)
		if err != nil {
			return "?"
		}
		return string(b)
	}
}

func parseLevel(s string) slog.Level {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s)); err != nil {
		return slog.LevelDebug
	}
	return level
}

// withTrace lets the record join the trace in which the plugin wrote it.
func withTrace(ctx context.Context, traceID, spanID string) context.Context {
	trc, err := trace.TraceIDFromHex(traceID)
	if err != nil {
		return ctx
	}
	span, err := trace.SpanIDFromHex(spanID)
	if err != nil {
		return ctx
	}
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trc, SpanID: span, Remote: true,
	}))
}

// printable returns s on one line, without control characters, and with limit runes at most.
func printable(s string, limit int) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(s, "\uFFFD")))
	if runes := []rune(s); len(runes) > limit {
		s = string(runes[:limit-1]) + "…"
	}
	return s
}

// lineWriter cuts a stream into lines. Of a line longer than maxLine it keeps the beginning.
type lineWriter struct {
	emit func(line []byte, cut bool)
	slow func(bytes int) // is called before bytes are looked at
	line []byte
	cut  bool
}

// Write never fails.
func (w *lineWriter) Write(b []byte) (int, error) {
	n := len(b)
	w.slow(n + lineCost*bytes.Count(b, []byte("\n")))
	for len(b) > 0 {
		part, rest, ended := bytes.Cut(b, []byte("\n"))
		room := maxLine - len(w.line)
		w.line = append(w.line, part[:min(len(part), room)]...)
		w.cut = w.cut || len(part) > room
		if ended {
			w.flush()
		}
		b = rest
	}
	return n, nil
}

// flush emits the line that was begun.
func (w *lineWriter) flush() {
	if len(w.line) > 0 {
		w.emit(w.line, w.cut)
	}
	w.line, w.cut = w.line[:0], false
}
