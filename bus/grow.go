package bus

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
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
	moved  bool   // an earlier run came so far that the embedded store is given up
	domain string // of JetStream in the embedded server
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
	external, err := externalOptions(run.To)
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
	streams := []struct {
		want    jetstream.StreamConfig
		account string // in the embedded server
	}{
		{recordConfig(g.To.Replicas), stateAccount},
		{eventConfig(g.To.Prefix, g.To.Replicas), g.From.eventAccount()},
	}
	for _, s := range streams {
		if err := g.mirror(ctx, s.want, s.account); err != nil {
			return err
		}
	}
	if err := g.dir.giveUp(); err != nil {
		return err
	}
	g.Tell("the embedded store is marked as given up: no esignd serves from it again")
	for _, s := range streams {
		if err := g.promote(ctx, s.want); err != nil {
			return err
		}
	}
	return nil
}

// mirror makes a mirror of a stream of the embedded server, and waits until it has all.
func (g *grower) mirror(ctx context.Context, want jetstream.StreamConfig, account string) error {
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
	leaf, err := g.startLeaf(ctx, account)
	if err != nil {
		return err
	}
	defer leaf.close()
	from, newest, err := leaf.newest(ctx, want.Name)
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
func (g *grower) promote(ctx context.Context, want jetstream.StreamConfig) error {
	there, err := g.js.Stream(ctx, want.Name)
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

// leafNode is the embedded server as a leaf node, and a connection in one of its accounts.
type leafNode struct {
	server *embedded
	nc     *nats.Conn
	js     jetstream.JetStream
}

// startLeaf starts the embedded server as a leaf node by one of its accounts: both have a JetStream of their own, and of
// one domain one can be seen at a time.
func (g *grower) startLeaf(ctx context.Context, account string) (_ *leafNode, err error) {
	cfg := g.From
	if cfg.leaf, err = g.leafOptions(account); err != nil {
		return nil, err
	}
	cfg.domain = g.domain
	l := &leafNode{}
	if l.server, err = startServer(ctx, cfg, g.dir); err != nil {
		return nil, err
	}
	pair := l.server.state
	if account != stateAccount {
		pair = l.server.public
	}
	dial, err := l.server.dial(pair)
	if err == nil {
		l.nc, l.js, err = connect("", append(connOptions("esignd-grow", cfg.Logger), dial...))
	}
	if err == nil && account == stateAccount {
		err = l.checkKeys(ctx, g)
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (g *grower) leafOptions(account string) (*server.RemoteLeafOpts, error) {
	u, err := url.Parse(g.Leaf)
	if err != nil || u.Host == "" {
		// The error's text would hold the URL, and that may hold a password.
		return nil, errors.New("the address for leaf nodes is not a URL such as nats://host:7422")
	}
	opts := &server.RemoteLeafOpts{LocalAccount: account, URLs: []*url.URL{u}, Credentials: g.To.Credentials}
	if g.To.TLS == (TLS{}) {
		return opts, nil
	}
	opts.TLS = true
	opts.TLSConfig, err = server.GenTLSConfig(&server.TLSConfigOpts{CaFile: g.To.TLS.CA, CertFile: g.To.TLS.Cert, KeyFile: g.To.TLS.Key})
	if err != nil {
		return nil, fmt.Errorf("nats.tls for the leaf node: %w", err)
	}
	// What it makes is for a server; here we are the client.
	opts.TLSConfig.RootCAs = opts.TLSConfig.ClientCAs
	return opts, nil
}

// checkKeys sees that the keyset of the new configuration opens the records.
func (l *leafNode) checkKeys(ctx context.Context, g *grower) error {
	file, err := newKeyFile(g.To.Keys, g.To.DataDir, g.To.Logger)
	if err != nil {
		return err
	}
	s := &session{cfg: g.From, dir: g.dir, js: l.js}
	return s.openKeys(ctx, file)
}

// newest returns a stream as it is, and the sequence of its last message.
func (l *leafNode) newest(ctx context.Context, name string) (*jetstream.StreamInfo, uint64, error) {
	s, err := l.js.Stream(ctx, name)
	if err != nil {
		return nil, 0, fmt.Errorf("look at stream %s of the embedded store: %w", name, err)
	}
	m, err := s.GetLastMsgForSubject(ctx, ">")
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return s.CachedInfo(), 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("look at stream %s of the embedded store: %w", name, err)
	}
	return s.CachedInfo(), m.Sequence, nil
}

func (l *leafNode) close() {
	if l.nc != nil {
		l.nc.Close()
	}
	l.server.stop()
}
