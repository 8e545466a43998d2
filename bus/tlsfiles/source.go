package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultEvery is how often files are looked at.
const DefaultEvery = 10 * time.Second

// Config is what a Source is made of. Files are required.
type Config struct {
	Files Files
	// Setting is where the files are named, such as nats.tls, for errors and the log.
	Setting string
	// Every is how often the files are looked at. 0: DefaultEvery.
	Every time.Duration
	// Logger is told of new certificates, of files that are not used, and of a certificate that is about to end. nil:
	// slog.Default.
	Logger *slog.Logger
}

// Source is what the files held when they were last in order. Its methods may be called concurrently.
type Source struct {
	cfg Config
	now atomic.Pointer[material]

	mu   sync.Mutex // held while files are read; guards told
	told string     // what was last reported

	stopping sync.Once
	stop     chan struct{}
	done     chan struct{}
}

// Open reads the files, and goes on looking at them until Close. A certificate whose time is over, or has not come, is
// reported and taken: what it is for may be more than those who refuse it.
func Open(cfg Config) (*Source, error) {
	if cfg.Every == 0 {
		cfg.Every = DefaultEvery
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	m, err := read(cfg.Setting, cfg.Files)
	if err != nil {
		return nil, err
	}
	s := &Source{cfg: cfg, stop: make(chan struct{}), done: make(chan struct{})}
	s.now.Store(m)
	for _, w := range access(cfg.Setting, cfg.Files) {
		cfg.Logger.Warn("a TLS file is open to others; close it to all but esignd's user", "setting", cfg.Setting, "found", w)
	}
	s.report(m, m.current(cfg.Setting, time.Now()))
	go s.watch()
	return s, nil
}

// watch looks at the files until Close.
func (s *Source) watch() {
	defer close(s.done)
	ticker := time.NewTicker(s.cfg.Every)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
			s.Reload()
		}
	}
}

// Close ends the looking, and waits for it. What was read last goes on being used. A nil Source has nothing to close.
func (s *Source) Close() {
	if s == nil {
		return
	}
	s.stopping.Do(func() { close(s.stop) })
	<-s.done
}

// Reload reads the files now. What it finds wrong is reported, and then what was read before goes on being used. A nil
// Source has no files.
func (s *Source) Reload() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before, now := s.now.Load(), time.Now()
	next, err := read(s.cfg.Setting, s.cfg.Files)
	if err != nil {
		s.report(before, err)
		return
	}
	err = next.current(s.cfg.Setting, now)
	// One that is not valid is as good as one that is not valid any more.
	if next.sum != before.sum && (err == nil || before.current(s.cfg.Setting, now) != nil) {
		s.now.Store(next)
		s.tellNew(next)
	}
	s.report(s.now.Load(), err)
}

func (s *Source) tellNew(m *material) {
	attrs := []any{"setting", s.cfg.Setting}
	if m.cert != nil {
		attrs = append(attrs, "subject", m.cert.Leaf.Subject.String(), "until", m.cert.Leaf.NotAfter.UTC())
	}
	s.cfg.Logger.Info("TLS files were read again; new connections use them", attrs...)
}

// report tells what is wrong, or soon will be, once.
func (s *Source) report(inUse *material, err error) {
	text := inUse.ending(s.cfg.Setting, time.Now())
	if err != nil {
		text = err.Error()
	}
	if text == s.told {
		return
	}
	s.told = text
	switch {
	case err != nil:
		s.cfg.Logger.Error("TLS files are not in order; esignd goes on with what it has read", "error", err)
	case text != "":
		s.cfg.Logger.Warn("a certificate is not valid for long; put its successor in its files, which are read again by themselves",
			"setting", s.cfg.Setting, "found", text)
	}
}

// Server returns the configuration of a listener that shows the certificate as it is at each handshake. With clients it
// asks for a certificate that the authorities signed, where there are any.
func (s *Source) Server(clients bool) *tls.Config {
	cfg := s.now.Load().server(clients)
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.now.Load().server(clients), nil }
	return cfg
}

// Client returns the configuration of one connection that is made now: with the authorities, or where none are named those
// of the system, and with the certificate, where there is one.
func (s *Source) Client() *tls.Config {
	m := s.now.Load()
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: m.pool}
	if m.cert != nil {
		cfg.Certificates = []tls.Certificate{*m.cert}
	}
	return cfg
}

// Certificate reads the files again and returns the certificate, for a client that connects. There has to be one.
func (s *Source) Certificate() (tls.Certificate, error) {
	s.Reload()
	return *s.now.Load().cert, nil
}

// Roots reads the files again and returns the authorities, for a client that connects; nil stands for those of the system.
func (s *Source) Roots() (*x509.CertPool, error) {
	s.Reload()
	return s.now.Load().pool, nil
}
