package bus

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/bus/creds"
)

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
	if l.server, err = startServer(ctx, cfg, g.dir, nil); err != nil {
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
		return nil, errors.Join(err, l.close(ctx))
	}
	return l, nil
}

func (g *grower) leafOptions(account string) (*server.RemoteLeafOpts, error) {
	u, err := url.Parse(g.Leaf)
	if err != nil || u.Host == "" {
		// The error's text would hold the URL, and that may hold a password.
		return nil, errors.New("the address for leaf nodes is not a URL such as nats://host:7422")
	}
	opts := &server.RemoteLeafOpts{LocalAccount: account, URLs: []*url.URL{u}}
	if g.files != nil {
		opts.TLS, opts.TLSConfig, opts.TLSTimeout = true, g.files.Client(), tlsTimeout.Seconds()
	}
	if g.To.Credentials == "" {
		return opts, nil
	}
	own, err := creds.Read(g.To.Credentials)
	switch {
	case err != nil:
		return nil, fmt.Errorf("nats.credentials: %w", err)
	case own.NKey == "":
		opts.Credentials = own.Path()
	default:
		seed, err := own.Seed()
		if err != nil {
			return nil, fmt.Errorf("nats.credentials: %w", err)
		}
		opts.Nkey = seed.Reveal()
	}
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

func (l *leafNode) close(ctx context.Context) error {
	if l.nc != nil {
		l.nc.Close()
	}
	return l.server.stop(ctx)
}
