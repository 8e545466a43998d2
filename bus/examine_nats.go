package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// external looks at an external server with a connection of its own, and whether keys open what is stored there; nil keys
// have been told of.
func (f *findings) external(ctx context.Context, cfg Config, keys *sealer) {
	files, err := cfg.openTLS()
	if err != nil {
		f.add(Problem, "", "%v", err)
		return
	}
	defer files.Close()
	opts, err := externalOptions(cfg, files)
	if err != nil {
		f.add(Problem, "mend nats.credentials", "%v", err)
		return
	}
	nc, js, err := connect(cfg.URL, append(opts, nats.Name("esignd-doctor"), nats.Timeout(connectTimeout), nats.NoReconnect()))
	if err != nil {
		f.add(Problem, "see that nats.url is reachable from here, and nats.credentials and nats.tls are those that it takes", "connect to the NATS server: %v", err)
		return
	}
	defer nc.Close()
	f.add(Fine, "", "connected to the NATS server %s, version %s", nc.ConnectedServerName(), nc.ConnectedServerVersion())
	if err := checkJetStream(ctx, nc, js); err != nil {
		f.add(Problem, "", "%v", err)
		return
	}
	f.add(Note, "set jetstream {sync_interval: always} on each NATS server: what it acknowledged and a power loss takes away may be the only valid refresh token",
		"whether the server syncs each write cannot be seen from here")
	if err := mayAnswer(ctx, nc, cfg.Prefix); err != nil {
		f.add(Problem, "give esignd's user the permissions that esignd permissions prints", "%v", err)
	}
	f.streams(ctx, js, js, cfg)
	f.records(ctx, js, keys, cfg.Logger)
	for _, stream := range []struct{ name, subject string }{
		{recordStream, recordPrefix + "doctor"}, {timerStream, cfg.Prefix + ".timer.doctor"},
	} {
		if err := mayWrite(ctx, js, stream.name, stream.subject); err != nil {
			f.add(Problem, "give esignd's user the permissions that esignd permissions prints", "%v", err)
		}
	}
}

// records looks whether keys are those that the records are sealed with.
func (f *findings) records(ctx context.Context, js jetstream.JetStream, keys *sealer, log *slog.Logger) {
	var stored samples
	if err := stored.addStored(ctx, js, log); err != nil {
		f.add(Problem, "see that JetStream has a leader", "read some records: %v", err)
		return
	}
	if len(stored.sealed) == 0 || keys != nil && slices.ContainsFunc(stored.sealed, keys.knows) {
		return
	}
	f.add(Problem, "put the keyset there that the other replicas have", "there are records, and the keyset here does not open them")
}

// mayAnswer finds out whether this user may take requests.
func mayAnswer(ctx context.Context, nc *nats.Conn, prefix string) error {
	subject := prefix + ".api.>"
	sub, err := nc.QueueSubscribeSync(subject, "doctor")
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection is closed after it
	if err := nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	if err := nc.LastError(); errors.Is(err, nats.ErrPermissionViolation) {
		return fmt.Errorf("the NATS server does not let this user subscribe to %s", subject)
	}
	return nil
}

// wrongSequence is the code of JetStream's refusal of a message that expects another last one.
const wrongSequence = 10071

// mayWrite finds out whether this user may publish to a stream that is there, by a message that the stream refuses
// since it expects what cannot be.
func mayWrite(ctx context.Context, js jetstream.JetStream, stream, subject string) error {
	if _, err := js.Stream(ctx, stream); err != nil {
		return nil // it has been told of
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := js.Publish(ctx, subject, nil, jetstream.WithExpectLastSequence(math.MaxInt64), jetstream.WithExpectStream(stream))
	var refused *jetstream.APIError
	if errors.As(err, &refused) && refused.ErrorCode == wrongSequence {
		return nil
	}
	return fmt.Errorf("publish to %s: the stream does not answer as it should (%w): this user may not, or the stream has no leader", subject, err)
}

// streams looks at the streams as they are.
func (f *findings) streams(ctx context.Context, js, publicJS jetstream.JetStream, cfg Config) {
	timers := timerConfig(cfg.Prefix, cfg.Replicas)
	if cfg.URL == "" {
		timers = embeddedTimerConfig(cfg.Prefix)
	}
	f.stream(ctx, publicJS, eventConfig(cfg.Prefix, cfg.Replicas))
	f.stream(ctx, js, timers)
	if cfg.Audit.Enabled {
		f.stream(ctx, js, auditConfig(cfg))
	}
	info := f.stream(ctx, js, recordConfig(cfg.Replicas))
	if info != nil {
		f.clock(info.TimeStamp, info.State.LastTime)
	}
}

// stream looks at one stream and returns what the server says of it, nil where there is nothing.
func (f *findings) stream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) *jetstream.StreamInfo {
	s, err := js.Stream(ctx, want.Name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		f.add(Note, "", "stream %s is not there yet; the first start makes it", want.Name)
		return nil
	case err != nil:
		f.add(Problem, "see that JetStream has a leader, and that this user may ask it", "look at stream %s: %v", want.Name, err)
		return nil
	}
	info := s.CachedInfo()
	merged, err := mergeConfig(info.Config, want)
	if err != nil {
		f.add(Problem, "", "%v", err)
		return info
	}
	if names := differing(info.Config, merged); len(names) > 0 {
		f.add(Warning, "restart esignd, which sets it as it was", "stream %s was changed by somebody: %s", want.Name, strings.Join(names, ", "))
	}
	f.copies(info)
	return info
}

// copies tells of the copies of a stream in a cluster.
func (f *findings) copies(info *jetstream.StreamInfo) {
	name := info.Config.Name
	var behind []string
	if info.Cluster != nil {
		for _, r := range info.Cluster.Replicas {
			if r.Offline || !r.Current {
				behind = append(behind, r.Name)
			}
		}
		if info.Cluster.Leader == "" {
			f.add(Problem, "start the NATS servers that are down", "stream %s has no leader: nothing of it can be read or written", name)
			return
		}
	}
	if len(behind) > 0 {
		f.add(Warning, "see to these NATS servers", "stream %s: the copies on %s are behind or offline", name, strings.Join(behind, ", "))
		return
	}
	f.add(Fine, "", "stream %s: %d messages, %d KiB, copies: %d", name, info.State.Msgs, info.State.Bytes>>10, max(info.Config.Replicas, 1))
}

// differing names the members in which two configurations differ, as NATS writes them.
func differing(have, want jetstream.StreamConfig) []string {
	var names []string
	h, w := reflect.ValueOf(have), reflect.ValueOf(want)
	for n := range h.NumField() {
		if !reflect.DeepEqual(h.Field(n).Interface(), w.Field(n).Interface()) {
			name, _, _ := strings.Cut(h.Type().Field(n).Tag.Get("json"), ",")
			names = append(names, name)
		}
	}
	return names
}

// clockSkew is by how much clocks may differ before it is told.
const clockSkew = 2 * time.Second

// clock compares the clocks, and the store's with that of its own past.
func (f *findings) clock(server, last time.Time) {
	if off := time.Since(server); off.Abs() > clockSkew {
		f.add(Warning, "let both keep their time by NTP", "the clock of the NATS server is %v apart from the one here", off.Abs().Round(time.Second))
	}
	if ahead := last.Sub(server); ahead > clockSkew {
		f.add(Warning, "let the server keep its time by NTP: tokens count as older than they are, and are refreshed early",
			"the last record was written %v in the future of the NATS server's clock: the clock was set back", ahead.Round(time.Second))
	}
}
