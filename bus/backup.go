package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// offline returns cfg for a process that opens the store and serves nobody, and the keyset, which must be there.
func offline(ctx context.Context, cfg Config) (Config, *sealer, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return cfg, nil, err
	}
	cfg.offline = true
	file, err := newKeyFile(cfg.Keys, cfg.DataDir, cfg.Logger)
	if err != nil {
		return cfg, nil, err
	}
	k, _, _, err := file.load(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return cfg, nil, fmt.Errorf("there is no keyset at %s: a backup is sealed with the keyset of the esignd that it is of, and "+
			"opens with no other", file.path)
	}
	if err != nil {
		return cfg, nil, err
	}
	keys, err := k.sealer()
	return cfg, keys, err
}

// CheckBackup reads a backup to its end and tells what it is. With nil it is whole, and the keyset of cfg opens it.
func CheckBackup(ctx context.Context, cfg Config, r io.Reader) (BackupInfo, error) {
	_, keys, err := offline(ctx, cfg)
	if err != nil {
		return BackupInfo{}, err
	}
	return keys.readBackup(r, func(core.Record) error { return nil })
}

// BackupStopped is Bus.Backup of the store that cfg describes, where no esignd runs on the data_dir: else it is ErrInUse.
func BackupStopped(ctx context.Context, cfg Config, w io.Writer) error {
	cfg, _, err := offline(ctx, cfg)
	if err != nil {
		return err
	}
	b, err := Open(ctx, cfg)
	if err != nil {
		return err
	}
	err = b.Backup(ctx, w)
	return errors.Join(err, b.Close(context.WithoutCancel(ctx)))
}

// Backup writes a backup of every record to w, sealed with the keyset, which is not in it. After an error what was written
// is not a backup, and is found not to be one.
func (b *Bus) Backup(ctx context.Context, w io.Writer) error {
	return b.Audit().Do(ctx, commandEntry(wire.AuditBackup), func(*wire.AuditEntry) error { return b.backup(ctx, w) })
}

func commandEntry(action wire.AuditAction) wire.AuditEntry {
	return wire.AuditEntry{Action: action, By: wire.AuditActor{Kind: wire.ActorCommand}}
}

func (b *Bus) backup(ctx context.Context, w io.Writer) error {
	s, err := b.opened()
	if err != nil {
		return err
	}
	now, err := b.Store().Now(ctx)
	if err != nil {
		return err
	}
	out, err := s.keys.now.Load().newBackup(w, backupHeader{Time: now.UTC().Truncate(time.Millisecond), Owner: s.dir.owner})
	if err != nil {
		return fmt.Errorf("begin the backup: %w", err)
	}
	unreadable, err := core.Snapshot(ctx, b.Store(), out.add)
	if err != nil {
		return fmt.Errorf("back up the records: %w", err)
	}
	if err := out.close(unreadable); err != nil {
		return fmt.Errorf("end the backup: %w", err)
	}
	return nil
}

// Restore puts the records of a backup into the store that cfg describes, and calls fn with what became of each. The whole
// file is read and checked first: after an error from that, nothing was written. No esignd may hold the data_dir; others
// may be at an external server's records.
func Restore(ctx context.Context, cfg Config, file io.ReadSeeker, dryRun bool, fn func(core.Restoration)) (BackupInfo, error) {
	cfg, keys, err := offline(ctx, cfg)
	if err != nil {
		return BackupInfo{}, err
	}
	info, err := keys.readBackup(file, func(core.Record) error { return nil })
	if err != nil {
		return info, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return info, fmt.Errorf("read the backup: %w", err)
	}
	b, err := Open(ctx, cfg)
	if errors.Is(err, ErrInUse) {
		return info, fmt.Errorf("a backup is restored while esignd is stopped: %w", err)
	}
	if err != nil {
		return info, err
	}
	err = b.Audit().Do(ctx, commandEntry(wire.AuditRestore), func(*wire.AuditEntry) error { return b.restore(ctx, keys, file, dryRun, fn) })
	return info, errors.Join(err, b.Close(context.WithoutCancel(ctx)))
}

func (b *Bus) restore(ctx context.Context, keys *sealer, file io.Reader, dryRun bool, fn func(core.Restoration)) error {
	r := core.Restorer{Store: b.Store(), Publisher: b.Publisher(), DryRun: dryRun}
	_, err := keys.readBackup(file, func(rec core.Record) error {
		done, err := r.Restore(ctx, rec)
		if err != nil {
			return fmt.Errorf("restore record %s (run it again: what is restored is not restored twice): %w", rec.Key, err)
		}
		fn(done)
		return nil
	})
	return err
}
