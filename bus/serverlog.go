package bus

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/nats-io/nats-server/v2/server"
)

// serverLog hands the embedded server's log to slog. The server's own way with a fatal error is to end the process;
// here it is kept for the one who starts the server.
type serverLog struct {
	log   *slog.Logger
	fatal atomic.Pointer[string]
}

var _ server.Logger = (*serverLog)(nil)

func (l *serverLog) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *serverLog) Errorf(format string, v ...any)  { l.log.Error(fmt.Sprintf(format, v...)) }

// plaintext is the server's remark about any user without a hashed password, which the user for anonymous programs is.
const plaintext = "Plaintext passwords detected"

func (l *serverLog) Warnf(format string, v ...any) {
	if strings.HasPrefix(format, plaintext) {
		return
	}
	l.log.Warn(fmt.Sprintf(format, v...))
}

func (l *serverLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.fatal.CompareAndSwap(nil, &text)
	l.log.Error(text)
}

// Debugf and Tracef say nothing: the server is started without its debug and trace logs, which hold message payloads.
func (l *serverLog) Debugf(string, ...any) {}

// Tracef says nothing, as Debugf.
func (l *serverLog) Tracef(string, ...any) {}
