package bus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/bus/tlsfiles"
)

// growPoll is how often a mirror is asked how far it is.
const growPoll = 100 * time.Millisecond

// Growth is a move of the records of a stopped esignd from its embedded server into an external one, or a cluster: the
// embedded server becomes a leaf node of it for a while, the streams are mirrored, and the mirrors are made streams of
// their own. Revisions and times stay as they are.
type Growth struct {
	// From is the esignd with the embedded server, and To that with the external one, with the same keyset.
	From, To Config
	// Leaf is where the external server takes leaf nodes, such as nats://host:7422. The credentials and TLS are those of
	// To.
	Leaf string
	// Tell is called with each step that is done.
	Tell func(step string)
}

// grower is a Growth under way.
type grower struct {
	Growth
	dir    *dataDir
	moved  bool             // an earlier run came so far that the embedded store is given up
	domain string           // of JetStream in the embedded server
	files  *tlsfiles.Source // of the external server; nil without TLS
	nc     *nats.Conn
	js     jetstream.JetStream // of the external server
}

// Run moves the records. It may be run again after an error. Once every stream is mirrored the embedded store is marked
// as given up, so that no esignd serves from it again, and only then the mirrors are made streams: no refresh token can
// be presented from both.
func (g Growth) Run(ctx context.Context) (err error) {
	run := &grower{Growth: g}
	if err := run.check(ctx); err != nil {
		return err
	}
	if _, err := os.Stat(run.From.DataDir); err != nil {
		return fmt.Errorf("there is nothing to move: %w", err)
	}
	if run.dir, err = openDataDir(run.From.DataDir); err != nil {
		return fmt.Errorf("the esignd with the embedded server is to be stopped: %w", err)
	}
	defer func() { err = errors.Join(err, run.dir.close()) }()
	if run.moved, err = run.dir.movable(); err != nil {
		return err
	}
	run.domain = "esignd-" + run.dir.owner[:8]
	if run.files, err = run.To.openTLS(); err != nil {
		return err
	}
	defer run.files.Close()
	external, err := externalOptions(run.To, run.files)
	if err != nil {
		return err
	}
	run.nc, run.js, err = connect(run.To.URL, append(connOptions("esignd-grow", run.To.Logger), external...))
	if err != nil {
		return fmt.Errorf("connect to the NATS server to move to: %w", err)
	}
	defer run.nc.Close()
	if err := checkJetStream(ctx, run.nc, run.js); err != nil {
		return err
	}
	return run.move(ctx)
}

// check finds what can be told from the configurations.
func (g *grower) check(ctx context.Context) (err error) {
	if g.From.URL != "" || g.To.URL == "" {
		return errors.New("records are moved from an esignd with the embedded server to one with nats.url")
	}
	if g.From, err = g.From.withDefaults(); err != nil {
		return err
	}
	if g.To, _, err = offline(ctx, g.To); err != nil {
		return err
	}
	if g.From.Prefix != g.To.Prefix {
		return fmt.Errorf("nats.prefix is %s before and %s after: the events' stream is of one prefix", g.From.Prefix, g.To.Prefix)
	}
	// The keyset of the new configuration must open what is moved.
	g.From.offline, g.From.Keys = true, g.To.Keys
	return nil
}

func (g *grower) move(ctx context.Context) error {
	streams := []moving{
		{want: recordConfig(g.To.Replicas), account: stateAccount},
		{want: eventConfig(g.To.Prefix, g.To.Replicas), account: g.From.eventAccount()},
		{want: auditConfig(g.To), account: stateAccount, optional: true},
	}
	for _, s := range streams {
		if err := g.mirror(ctx, s); err != nil {
			return err
		}
	}
	if err := g.dir.giveUp(); err != nil {
		return err
	}
	g.Tell("the embedded store is marked as given up: no esignd serves from it again")
	for _, s := range streams {
		if err := g.promote(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// moving is a stream to move.
type moving struct {
	want     jetstream.StreamConfig
	account  string // in the embedded server
	optional bool   // it may be that there is none
}

// mirror makes a mirror of a stream of the embedded server, and waits until it has all.
func (g *grower) mirror(ctx context.Context, m moving) (err error) {
	want := m.want
	there, err := g.js.Stream(ctx, want.Name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		there = nil
	case err != nil:
		return fmt.Errorf("look for stream %s: %w", want.Name, err)
	case there.CachedInfo().Config.Mirror == nil && g.moved:
		g.Tell("stream " + want.Name + " was moved before")
		return nil
	case !g.ours(there):
		return fmt.Errorf("the external server has a stream %s already, of another esignd: use esignd backup and restore, which keep what is newer",
			want.Name)
	}
	leaf, err := g.startLeaf(ctx, m.account)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leaf.close(ctx)) }()
	from, newest, err := leaf.newest(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) && m.optional {
		return nil
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("the embedded store has no stream %s: start esignd on it once", want.Name)
	}
	if err != nil {
		return err
	}
	if there == nil {
		if there, err = g.js.CreateStream(ctx, mirrorConfig(want, g.domain)); err != nil {
			return fmt.Errorf("mirror stream %s: %w", want.Name, err)
		}
	}
	if err := awaitMirror(ctx, there, newest); err != nil {
		return fmt.Errorf("mirror stream %s over the leaf node %s: %w", want.Name, g.Leaf, err)
	}
	g.Tell(fmt.Sprintf("stream %s is mirrored: %d messages, up to revision %d", want.Name, from.State.Msgs, newest))
	return nil
}

// ours reports whether a stream is the mirror that an earlier run made.
func (g *grower) ours(s jetstream.Stream) bool {
	m := s.CachedInfo().Config.Mirror
	return m != nil && m.External != nil && m.External.APIPrefix == "$JS."+g.domain+".API"
}

// mirrorConfig is what becomes want when it is promoted.
func mirrorConfig(want jetstream.StreamConfig, domain string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: want.Name, Description: want.Description, Storage: want.Storage, Replicas: want.Replicas,
		AllowMsgTTL: want.AllowMsgTTL, Mirror: &jetstream.StreamSource{Name: want.Name, Domain: domain},
	}
}

// awaitMirror returns when the mirror has the newest message.
func awaitMirror(ctx context.Context, mirror jetstream.Stream, newest uint64) error {
	ticker := time.NewTicker(growPoll)
	defer ticker.Stop()
	for {
		info, err := mirror.Info(ctx)
		if err == nil && info.State.LastSeq >= newest {
			return nil
		}
		if err == nil && info.Mirror != nil && info.Mirror.Error != nil {
			err = info.Mirror.Error
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-ticker.C:
		}
	}
}

// promote makes a mirror a stream of its own.
func (g *grower) promote(ctx context.Context, m moving) error {
	want := m.want
	there, err := g.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) && m.optional {
		return nil
	}
	if err != nil {
		return fmt.Errorf("promote stream %s: %w", want.Name, err)
	}
	if there.CachedInfo().Config.Mirror == nil {
		return nil
	}
	if _, err := g.js.UpdateStream(ctx, want); err != nil {
		return fmt.Errorf("promote stream %s (run this again): %w", want.Name, err)
	}
	g.Tell("stream " + want.Name + " is a stream of its own")
	return nil
}
