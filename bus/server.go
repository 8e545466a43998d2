package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/esignd/esignd/bus/tlsfiles"
)

const (
	// stateAccount is the NATS account of records and timers, and of the events where each caller has an account of its
	// own. Under auth none events and callers are in the server's global account.
	stateAccount = "ESIGND"
	// anonymousUser is who a connection without credentials is, under auth none.
	anonymousUser = "anonymous"

	serverReadyTimeout = 30 * time.Second
	readyPoll          = 100 * time.Millisecond
	tlsTimeout         = 5 * time.Second
)

// embedded is a running embedded server, with the keys that let this process in. The keys are made at each start and
// work in process only.
type embedded struct {
	srv           *server.Server
	state, public nkeys.KeyPair
	store, name   string
	tls           *tls.Config // nil: none
}

// startServer starts the embedded server and waits until it serves.
func startServer(ctx context.Context, cfg Config, dir *dataDir, files *tlsfiles.Source) (_ *embedded, err error) {
	store, err := dir.serverDir(cfg.leaf != nil)
	if err != nil {
		return nil, err
	}
	if !cfg.offline {
		if err := probeListen(ctx, cfg.Listen); err != nil {
			return nil, err
		}
	}
	e := &embedded{store: store, name: "esignd-" + dir.owner[:8]}
	if files != nil {
		e.tls = files.Server(true)
	}
	if e.state, err = nkeys.CreateUser(); err != nil {
		return nil, fmt.Errorf("make a key for the embedded NATS server: %w", err)
	}
	if e.public, err = nkeys.CreateUser(); err != nil {
		return nil, fmt.Errorf("make a key for the embedded NATS server: %w", err)
	}
	opts, err := e.options(cfg)
	if err != nil {
		return nil, err
	}
	if e.srv, err = server.NewServer(opts); err != nil {
		return nil, fmt.Errorf("configure the embedded NATS server: %w", err)
	}
	log := &serverLog{log: cfg.Logger.With("component", "nats-server")}
	e.srv.SetLoggerV2(log, false, false, false)
	e.srv.Start()
	if err := e.awaitReady(ctx, cfg, log); err != nil {
		return nil, errors.Join(fmt.Errorf("start the embedded NATS server on %s: %w", cfg.Listen, err), e.stop(ctx))
	}
	return e, nil
}

// serverStop is how long the server may take to stop in any case.
const serverStop = 5 * time.Second

// stop ends the server and waits for it, until ctx ends. A server whose disk failed may wait for itself and never end
// (a purge in nats-server 2.15.2 whose write fails); what it acknowledged is on the disk by then.
func (e *embedded) stop(ctx context.Context) error {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		e.srv.Shutdown()
		e.srv.WaitForShutdown()
	}()
	at := time.NewTimer(serverStop)
	defer at.Stop()
	select {
	case <-stopped:
		return nil
	case <-at.C:
	}
	select {
	case <-stopped:
		return nil
	case <-ctx.Done():
		return errors.New("the embedded NATS server does not stop, as after a failure of its disk; what it acknowledged is stored: end this process, and start it again")
	}
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

// eventAccount is the account of the embedded server that has the events.
func (c Config) eventAccount() string {
	if c.Auth.None {
		return server.DEFAULT_GLOBAL_ACCOUNT
	}
	return stateAccount
}

func (e *embedded) options(cfg Config) (*server.Options, error) {
	host, port, err := listenAddress(cfg.Listen)
	if err != nil {
		return nil, err
	}
	opts := &server.Options{
		ServerName: e.name,
		Host:       host,
		Port:       port,
		DontListen: cfg.offline,
		NoSigs:     true,
		JetStream:  true,
		StoreDir:   e.store,
		// Without this an acknowledged write waits up to two minutes for its fsync.
		SyncAlways:             true,
		DisableJetStreamBanner: true,
	}
	if e.tls != nil {
		opts.TLS, opts.TLSConfig, opts.TLSTimeout = true, e.tls, tlsTimeout.Seconds()
		opts.TLSVerify = cfg.TLS.CA != ""
		// Of those without an NKey, the certificate says who they are.
		opts.TLSMap = opts.TLSVerify && !cfg.Auth.None
	}
	if cfg.leaf != nil {
		opts.JetStreamDomain = cfg.domain
		opts.LeafNode.Remotes = []*server.RemoteLeafOpts{cfg.leaf}
	}
	if cfg.Auth.None {
		return opts, e.addAnybody(opts, cfg.Prefix)
	}
	return opts, e.addCallers(opts, cfg)
}

// addAnybody lets in this process, and programs on this machine.
func (e *embedded) addAnybody(opts *server.Options, prefix string) error {
	state := server.NewAccount(stateAccount)
	opts.Accounts = []*server.Account{state}
	for pair, account := range map[nkeys.KeyPair]*server.Account{e.state: state, e.public: nil} {
		key, err := publicKey(pair)
		if err != nil {
			return err
		}
		user := &server.NkeyUser{Nkey: key, Account: account, AllowedConnectionTypes: connections(jwt.ConnectionTypeInProcess)}
		if account == state { // the audit is there; with the other the server would look at each answer for nothing
			user.Permissions = &server.Permissions{Publish: &server.SubjectPermission{Deny: daemonDenied()}}
		}
		opts.Nkeys = append(opts.Nkeys, user)
	}
	opts.NoAuthUser = anonymousUser
	opts.Users = []*server.User{{
		Username: anonymousUser, Permissions: anonymousPermissions(prefix),
		AllowedConnectionTypes: connections(jwt.ConnectionTypeStandard),
	}}
	return nil
}

// addCallers lets in this process and the callers.
func (e *embedded) addCallers(opts *server.Options, cfg Config) error {
	var users []string
	for _, pair := range []nkeys.KeyPair{e.state, e.public} {
		key, err := publicKey(pair)
		if err != nil {
			return err
		}
		users = append(users, fmt.Sprintf("{nkey: %s, allowed_connection_types: [%s], permissions: {publish: {deny: [%s]}}}",
			key, jwt.ConnectionTypeInProcess, quoted(daemonDenied())))
	}
	if err := opts.ProcessConfigString(accounts(cfg.Prefix, strings.Join(users, ", "), cfg.Auth.Callers)); err != nil {
		return fmt.Errorf("configure the accounts of the embedded NATS server: %w", err)
	}
	return nil
}

func publicKey(pair nkeys.KeyPair) (string, error) {
	key, err := pair.PublicKey()
	if err != nil {
		return "", fmt.Errorf("read a key for the embedded NATS server: %w", err)
	}
	return key, nil
}

// reload lets in the callers of cfg and nobody else. Who is not among them any more is disconnected, the others stay.
func (e *embedded) reload(cfg Config) error {
	// Twice: an account that is new comes to be at the first and gets what it imports at the second.
	for range 2 {
		opts, err := e.options(cfg)
		if err != nil {
			return err
		}
		if err := e.srv.ReloadOptions(opts); err != nil {
			return fmt.Errorf("reload the embedded NATS server: %w", err)
		}
	}
	return nil
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

// awaitReady returns when the server serves and esignd's accounts have their streams.
func (e *embedded) awaitReady(ctx context.Context, cfg Config, log *serverLog) error {
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
	for _, name := range []string{stateAccount, cfg.eventAccount()} {
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
	key, err := publicKey(pair)
	if err != nil {
		return nil, err
	}
	return []nats.Option{nats.InProcessServer(e.srv), nats.Nkey(key, pair.Sign)}, nil
}
