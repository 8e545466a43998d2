package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/net/netutil"

	"github.com/esignd/esignd/bus/tlsfiles"
)

// The bounds of a listener. Writing has to outlast the end of a connect flow, in which a vendor is called.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = callbackTimeout + 10*time.Second
	idleTimeout       = time.Minute
	maxHeaderBytes    = 32 << 10
	maxConnections    = 2048
	closeTimeout      = 5 * time.Second
)

// listener is one of the two addresses, from Start to Close.
type listener struct {
	bound  net.Listener
	server *http.Server
	served chan struct{} // closed when serving has ended
}

// Start listens on both addresses and begins to answer. An error names the address, the setting and what to do, and
// then nothing listens. It is called once.
func (s *Server) Start(ctx context.Context) (err error) {
	if s.cfg.TLS != (tlsfiles.Files{}) {
		if s.files, err = tlsfiles.Open(tlsfiles.Config{Files: s.cfg.TLS, Setting: "http.tls", Logger: s.cfg.Logger}); err != nil {
			return err
		}
	}
	if err := s.listen(ctx); err != nil {
		s.files.Close()
		return err
	}
	return nil
}

func (s *Server) listen(ctx context.Context) error {
	public, err := bind(ctx, "http.listen", s.cfg.Listen)
	if err != nil {
		return err
	}
	admin, err := bind(ctx, "http.admin", s.cfg.Admin)
	if err == nil && admin != nil && !s.login && !isLoopback(admin.Addr()) {
		err = fmt.Errorf("http.admin: %s is not a loopback address on this machine; name 127.0.0.1", s.cfg.Admin)
		err = errors.Join(err, admin.Close())
	}
	if err != nil {
		if public != nil {
			err = errors.Join(err, public.Close())
		}
		return err
	}
	s.publicListener = s.serve(public, s.public, false)
	s.adminListener = s.serve(admin, s.admin, true)
	if admin != nil {
		address := admin.Addr().String()
		s.adminBound.Store(&address)
	}
	return nil
}

// bind listens on an address, or nowhere where it is empty.
func bind(ctx context.Context, setting, address string) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	bound, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: cannot listen on %s: %s: %w", setting, address, remedy(err), err)
	}
	return netutil.LimitListener(bound, maxConnections), nil
}

// remedy says what to do about an address that cannot be had.
func remedy(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "another process has it; stop that one, or choose a free port (0 takes any)"
	case errors.Is(err, syscall.EACCES):
		return "this user may not; choose a port above 1023"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "this machine has no such address; choose one that it has, such as 127.0.0.1"
	default:
		return "it has to be host:port"
	}
}

// serve answers what comes to an address. With clients it takes none without a certificate, where there are authorities.
func (s *Server) serve(bound net.Listener, handler http.Handler, clients bool) *listener {
	if bound == nil {
		return nil
	}
	if s.files != nil {
		bound = tls.NewListener(bound, s.files.Server(clients))
	}
	l := &listener{
		bound:  bound,
		served: make(chan struct{}),
		server: &http.Server{
			Handler:                      handler,
			DisableGeneralOptionsHandler: true, // what it answers has none of our headers
			ReadHeaderTimeout:            readHeaderTimeout,
			ReadTimeout:                  readTimeout,
			WriteTimeout:                 writeTimeout,
			IdleTimeout:                  idleTimeout,
			MaxHeaderBytes:               maxHeaderBytes,
			ErrorLog:                     slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
		},
	}
	go func() {
		defer close(l.served)
		if err := l.server.Serve(bound); !errors.Is(err, http.ErrServerClosed) {
			s.cfg.Logger.Error("a listener ended; nobody is answered there until esignd is restarted", "address", bound.Addr().String(), "error", err)
		}
	}()
	return l
}

// Close stops listening and waits for answers that are being made, until ctx ends and for 5 s at most; then it cuts
// them off.
func (s *Server) Close(ctx context.Context) error {
	s.adminBound.Store(nil)
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	defer s.files.Close()
	return errors.Join(s.publicListener.close(ctx), s.adminListener.close(ctx))
}

// ReloadTLS reads the files of TLS now rather than in a few seconds. Connections that are open stay as they are.
func (s *Server) ReloadTLS() { s.files.Reload() }

func (l *listener) close(ctx context.Context) error {
	if l == nil {
		return nil
	}
	err := l.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("finish answers on %s: %w", l.bound.Addr(), err), l.server.Close())
	}
	<-l.served
	return err
}

// PublicAddr returns where the public listener listens after Start, nil where it does not.
func (s *Server) PublicAddr() net.Addr { return s.publicListener.addr() }

// AdminAddr returns where the admin listener listens after Start, nil where it does not.
func (s *Server) AdminAddr() net.Addr { return s.adminListener.addr() }

func (l *listener) addr() net.Addr {
	if l == nil {
		return nil
	}
	return l.bound.Addr()
}

func isLoopback(addr net.Addr) bool {
	ap, err := netip.ParseAddrPort(addr.String())
	return err == nil && ap.Addr().Unmap().IsLoopback()
}
