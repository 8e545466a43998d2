package esignd

import (
	"context"
	"log/slog"
	"net/http"

	"go.uber.org/fx"

	"github.com/esignd/esignd/bus"
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
		return b.RotateKeys(ctx, nil)
	}))
	mux.Handle("POST "+pathKeysDrop, control.Handle(func(ctx context.Context, _ nothing) (bus.KeyStatus, error) {
		return b.DropKeys(ctx)
	}))
	mux.Handle("POST "+pathExamine, control.Handle(func(ctx context.Context, _ nothing) ([]bus.Finding, error) {
		return b.Examine(ctx)
	}))
	mux.Handle("POST "+pathConsole, control.Handle(func(context.Context, nothing) (web.ConsoleLink, error) {
		return w.ConsoleLink()
	}))
	mux.Handle("POST "+pathBackup, control.Stream(b.Backup))
	return mux
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
