package esignd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/esignd/esignd/bus"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/web/control"
)

// Backup writes a backup of every record of the daemon that cfg describes to w, sealed with its keyset, which is not in
// it. A daemon that runs on this data_dir is asked for it, and goes on serving; else the store is opened. With nil the
// backup was read back whole. Of cfg it needs what LoadStoreConfig reads.
func Backup(ctx context.Context, cfg Config, w io.Writer, log *slog.Logger) (bus.BackupInfo, error) {
	c := cfg.bus(log)
	back, pipe := io.Pipe()
	var info bus.BackupInfo
	checked := make(chan error, 1)
	go func() {
		var err error
		info, err = bus.CheckBackup(ctx, c, back)
		_ = back.CloseWithError(err) // never fails; who writes is not held up
		checked <- err
	}()
	err := writeBackup(ctx, c, io.MultiWriter(pipe, w))
	_ = pipe.CloseWithError(err)
	if cerr := <-checked; err == nil || errors.Is(err, cerr) {
		err = cerr
	}
	if err != nil {
		return bus.BackupInfo{}, fmt.Errorf("backup: %w", err)
	}
	return info, nil
}

func writeBackup(ctx context.Context, c bus.Config, w io.Writer) error {
	err := bus.BackupStopped(ctx, c, w)
	if errors.Is(err, bus.ErrInUse) {
		return control.Copy(ctx, c.DataDir, pathBackup, nothing{}, w)
	}
	return err
}

// Grow moves the records of the stopped daemon that from describes, with the embedded server, to the external server of
// to: see bus.Growth. Of both it needs what LoadStoreConfig reads.
func Grow(ctx context.Context, from, to Config, leaf string, log *slog.Logger, tell func(string)) error {
	if err := (bus.Growth{From: from.bus(log), To: to.bus(log), Leaf: leaf, Tell: tell}).Run(ctx); err != nil {
		return fmt.Errorf("grow: %w", err)
	}
	return nil
}

// Restore puts the records of a backup where the configuration says, and calls fn with what became of each. Nothing newer
// is overwritten; with dryRun no record is written. No daemon may run on this data_dir. Where the file is not a whole
// backup that the keyset opens, nothing is written. Of cfg it needs what LoadStoreConfig reads.
func Restore(ctx context.Context, cfg Config, file io.ReadSeeker, dryRun bool, log *slog.Logger, fn func(core.Restoration)) (bus.BackupInfo, error) {
	info, err := bus.Restore(ctx, cfg.bus(log), file, dryRun, fn)
	if err != nil {
		return info, fmt.Errorf("restore: %w", err)
	}
	return info, nil
}
