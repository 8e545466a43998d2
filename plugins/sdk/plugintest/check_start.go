package plugintest

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/host"
)

// ofMetadata reports whether the host started the plugin and refused what it declares: that is for another check.
func ofMetadata(err error) bool {
	return err != nil && !errors.Is(err, host.ErrNotPlugin) && !errors.Is(err, host.ErrVersion) &&
		strings.Contains(err.Error(), "its metadata is wrong")
}

func checkHandshake(ctx context.Context, b *bench, r *recorder) {
	if _, err := b.start(ctx); err != nil && !ofMetadata(err) {
		b.lacks(r, noPlugin, err)
		return
	}
	if b.took > time.Second {
		r.notef("it took %v to start", b.took.Round(time.Millisecond))
	}
}

// checkByHand starts the binary with an empty environment, as no host does.
func checkByHand(ctx context.Context, b *bench, r *recorder) {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.path) //nolint:gosec // the author's own plugin
	cmd.Env = append([]string{b.mark, "GORACE=atexit_sleep_ms=0"}, b.cfg.Env...)
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &limited{w: &stdout}, &limited{w: &stderr}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		r.errorf("it does not end")
	case err == nil:
		r.errorf("it ends with status 0, as if it had done something")
	case !errors.As(err, &exit):
		r.errorf("it cannot be started: %v", err)
	}
	if stdout.Len() > 0 {
		r.errorf("it writes %q to standard output", short(stdout.String()))
	}
	if stderr.Len() == 0 && !r.failed() {
		r.errorf("it says nothing on standard error")
	}
}

// limited keeps the first bytes.
type limited struct{ w *bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	const most = 64 << 10
	_, _ = l.w.Write(p[:min(len(p), max(0, most-l.w.Len()))])
	return len(p), nil
}

func short(s string) string { return s[:min(len(s), 200)] }

func checkMetadata(ctx context.Context, b *bench, r *recorder) {
	before := b.requests()
	s, err := b.start(ctx)
	switch {
	case ofMetadata(err):
		b.told[noPlugin] = r.check
		r.errorf("%s", b.evidence.clean(err.Error()))
		return
	case err != nil:
		b.without(r, err)
		return
	}
	m := b.metadata
	again, err := s.Metadata(ctx)
	if err != nil || !sameMetadata(m, again) {
		r.errorf("asked again, it says something else")
	}
	if b.requests() != before {
		r.errorf("it asks the vendor")
	}
	consistent(r, m)
}

// consistent notes what in the metadata contradicts itself.
func consistent(r *recorder, m core.Metadata) {
	code, client, refresh := m.Supports(core.AuthorizationCode), m.Supports(core.ClientCredentials), m.Supports(core.RefreshToken)
	if m.Vendor == "" || m.Title == "" {
		r.errorf("Vendor or Title is empty")
	}
	if m.Version == "" {
		r.notef("Version is empty: an operator cannot tell which adapter runs")
	}
	if !code && !client {
		r.errorf("GrantTypes has neither authorization_code nor client_credentials: there is no way to a first token")
	}
	if m.AccessLifetime <= 0 || m.AccessLifetime > maxLifetime {
		r.errorf("AccessLifetime is %v: it counts where an answer has no expires_in, and esignd refreshes by it", m.AccessLifetime)
	}
	if !refresh && (m.RotatesRefreshTokens || m.RefreshIdleLifetime != 0) {
		r.errorf("it speaks of refresh tokens, and GrantTypes has no refresh_token")
	}
	if code && !refresh {
		r.notef("without refresh_token in GrantTypes a person has to authorize again at the end of each access token")
	}
	if m.RefreshIdleLifetime < 0 || m.ConsentLifetime < 0 {
		r.errorf("a lifetime is negative")
	}
	if m.RefreshIdleLifetime > 0 && m.RefreshIdleLifetime < m.AccessLifetime {
		r.errorf("RefreshIdleLifetime %v is shorter than AccessLifetime %v: such a refresh token is dead when it is needed", m.RefreshIdleLifetime, m.AccessLifetime)
	}
	if m.ConsentLifetime > 0 && m.ConsentLifetime < max(m.AccessLifetime, m.RefreshIdleLifetime) {
		r.errorf("ConsentLifetime %v is shorter than another lifetime", m.ConsentLifetime)
	}
	if m.PKCE && !code {
		r.errorf("PKCE is declared, and GrantTypes has no authorization_code")
	}
}

func checkStatelessness(ctx context.Context, b *bench, r *recorder) {
	b.withSubject(ctx, r, func(s *subject) {
		set, err := b.grant(ctx, s)
		if err != nil {
			b.without(r, err)
			return
		}
		second, err := b.another(ctx)
		if err != nil {
			r.errorf("a second process does not start: %s", b.evidence.clean(err.Error()))
			return
		}
		defer func() { _ = second.close(context.WithoutCancel(ctx)) }() // bounded by the host's limits
		if m, err := second.Metadata(ctx); err != nil || !sameMetadata(m, b.metadata) {
			r.errorf("a second process declares something else")
		}
		if !b.metadata.Supports(core.RefreshToken) {
			return
		}
		if _, _, err := b.token(ctx, second, b.refreshRequest(set)); err != nil {
			r.errorf("a second process cannot refresh what the first exchanged: %s", b.evidence.clean(err.Error()))
		}
	})
}

func checkStop(ctx context.Context, b *bench, r *recorder) {
	b.withSubject(ctx, r, func(s *subject) {
		took, err := b.end(ctx, s)
		if err != nil {
			r.errorf("%s", b.evidence.clean(err.Error()))
		}
		// go-plugin gives a process two seconds.
		if took > 1900*time.Millisecond {
			r.errorf("it did not end by itself within %v, and was killed", took.Round(100*time.Millisecond))
		}
		if left := marked(b.mark); len(left) > 0 {
			r.errorf("it left %d processes behind", len(left))
			killAll(left)
		}
	})
}

// end ends the process when it has said all that it was going to say, and returns how long it took to end.
func (b *bench) end(ctx context.Context, s *subject) (took time.Duration, err error) {
	b.closed = true
	b.evidence.hush(ctx)
	begun := time.Now()
	err = s.close(ctx)
	return time.Since(begun), err
}

// hearOut ends the process where no check has, so that all that it wrote was read, and reports whether there was one.
func (b *bench) hearOut(ctx context.Context, r *recorder) bool {
	if b.subject == nil {
		r.skipf("nothing ran that could say anything")
		return false
	}
	if !b.closed {
		if _, err := b.end(ctx, b.subject); err != nil {
			r.errorf("it does not end, and may say more: %s", b.evidence.clean(err.Error()))
		}
	}
	return true
}

func checkSecrets(ctx context.Context, b *bench, r *recorder) {
	if !b.hearOut(ctx, r) {
		return
	}
	for _, found := range b.evidence.secretsSaid() {
		r.errorf("%s", found)
	}
	if b.evidence.flooded() {
		r.errorf("the plugin writes so much that lines were dropped: nobody can say what was in them")
	}
	if b.cfg.Adapter != nil {
		r.notef("of an adapter in process only the errors are seen, not what it logs")
	}
}

func checkVendorText(ctx context.Context, b *bench, r *recorder) {
	if !b.hearOut(ctx, r) {
		return
	}
	for _, found := range b.evidence.vendorTextSaid() {
		r.errorf("%s", found)
	}
}
