package bus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

const (
	// stateAccount is the NATS account of records and timers. Callers are in the server's global account.
	stateAccount = "ESIGND"
	// anonymousUser is who a connection without credentials is, under auth none.
	anonymousUser = "anonymous"

	serverReadyTimeout = 30 * time.Second
	readyPoll          = 100 * time.Millisecond
)

// embedded is a running embedded server, with the keys that let this process in. The keys are made at each start and
// work in process only.
type embedded struct {
	srv           *server.Server
	state, public nkeys.KeyPair
}

// startServer starts the embedded server and waits until it serves.
func startServer(ctx context.Context, cfg Config, dir *dataDir) (_ *embedded, err error) {
	store, err := dir.serverDir(cfg.leaf != nil)
	if err != nil {
		return nil, err
	}
	if !cfg.offline {
		if err := probeListen(ctx, cfg.Listen); err != nil {
			return nil, err
		}
	}
	e := &embedded{}
	if e.state, err = nkeys.CreateUser(); err != nil {
		return nil, fmt.Errorf("make a key for the embedded NATS server: %w", err)
	}
	if e.public, err = nkeys.CreateUser(); err != nil {
		return nil, fmt.Errorf("make a key for the embedded NATS server: %w", err)
	}
	opts, err := e.options(cfg, store, "esignd-"+dir.owner[:8])
	if err != nil {
		return nil, err
	}
	if e.srv, err = server.NewServer(opts); err != nil {
		return nil, fmt.Errorf("configure the embedded NATS server: %w", err)
	}
	log := &serverLog{log: cfg.Logger.With("component", "nats-server")}
	e.srv.SetLoggerV2(log, false, false, false)
	e.srv.Start()
	if err := e.awaitReady(ctx, log); err != nil {
		e.stop()
		return nil, fmt.Errorf("start the embedded NATS server on %s: %w", cfg.Listen, err)
	}
	return e, nil
}

// stop ends the server and waits for it.
func (e *embedded) stop() {
	e.srv.Shutdown()
	e.srv.WaitForShutdown()
}

// probeListen finds out whether the address can be had, since the server itself treats that as fatal.
func probeListen(ctx context.Context, address string) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("nats.listen %s: the address is in use: stop the program that listens there, or set "+
			"nats.listen to a free one", address)
	}
	if err != nil {
		return fmt.Errorf("nats.listen %s: %w", address, err)
	}
	return l.Close()
}

func (e *embedded) options(cfg Config, store, name string) (*server.Options, error) {
	host, port, err := listenAddress(cfg.Listen)
	if err != nil {
		return nil, err
	}
	state := server.NewAccount(stateAccount)
	opts := &server.Options{
		ServerName: name,
		Host:       host,
		Port:       port,
		DontListen: cfg.offline,
		NoSigs:     true,
		JetStream:  true,
		StoreDir:   store,
		// Without this an acknowledged write waits up to two minutes for its fsync.
		SyncAlways:             true,
		DisableJetStreamBanner: true,
		Accounts:               []*server.Account{state},
	}
	if cfg.leaf != nil {
		opts.JetStreamDomain = cfg.domain
		opts.LeafNode.Remotes = []*server.RemoteLeafOpts{cfg.leaf}
	}
	inProcess := connections(jwt.ConnectionTypeInProcess)
	for pair, account := range map[nkeys.KeyPair]*server.Account{e.state: state, e.public: nil} {
		key, err := pair.PublicKey()
		if err != nil {
			return nil, fmt.Errorf("read a key for the embedded NATS server: %w", err)
		}
		opts.Nkeys = append(opts.Nkeys,
			&server.NkeyUser{Nkey: key, Account: account, AllowedConnectionTypes: inProcess})
	}
	addCallers(opts, cfg)
	return opts, nil
}

func addCallers(opts *server.Options, cfg Config) {
	overTCP := connections(jwt.ConnectionTypeStandard)
	if cfg.Auth.None {
		opts.NoAuthUser = anonymousUser
		opts.Users = append(opts.Users, &server.User{
			Username: anonymousUser, Permissions: anonymousPermissions(cfg.Prefix), AllowedConnectionTypes: overTCP,
		})
	}
	for _, c := range cfg.Auth.Callers {
		p := callerPermissions(cfg.Prefix, c)
		if c.NKey != "" {
			opts.Nkeys = append(opts.Nkeys,
				&server.NkeyUser{Nkey: c.NKey, Permissions: p, AllowedConnectionTypes: overTCP})
			continue
		}
		opts.Users = append(opts.Users, &server.User{
			Username: c.Name, Password: c.Password.Reveal(), Permissions: p, AllowedConnectionTypes: overTCP,
		})
	}
}

func connections(kind string) map[string]struct{} { return map[string]struct{}{kind: {}} }

func listenAddress(address string) (string, int, error) {
	host, p, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("nats.listen: %w", err)
	}
	port, err := strconv.Atoi(p)
	if err != nil {
		return "", 0, fmt.Errorf("nats.listen %s: the port is not a number", address)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

// awaitReady returns when the server serves and both accounts have their streams.
func (e *embedded) awaitReady(ctx context.Context, log *serverLog) error {
	ctx, cancel := context.WithTimeout(ctx, serverReadyTimeout)
	defer cancel()
	for !e.srv.ReadyForConnections(readyPoll) {
		if text := log.fatal.Load(); text != nil {
			return errors.New(*text)
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("it does not get ready: %w", err)
		}
	}
	for _, name := range []string{stateAccount, server.DEFAULT_GLOBAL_ACCOUNT} {
		account, err := e.srv.LookupAccount(name)
		if err != nil {
			return fmt.Errorf("find account %s: %w", name, err)
		}
		if account.JetStreamEnabled() {
			continue
		}
		if err := account.EnableJetStream(nil, nil); err != nil {
			return fmt.Errorf("enable JetStream for account %s: %w", name, err)
		}
	}
	return nil
}

// dial returns the options that connect to the server in process as the holder of a key.
func (e *embedded) dial(pair nkeys.KeyPair) ([]nats.Option, error) {
	key, err := pair.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("read a key for the embedded NATS server: %w", err)
	}
	return []nats.Option{nats.InProcessServer(e.srv), nats.Nkey(key, pair.Sign)}, nil
}
