package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/bus/creds"
	"github.com/esignd/esignd/bus/tlsfiles"
)

const (
	connectTimeout = 5 * time.Second
	requestTimeout = 5 * time.Second
	lastRequest    = 8 * requestTimeout // of those that are made again
	drainTimeout   = 5 * time.Second
	pingInterval   = 10 * time.Second

	// apiLevel is the JetStream API level that message schedules are dependable from: that of nats-server 2.14.
	apiLevel = 4
)

// connOptions are the options of every connection. name is what operators see in the server's list of connections.
func connOptions(name string, log *slog.Logger) []nats.Option {
	log = log.With("component", "nats", "connection", name)
	return []nats.Option{
		nats.Name(name),
		nats.Timeout(connectTimeout),
		nats.DrainTimeout(drainTimeout),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(2),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(500 * time.Millisecond),
		nats.ReconnectJitter(500*time.Millisecond, time.Second),
		// Nothing waits in memory for a reconnect: a write that comes late could undo what another replica did meanwhile.
		nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("lost the connection to NATS; nothing is refreshed until it is there again, and esignd goes on connecting", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info("connected to NATS again", "server", nc.ConnectedServerName())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if sub != nil {
				log.Warn("NATS reports an error; esignd goes on with the connection, or makes it again", "error", err, "subject", sub.Subject)
				return
			}
			log.Warn("NATS reports an error; esignd goes on with the connection, or makes it again", "error", err)
		}),
	}
}

// connect opens a connection and its JetStream context. The error does not hold the URL, in which there may be a
// password.
func connect(url string, opts []nats.Option) (*nats.Conn, jetstream.JetStream, error) {
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(requestTimeout))
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return nc, js, nil
}

// externalOptions are those by which we prove who we are to an external server, and it to us.
func externalOptions(cfg Config, files *tlsfiles.Source) ([]nats.Option, error) {
	opts := tlsOptions(cfg.TLS, files)
	if cfg.Credentials != "" {
		c, err := creds.Read(cfg.Credentials)
		if err != nil {
			return nil, fmt.Errorf("nats.credentials: %w", err)
		}
		opts = append(opts, c.Options()...)
	}
	return opts, nil
}

// tlsOptions have each connection, and each one that takes its place, use the files as they are then. files is nil where
// none are named.
func tlsOptions(named tlsfiles.Files, files *tlsfiles.Source) []nats.Option {
	if files == nil {
		return nil
	}
	var certificate nats.TLSCertHandler
	if named.Cert != "" {
		certificate = files.Certificate
	}
	return []nats.Option{nats.ClientTLSConfig(certificate, files.Roots)}
}

// insist makes a request of the start, or some, and makes them again where no answer came in time: a server that has just joined
// its cluster may lose one. Each time has longer than the one before, so that a slow answer comes in one of them; the fourth is the
// last, also where ctx has no end. stream is what they are about, for the operator who waits.
func insist[T any](ctx context.Context, log *slog.Logger, stream string, request func(context.Context) (T, error)) (T, error) {
	for within := requestTimeout; ; within *= 2 {
		attempt, cancel := context.WithTimeout(ctx, within)
		answer, err := request(attempt)
		cancel()
		if err == nil || !isTimeout(err) || ctx.Err() != nil || within == lastRequest {
			return answer, err
		}
		log.WarnContext(ctx, "NATS did not answer in time about a stream; esignd asks again, and waits longer", "stream", stream, "waited", within)
	}
}

// checkJetStream returns an error that says what to do where the server cannot hold our streams.
func checkJetStream(ctx context.Context, nc *nats.Conn, js jetstream.JetStream) error {
	// A user without permission gets no answer at all.
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	info, err := js.AccountInfo(ctx)
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return fmt.Errorf("the NATS server %s has JetStream off for this account: turn it on (jetstream: enabled)",
			nc.ConnectedServerName())
	}
	if isTimeout(err) {
		return fmt.Errorf("the NATS server %s does not answer on $JS.API.INFO: give this user permission for $JS.API.> "+
			"and see that JetStream has a leader: %w", nc.ConnectedServerName(), err)
	}
	if err != nil {
		return fmt.Errorf("ask the NATS server for JetStream: %w", err)
	}
	if info.API.Level < apiLevel {
		return fmt.Errorf("the NATS server %s is version %s (JetStream API level %d): esignd needs 2.14 or later (level %d)",
			nc.ConnectedServerName(), nc.ConnectedServerVersion(), info.API.Level, apiLevel)
	}
	return nil
}

// isTimeout reports whether there was no answer in time.
func isTimeout(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout)
}
