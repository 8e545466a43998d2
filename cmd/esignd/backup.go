package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/esignd/esignd"
	"github.com/esignd/esignd/bus"
	"github.com/esignd/esignd/core"
)

type backupCommand struct {
	Config string `required:"" type:"existingfile" placeholder:"FILE" help:"The configuration."`
	Out    string `placeholder:"FILE" help:"Where to; - is standard output. Default: a new file here, named by the time."`
}

// Run writes the backup. What is told of it goes to standard error: the backup may be on standard output.
func (c backupCommand) Run(ctx context.Context, s streams) error {
	cfg, err := esignd.LoadStoreConfig(c.Config, os.Environ())
	if err != nil {
		return err
	}
	name := cmp.Or(c.Out, "esignd-"+time.Now().UTC().Format("20060102T150405Z")+".backup")
	info, err := c.write(ctx, cfg, name, s)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(s.err, "%d records, %d of them grants, of esignd %s at %s\n", info.Records, info.Grants, info.Owner, info.Time.Format(time.RFC3339))
	if name != "-" {
		_, _ = fmt.Fprintf(s.err, "are in %s, sealed.\n", name)
	}
	for _, key := range info.Unreadable {
		_, _ = fmt.Fprintf(s.err, "warning: record %s cannot be read and is not in the backup\n", key)
	}
	_, err = fmt.Fprintf(s.err, "The keyset is NOT in the backup, and without it nothing can be restored. Keep a copy elsewhere of\n  %s\n%s",
		cmp.Or(cfg.Keys.Keyset, filepath.Join(cfg.DataDir, "keyset.json")), wrapHint(cfg))
	return err
}

func wrapHint(cfg esignd.Config) string {
	if cfg.Keys.Wrap.IsZero() {
		return ""
	}
	return "and of the key that wraps it (keys.wrap).\n"
}

// write writes the backup to standard output, or to a file of that name, which is there only when it is whole.
func (c backupCommand) write(ctx context.Context, cfg esignd.Config, name string, s streams) (bus.BackupInfo, error) {
	if name == "-" {
		if isTerminal(s.out) {
			return bus.BackupInfo{}, errors.New("standard output is a terminal; send it to a file, or name one with --out")
		}
		return esignd.Backup(ctx, cfg, s.out, quietLog(s))
	}
	if _, err := os.Stat(name); err == nil {
		return bus.BackupInfo{}, fmt.Errorf("%s exists; name another file", name)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".esignd-backup-*") // 0600
	if err != nil {
		return bus.BackupInfo{}, fmt.Errorf("write the backup: %w", err)
	}
	info, err := esignd.Backup(ctx, cfg, f, quietLog(s))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return info, errors.Join(err, os.Remove(f.Name()))
	}
	return info, nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// quietLog tells of a store that a command opens what goes wrong with it.
func quietLog(s streams) *slog.Logger {
	return slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: slog.LevelError}))
}

type restoreCommand struct {
	Config string `required:"" type:"existingfile" placeholder:"FILE" help:"The configuration."`
	DryRun bool   `help:"Say what would become of each record, and write none."`
	Backup string `arg:"" type:"existingfile" placeholder:"BACKUP" help:"The file that esignd backup wrote."`
}

func (c restoreCommand) Run(ctx context.Context, s streams) (err error) {
	cfg, err := esignd.LoadStoreConfig(c.Config, os.Environ())
	if err != nil {
		return err
	}
	f, err := os.Open(c.Backup)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := restoreSummary{}
	info, err := esignd.Restore(ctx, cfg, f, c.DryRun, quietLog(s), sum.add)
	if err != nil && len(sum) == 0 {
		return fmt.Errorf("%s: %w", c.Backup, err)
	}
	return errors.Join(err, c.tell(s, info, sum))
}

// restoreSummary holds the keys of the records by what became of them and why.
type restoreSummary map[[2]string][]string

func (r restoreSummary) add(one core.Restoration) {
	row := [2]string{string(one.Result), one.Why}
	r[row] = append(r[row], one.Key)
}

// mostNamed is how many records of a row are named.
const mostNamed = 3

func (c restoreCommand) tell(s streams, info bus.BackupInfo, sum restoreSummary) error {
	_, _ = fmt.Fprintf(s.out, "backup of %s, of esignd %s: %d records, %d of them grants\n", info.Time.Format(time.RFC3339), info.Owner, info.Records, info.Grants)
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "RESULT\tRECORDS\tWHY\tWHICH")
	order := []string{string(core.Restored), string(core.Kept), string(core.Skipped)}
	for _, row := range slices.SortedFunc(maps.Keys(sum), func(a, b [2]string) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a[0]), slices.Index(order, b[0])), cmp.Compare(a[1], b[1]))
	}) {
		keys := sum[row]
		which := keys[0]
		for _, key := range keys[1:min(len(keys), mostNamed)] {
			which += " " + key
		}
		if more := len(keys) - mostNamed; more > 0 {
			which += fmt.Sprintf(" and %d more", more)
		}
		_, _ = fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", row[0], len(keys), orDash(row[1]), which)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if c.DryRun {
		_, err := fmt.Fprintln(s.out, "This was a dry run: no record was written.")
		return err
	}
	return nil
}
