package core

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Errors of a Store, matched with errors.Is.
var (
	// ErrNoRecord is returned by Get where the key has no record.
	ErrNoRecord = errors.New("core: no such record")
	// ErrConflict is returned by Put and Delete where the record's revision is not the one given. The caller
	// reads again and decides anew.
	ErrConflict = errors.New("core: the record was changed by another")
	// ErrDamaged is returned by Get where the record cannot be read or unsealed, with its Key and Revision. It is kept as
	// it is.
	ErrDamaged = errors.New("core: the record is damaged or sealed with another key")
	// ErrLaterFormat is an ErrDamaged of a record that a later release wrote. Restoring a backup does not replace it.
	ErrLaterFormat = fmt.Errorf("core: the record is of a later format: %w", ErrDamaged)
)

// Record is one entry of a Store.
type Record struct {
	// Key is a kind, a dot, and an id: characters A-Z a-z 0-9 _ - and dots.
	Key string
	// Public is JSON that may be read by whoever can read the store. It is authenticated where Secret is sealed.
	Public []byte
	// Secret is sealed at rest, bound to Key and Public. Empty: there is none.
	Secret []byte
	// TTL, on Put, is after how long the store may drop the record. Zero: never.
	TTL time.Duration

	// Revision is the store's: it grows with each write of any record. Zero means that there is no record yet.
	Revision uint64
	// Time is when the store wrote this revision, by the store's clock. Put does not read it.
	Time time.Time
}

// Update is one call of a watch.
type Update struct {
	// Record is set where Key is; with Deleted it has only Key and Revision.
	Record  Record
	Deleted bool
	// Err says that the record under Record.Key could not be read (ErrDamaged).
	Err error
	// Live says that the write happened while this watch was running, not before it.
	Live bool
	// Synced is set once, without a record, when every record there was at the start has been told.
	Synced bool
}

// Store keeps records durably and lets several Managers write them by compare-and-set. Implementations pass the
// suite in core/storetest. Methods may be called concurrently.
type Store interface {
	// Get returns the record as the store's leader has it now: never an older one than was acknowledged.
	Get(ctx context.Context, key string) (Record, error)
	// Put writes r if the key's revision is r.Revision, which is 0 for a key that has no record, and returns the
	// new revision. A nil error means that the record is durable. ErrConflict means that it was not written; any
	// other error, that it may have been: the caller reads to find out.
	Put(ctx context.Context, r Record) (revision uint64, err error)
	// Delete removes the record if its revision is the one given.
	Delete(ctx context.Context, key string, revision uint64) error
	// Watch calls fn for the newest revision of every record, then with Synced, then for every later write, in
	// order and one at a time, until ctx ends. It resumes by itself. While the store answers, fn is called at least
	// every second, with an empty Update where there is nothing to tell: silence means that what was told may be
	// out of date.
	Watch(ctx context.Context, fn func(Update)) error
	// Now returns the store's clock, by which Record.Time is written.
	Now(ctx context.Context) (time.Time, error)
}

// Spool keeps what could not be written to the Store, on this machine, until it can. What Put accepted survives a
// crash. Records in it are sealed like the Store's.
type Spool interface {
	// Put keeps r under r.Key, replacing what was there.
	Put(r Record) error
	// All returns what is kept. A file that cannot be read is left in place and told by the error, which comes
	// together with the rest.
	All() ([]Record, error)
	// Remove drops what is kept under key.
	Remove(key string) error
}
