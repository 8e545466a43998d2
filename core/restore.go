package core

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// snapshotStall is for how long a store may be silent before a snapshot gives up.
const snapshotStall = 30 * time.Second

// Snapshot calls fn with each record that belongs in a backup, once: grants, clients and keys. Tickets and the claims of
// imports are over before a backup is of use. It returns the keys of the records that cannot be read. The records are those
// of one moment, but for writes while Snapshot runs: each record is whole, and two may be of different moments.
func Snapshot(ctx context.Context, store Store, fn func(Record) error) (unreadable []string, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(snapshotStall, func() { cancel(errors.New("the store does not answer")) })
	defer stall.Stop()
	done := errors.New("done")
	told := map[string]bool{}
	werr := store.Watch(ctx, func(u Update) {
		stall.Stop() // fn may take its time
		defer stall.Reset(snapshotStall)
		key := u.Record.Key
		switch {
		case ctx.Err() != nil:
		case u.Synced:
			cancel(done)
		case key == "" || u.Deleted || told[key] || strings.HasPrefix(key, kindTicket) || strings.HasPrefix(key, kindImport):
		case u.Err != nil:
			told[key] = true
			unreadable = append(unreadable, key)
		default:
			told[key] = true
			if err := fn(u.Record); err != nil {
				cancel(err)
			}
		}
	})
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, done):
		return unreadable, nil
	case cause != nil:
		return unreadable, cause
	case werr != nil:
		return unreadable, werr
	default:
		return unreadable, errors.New("the watch of the store ended before it had told every record")
	}
}

// RestoreResult says what became of a record of a backup.
type RestoreResult string

// What becomes of a record of a backup.
const (
	// Restored: it is in the store now.
	Restored RestoreResult = "restored"
	// Kept: what is in the store is as new, or newer.
	Kept RestoreResult = "kept"
	// Skipped: it cannot be restored.
	Skipped RestoreResult = "skipped"
)

// Restoration is what became of one record of a backup, and why where it was not restored as it is.
type Restoration struct {
	Key    string
	Result RestoreResult
	Why    string
}

// Restorer puts the records of a backup into a store. Nothing newer is overwritten, by compare-and-set, so that the
// store may be in use. A grant's live access token goes on being served; its refresh token, which may have been presented
// after the backup, is presented once more at most, whatever the vendor.
type Restorer struct {
	Store Store
	// Publisher tells what has become of a grant since.
	Publisher Publisher
	// DryRun leaves the store as it is; the answers are the same.
	DryRun bool
}

// Restore restores one record, of which Key, Public, Secret and Time are those of the backup. An error says that the
// store or the publisher failed.
func (r Restorer) Restore(ctx context.Context, rec Record) (Restoration, error) {
	out := Restoration{Key: rec.Key}
	for {
		var next Record
		var err error
		if next, out.Result, out.Why, err = r.decide(ctx, rec); err != nil || out.Result != Restored || r.DryRun {
			return out, err
		}
		_, err = r.Store.Put(ctx, next)
		if !errors.Is(err, ErrConflict) {
			return out, err
		}
	}
}

// decide returns what is to be written for a record, where it is to be restored.
func (r Restorer) decide(ctx context.Context, rec Record) (next Record, result RestoreResult, why string, err error) {
	there, err := r.Store.Get(ctx, rec.Key)
	damaged := errors.Is(err, ErrDamaged) && !errors.Is(err, ErrLaterFormat)
	exists := err == nil
	switch {
	case errors.Is(err, ErrLaterFormat):
		return Record{}, Kept, "the store has one of a later format; run a newer esignd", nil
	case !exists && !damaged && !errors.Is(err, ErrNoRecord):
		return Record{}, "", "", err
	case strings.HasPrefix(rec.Key, kindGrant):
		return r.decideGrant(ctx, rec, there, exists)
	case !strings.HasPrefix(rec.Key, kindClient) && !strings.HasPrefix(rec.Key, kindKey):
		return Record{}, Skipped, "this esignd does not know such records", nil
	case exists:
		return Record{}, Kept, "the store has one", nil
	}
	if strings.HasPrefix(rec.Key, kindClient) {
		if _, err := decodeClient(rec); err != nil {
			return Record{}, Skipped, err.Error(), nil
		}
	}
	rec.Revision = there.Revision
	return rec, Restored, "", nil
}

func (r Restorer) decideGrant(ctx context.Context, rec, there Record, exists bool) (Record, RestoreResult, string, error) {
	g, err := decodeGrant(rec)
	if err != nil {
		return Record{}, Skipped, err.Error(), nil
	}
	if exists {
		have, err := decodeGrant(there)
		if err != nil {
			return Record{}, Skipped, "what is in the store cannot be read: " + err.Error(), nil
		}
		if why := have.newerThan(g); why != "" {
			return Record{}, Kept, why, nil
		}
	}
	why, err := r.bringForward(ctx, g)
	if err != nil {
		return Record{}, "", "", err
	}
	g.revision = there.Revision
	next, err := g.record()
	return next, Restored, why, err
}

// newerThan returns why the grant in the store is kept and the one of a backup, old, is not restored; "" where it is.
func (g *grant) newerThan(old *grant) string {
	switch {
	case g.Generation >= old.Generation && g.Forgotten:
		return "forgotten since"
	case g.Ends > old.Ends:
		return "revoked since"
	case g.Consent != "" && g.Consent != old.Consent:
		return "another consent is there"
	case g.Generation > old.Generation:
		return "the store has a later generation"
	case g.Generation == old.Generation:
		return "the store has this generation"
	}
	return ""
}

// bringForward makes a grant of a backup what it may be now, and returns what is to be told of that.
func (r Restorer) bringForward(ctx context.Context, g *grant) (string, error) {
	now, err := r.Store.Now(ctx)
	if err != nil {
		return "", err
	}
	g.Age += max(0, now.Sub(g.time))
	var last Event
	if !g.Forgotten {
		if last, err = r.Publisher.Last(ctx, Event{Tenant: g.Tenant, Client: g.Client, Vendor: g.Vendor, Grant: g.ID}); err != nil {
			return "", fmt.Errorf("look at the last event about grant %s: %w", g.ID, err)
		}
	}
	was := g.State
	if err := g.fromPast(last); err != nil {
		return "", err
	}
	switch {
	case g.State != was:
		return "as " + string(g.State) + ": it ended after the backup", nil
	case g.Restored:
		return "with " + string(WarnOutcomeUnknown), nil
	}
	return "", nil
}
