package esignd

import (
	"context"
	"log/slog"
	"net/http"

	"go.uber.org/fx"

	"github.com/esignd/esignd/bus"
	"github.com/esignd/esignd/web/control"
)

// newControl answers the commands that ask the daemon of this machine. It needs the bus, which holds the lock of data_dir.
func newControl(lc fx.Lifecycle, cfg checked, log *slog.Logger, b *bus.Bus) (*control.Server, error) {
	s, err := control.New(control.Config{DataDir: cfg.DataDir, Handler: commands(b), Logger: log})
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

type nothing struct{}

func commands(b *bus.Bus) http.Handler {
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
