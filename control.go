package esignd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"go.uber.org/fx"

	"github.com/esignd/esignd/bus"
	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/web"
	"github.com/esignd/esignd/web/control"
)

// newControl answers the commands that ask the daemon of this machine. It needs the bus, which holds the lock of data_dir.
func newControl(lc fx.Lifecycle, cfg checked, log *slog.Logger, b *bus.Bus, w *web.Server) (*control.Server, error) {
	s, err := control.New(control.Config{DataDir: cfg.DataDir, Handler: commands(b, w), Logger: log})
	if err != nil {
		return nil, err
	}
	lc.Append(fx.StartStopHook(s.Start, s.Close))
	return s, nil
}

// The paths of what commands ask.
const (
	pathKeyStatus  = "/keys/status"
	pathKeysRotate = "/keys/rotate"
	pathKeysDrop   = "/keys/drop"
)

// The paths of what is asked of the audit, which answer with entries, one a line.
const (
	pathAuditRead = "/audit/read"
	pathAuditFind = "/audit/find"
)

// auditToken asks for a token in the audit.
type auditToken struct {
	Token wire.Secret `json:"token"`
}

// pathBackup answers with a backup, as it is written to a file.
const pathBackup = "/backup"

// pathConsole answers with a link to the console.
const pathConsole = "/console"

type nothing struct{}

func commands(b *bus.Bus, w *web.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST "+pathKeyStatus, control.Handle(func(ctx context.Context, _ nothing) (bus.KeyStatus, error) {
		return b.KeyStatus(ctx)
	}))
	mux.Handle("POST "+pathKeysRotate, control.Handle(func(ctx context.Context, _ nothing) (bus.KeyStatus, error) {
		return audited(ctx, b, wire.AuditKeysRotate, func() (bus.KeyStatus, error) { return b.RotateKeys(ctx, nil) })
	}))
	mux.Handle("POST "+pathKeysDrop, control.Handle(func(ctx context.Context, _ nothing) (bus.KeyStatus, error) {
		return audited(ctx, b, wire.AuditKeysDrop, func() (bus.KeyStatus, error) { return b.DropKeys(ctx) })
	}))
	mux.Handle("POST "+pathBackup, control.Stream(func(ctx context.Context, _ nothing, w io.Writer) error { return b.Backup(ctx, w) }))
	mux.Handle("POST "+pathAuditRead, control.Stream(func(ctx context.Context, q bus.AuditQuery, w io.Writer) error {
		return b.Audit().Read(ctx, q, lines(w, q.Follow))
	}))
	mux.Handle("POST "+pathAuditFind, control.Stream(func(ctx context.Context, q auditToken, w io.Writer) error {
		return b.Audit().Find(ctx, q.Token.Secret, lines(w, false))
	}))
	mux.Handle("POST "+pathExamine, control.Handle(func(ctx context.Context, _ nothing) ([]bus.Finding, error) {
		return b.Examine(ctx)
	}))
	mux.Handle("POST "+pathConsole, control.Handle(func(context.Context, nothing) (web.ConsoleLink, error) {
		return w.ConsoleLink()
	}))
	return mux
}

// audited does what a command asks, with an entry in the audit.
func audited[Out any](ctx context.Context, b *bus.Bus, action wire.AuditAction, fn func() (Out, error)) (out Out, err error) {
	entry := wire.AuditEntry{Action: action, By: wire.AuditActor{Kind: wire.ActorCommand}}
	err = b.Audit().Do(ctx, entry, func(*wire.AuditEntry) (err error) {
		out, err = fn()
		return err
	})
	return out, err
}

// lines writes entries as JSON, one a line, and at once where somebody waits for each.
func lines(w io.Writer, atOnce bool) func(wire.AuditEntry) error {
	out, _ := w.(interface{ Flush() error })
	return func(e wire.AuditEntry) error {
		err := json.NewEncoder(w).Encode(e)
		if err == nil && atOnce && out != nil {
			err = out.Flush()
		}
		return err
	}
}

// AskKeyStatus asks the daemon that runs on a data_dir of this machine for its keys; so do AskKeysRotate, which rotates
// them, and AskKeysDrop, which removes the old ones. They do what the methods of bus.Bus do.
func AskKeyStatus(ctx context.Context, dataDir string) (bus.KeyStatus, error) {
	return control.Call[bus.KeyStatus](ctx, dataDir, pathKeyStatus, nothing{})
}

// AskKeysRotate is described at AskKeyStatus.
func AskKeysRotate(ctx context.Context, dataDir string) (bus.KeyStatus, error) {
	return control.Call[bus.KeyStatus](ctx, dataDir, pathKeysRotate, nothing{})
}

// AskKeysDrop is described at AskKeyStatus.
func AskKeysDrop(ctx context.Context, dataDir string) (bus.KeyStatus, error) {
	return control.Call[bus.KeyStatus](ctx, dataDir, pathKeysDrop, nothing{})
}

// AskConsoleLink asks the daemon that runs on a data_dir of this machine where its console is. Where that wants a session,
// the link begins one, once and within a minute.
func AskConsoleLink(ctx context.Context, dataDir string) (web.ConsoleLink, error) {
	return control.Call[web.ConsoleLink](ctx, dataDir, pathConsole, nothing{})
}

// AskAudit asks the daemon that runs on a data_dir of this machine for entries of its audit, and calls fn for each, oldest
// first. A query that follows ends with ctx.
func AskAudit(ctx context.Context, dataDir string, q bus.AuditQuery, fn func(wire.AuditEntry) error) error {
	return askAudit(ctx, dataDir, pathAuditRead, q, fn)
}

// AskAuditFind is AskAudit for the entries that tell of an access token.
func AskAuditFind(ctx context.Context, dataDir string, token core.Secret, fn func(wire.AuditEntry) error) error {
	return askAudit(ctx, dataDir, pathAuditFind, auditToken{Token: wire.Secret{Secret: token}}, fn)
}

func askAudit(ctx context.Context, dataDir, path string, ask any, fn func(wire.AuditEntry) error) error {
	back, pipe := io.Pipe()
	told := make(chan error, 1)
	go func() {
		err := readLines(back, fn)
		_ = back.CloseWithError(err) // never fails; who writes is not held up
		told <- err
	}()
	err := control.Copy(ctx, dataDir, path, ask, pipe)
	_ = pipe.Close()
	if terr := <-told; terr != nil {
		return terr
	}
	return err
}

func readLines(r io.Reader, fn func(wire.AuditEntry) error) error {
	in := json.NewDecoder(bufio.NewReader(r))
	for {
		var e wire.AuditEntry
		switch err := in.Decode(&e); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the audit: %w", err)
		}
		if err := fn(e); err != nil {
			return err
		}
	}
}
