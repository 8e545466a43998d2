package plugintest

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/sdk/plugintest/faultproxy"
)

const (
	// maxLines bounds what is kept of a plugin's output.
	maxLines = 20_000
	// minNeedle is the shortest secret that is looked for: shorter ones are found in words that mean nothing.
	minNeedle = 8
)

// evidence keeps what the adapter said where it should say no secret: its log, and the texts of its errors. It is safe
// for concurrent use.
type evidence struct {
	mu      sync.Mutex // guards what follows
	lines   []said
	dropped bool
	needles []needle
}

// said is one line of the adapter's, and where it stood.
type said struct{ where, text string }

// needle is a secret, and what it is called in a finding.
type needle struct{ name, value string }

// say keeps a line.
func (e *evidence) say(where, text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.lines) >= maxLines {
		e.dropped = true
		return
	}
	e.lines = append(e.lines, said{where, text})
}

// hushFor is for how long nothing is said when all has been read.
const hushFor = 300 * time.Millisecond

// hush waits until nothing more is said. What a plugin wrote last may still be on its way, and is lost when it is ended.
func (e *evidence) hush(ctx context.Context) {
	for heard := -1; ; {
		e.mu.Lock()
		now := len(e.lines)
		e.mu.Unlock()
		if now == heard {
			return
		}
		heard = now
		select {
		case <-time.After(hushFor):
		case <-ctx.Done():
			return
		}
	}
}

// err keeps the text of an error that a method returned.
func (e *evidence) err(method string, err error) {
	if err != nil {
		e.say("the error of "+method, err.Error())
	}
}

// secret adds a value that no line may hold.
func (e *evidence) secret(name string, s core.Secret) {
	value := s.Reveal()
	if len(value) < minNeedle || value == faultproxy.Canary {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, form := range []string{value, url.QueryEscape(value), fmt.Sprintf("%q", value)[1:]} {
		form = strings.TrimSuffix(form, `"`)
		known := false
		for _, n := range e.needles {
			known = known || n.value == form
		}
		if !known {
			e.needles = append(e.needles, needle{name, form})
		}
	}
}

// client adds what is secret in credentials.
func (e *evidence) client(c core.Credentials) {
	e.secret("the client secret", c.ClientSecret)
	if !c.ClientSecret.IsZero() {
		id, secret := c.ClientID, c.ClientSecret.Reveal()
		for _, basic := range []string{id + ":" + secret, url.QueryEscape(id) + ":" + url.QueryEscape(secret)} { // RFC 6749 §2.3.1
			e.secret("the client secret (in a Basic header)", core.NewSecret(base64.StdEncoding.EncodeToString([]byte(basic))))
		}
	}
	for name, s := range c.SecretSettings {
		e.secret("the secret setting "+name, s)
	}
}

// tokens adds those of a token set.
func (e *evidence) tokens(set core.TokenResponse) {
	e.secret("an access token", set.AccessToken)
	e.secret("a refresh token", set.RefreshToken)
}

// secretsSaid returns where secrets stood, each kind and place once.
func (e *evidence) secretsSaid() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.find(e.needles)
}

// vendorTextSaid returns where the vendor's words stood.
func (e *evidence) vendorTextSaid() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.find([]needle{{"a text of the vendor's answer", faultproxy.Canary}})
}

// find looks for needles in all lines. The caller holds mu.
func (e *evidence) find(needles []needle) (found []string) {
	seen := map[string]bool{}
	for _, line := range e.lines {
		for _, n := range needles {
			if !strings.Contains(line.text, n.value) || seen[line.where+n.name] {
				continue
			}
			seen[line.where+n.name] = true
			found = append(found, fmt.Sprintf("%s holds %s: %q", line.where, n.name, e.redacted(line.text)))
		}
	}
	return found
}

// redacted returns text without secrets and the vendor's words, short enough to be read. The caller holds mu.
func (e *evidence) redacted(text string) string {
	for _, n := range e.needles {
		text = strings.ReplaceAll(text, n.value, "["+n.name+"]")
	}
	text = strings.ReplaceAll(text, faultproxy.Canary, "[the vendor's text]")
	const limit = 300
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit]) + "…"
	}
	return text
}

// clean returns text fit for a finding.
func (e *evidence) clean(text string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.redacted(text)
}

// flooded reports whether output was dropped, by the host or here.
func (e *evidence) flooded() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, line := range e.lines {
		if strings.Contains(line.text, "lines were dropped") {
			return true
		}
	}
	return e.dropped
}

// logHandler is the host's log: every record becomes a line of evidence, and goes on to next where there is one.
type logHandler struct {
	evidence *evidence
	next     slog.Handler
}

func (h logHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s=%v", a.Key, a.Value.Resolve())
		return true
	})
	h.evidence.say("the plugin's log", b.String())
	if h.next != nil && h.next.Enabled(ctx, r.Level) {
		return h.next.Handle(ctx, r)
	}
	return nil
}

// WithAttrs leaves the attributes to next: they are the host's.
func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if h.next != nil {
		h.next = h.next.WithAttrs(attrs)
	}
	return h
}

// WithGroup leaves the group to next: a line has none.
func (h logHandler) WithGroup(name string) slog.Handler {
	if h.next != nil {
		h.next = h.next.WithGroup(name)
	}
	return h
}
