package bus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/metric"

	"github.com/esignd/esignd/bus/tlsfiles"
)

// session is all that is open between Start and Close. Its fields do not change in between.
type session struct {
	cfg    Config
	dir    *dataDir
	files  *tlsfiles.Source // nil without TLS
	server *embedded        // nil with an external server

	state, public *nats.Conn // of the records and timers, and of the callers and events
	js, publicJS  jetstream.JetStream

	closing   chan struct{}       // closed when close begins
	observing metric.Registration // nil where nothing is

	unanswered atomic.Pointer[time.Time] // when a write of a record last got no answer; nil once one is written again

	keys    *keyring
	records jetstream.Stream
	events  jetstream.Stream
	timers  jetstream.Stream

	entries jetstream.Stream // of the audit; nil where it is off
	audit   *auditWriter     // nil where it is off
}

func (s *session) open(ctx context.Context, cfg Config) (err error) {
	s.cfg = cfg
	file, err := newKeyFile(cfg.Keys, cfg.DataDir, cfg.Logger)
	if err != nil {
		return err
	}
	if s.dir, err = openDataDir(cfg.DataDir); err != nil {
		return err
	}
	if err := s.connect(ctx); err != nil {
		return err
	}
	if err := checkJetStream(ctx, s.state, s.js); err != nil {
		return err
	}
	if err := checkJetStream(ctx, s.public, s.publicJS); err != nil {
		return err
	}
	if err := s.checkMapping(ctx, cfg.Auth.Callers); err != nil {
		return err
	}
	// Before the first write, so that a start with a wrong key changes nothing.
	if err := s.openKeys(ctx, file); err != nil {
		return err
	}
	if err := s.openStreams(ctx); err != nil {
		return err
	}
	if err := s.openAudit(ctx); err != nil {
		return err
	}
	if !cfg.offline {
		if err := s.keepConsumers(ctx, cfg.Auth.Callers); err != nil {
			return err
		}
	}
	return s.answerRollCalls()
}

func (s *session) connect(ctx context.Context) (err error) {
	state := connOptions("esignd-state", s.cfg.Logger)
	public := connOptions("esignd", s.cfg.Logger)
	where := "embedded server"
	if s.files, err = s.cfg.openTLS(); err != nil {
		return err
	}
	if s.cfg.URL == "" {
		if s.server, err = startServer(ctx, s.cfg, s.dir, s.files); err != nil {
			return err
		}
		dialState, err := s.server.dial(s.server.state)
		if err != nil {
			return err
		}
		dialPublic, err := s.server.dial(s.server.public)
		if err != nil {
			return err
		}
		state, public = append(state, dialState...), append(public, dialPublic...)
	} else {
		where = "external server (nats.url)"
		s.dir.warnOfStore(s.cfg.Logger)
		external, err := externalOptions(s.cfg, s.files)
		if err != nil {
			return err
		}
		state, public = append(state, external...), append(public, external...)
	}
	if s.state, s.js, err = connect(s.cfg.URL, state); err != nil {
		return fmt.Errorf("connect to the NATS %s: %w", where, err)
	}
	if s.public, s.publicJS, err = connect(s.cfg.URL, public); err != nil {
		return fmt.Errorf("connect to the NATS %s: %w", where, err)
	}
	return nil
}

func (s *session) openStreams(ctx context.Context) (err error) {
	// The events' stream comes first: its subjects tell an esignd with another prefix, and stop us.
	if s.events, err = s.ensureStream(ctx, s.publicJS, eventConfig(s.cfg.Prefix, s.cfg.Replicas)); err != nil {
		return err
	}
	if s.records, err = s.ensureStream(ctx, s.js, recordConfig(s.cfg.Replicas)); err != nil {
		return err
	}
	timers := timerConfig(s.cfg.Prefix, s.cfg.Replicas)
	if s.server != nil {
		timers = embeddedTimerConfig(s.cfg.Prefix)
	}
	s.timers, err = s.ensureStream(ctx, s.js, timers)
	return err
}

// openKeys reads the keyset and sees that it is the one that the records are sealed with. Where there is no keyset it
// makes one, unless there are records already.
func (s *session) openKeys(ctx context.Context, file *keyFile) error {
	found, err := s.samples(ctx)
	if err != nil {
		return err
	}
	s.keys = &keyring{file: file}
	err = s.keys.reload(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		if found.any {
			return fmt.Errorf("there is no keyset at %s, and there are records that were written with one: restore the file; "+
				"nothing was changed", file.path)
		}
		if err = file.generate(ctx); err == nil {
			err = s.keys.reload(ctx)
		}
	}
	if err != nil {
		return err
	}
	if file.wrap == nil {
		file.warnClear()
	}
	for _, b := range found.sealed {
		if s.keys.now.Load().knows(b) {
			return nil
		}
	}
	if len(found.sealed) > 0 {
		return fmt.Errorf("the keyset at %s is not the one that the records are sealed with: put the right one there; "+
			"nothing was changed", file.path)
	}
	return nil
}

// whileOpen returns a context that ends with ErrNotRunning when the session is closed, and what ends it earlier.
func (s *session) whileOpen(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-s.closing:
			cancel(ErrNotRunning)
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-done
	}
}

// deleteConsumer removes a consumer that was read. Where that fails the server does it after consumerInactive.
func (s *session) deleteConsumer(ctx context.Context, of jetstream.Stream, c jetstream.Consumer) {
	if !s.state.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), consumerCleanup) // who read has often ended by now
	defer cancel()
	_ = of.DeleteConsumer(ctx, c.CachedInfo().Name)
}

// close undoes what open did, in reverse, and waits for it.
func (s *session) close(ctx context.Context) error {
	close(s.closing)
	if s.observing != nil {
		_ = s.observing.Unregister() // it fails where it was not registered
	}
	var errs []error
	if s.audit != nil {
		s.audit.close()
	}
	for _, nc := range []*nats.Conn{s.public, s.state} {
		if nc != nil {
			errs = append(errs, drain(ctx, nc))
		}
	}
	var left error
	if s.server != nil {
		left = s.server.stop(ctx)
	}
	s.files.Close()
	if s.dir != nil && left == nil { // else the folder stays locked: the server has it open
		errs = append(errs, s.dir.close())
	}
	return errors.Join(append(errs, left)...)
}

// drain lets the connection finish what it is at, until ctx ends or drainTimeout is over, and closes it.
func drain(ctx context.Context, nc *nats.Conn) error {
	closed := nc.StatusChanged(nats.CLOSED)
	defer nc.RemoveStatusListener(closed)
	if err := nc.Drain(); err != nil {
		// It is being connected again, or closed already: there is nothing to finish.
		nc.Close()
		return nil
	}
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		nc.Close()
		return fmt.Errorf("drain the NATS connection %s: %w", nc.Opts.Name, ctx.Err())
	}
}
