// Package boltstore is a core.Store in one file of bbolt, for a program that keeps its own state there too. It passes the
// suite of core/storetest.
//
// What Put acknowledged is on the disk: bbolt syncs each commit. Secrets are sealed with AES-256-GCM, bound to the record's
// key and its public part. One process has the file open at a time; several that share grants need a store that they share.
package boltstore

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/esignd/esignd/core"
)

var bucket = []byte("esignd")

// heartbeat is how often a watch hears that nothing happened.
const heartbeat = 500 * time.Millisecond

// Store implements core.Store.
type Store struct {
	db      *bbolt.DB
	aead    cipher.AEAD
	watches watches
	// inOrder is held from a write until it is told. bbolt writes one at a time too, but lets the next begin before.
	inOrder sync.Mutex
}

// New returns a Store in a database, which stays the caller's, who closes it afterwards. The key has 32 bytes; whoever has
// it reads the tokens, and without it they are lost.
func New(db *bbolt.DB, key []byte) (*Store, error) {
	if len(key) != 32 {
		return nil, fmt.Errorf("boltstore: the key has %d bytes, and 32 are wanted", len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("boltstore: %w", err)
	}
	s := &Store{db: db}
	if s.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return nil, fmt.Errorf("boltstore: %w", err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("boltstore: make the bucket: %w", err)
	}
	return s, nil
}

// stored is a record as it is in the file.
type stored struct {
	Public   []byte        `json:"public"`
	Sealed   []byte        `json:"sealed,omitempty"`
	TTL      time.Duration `json:"ttl,omitempty"`
	Revision uint64        `json:"revision"`
	Time     time.Time     `json:"time"`
}

func (r stored) over() bool { return r.TTL > 0 && time.Since(r.Time) >= r.TTL }

// Get implements core.Store.
func (s *Store) Get(ctx context.Context, key string) (core.Record, error) {
	if err := ctx.Err(); err != nil {
		return core.Record{}, err
	}
	var r stored
	err := s.db.View(func(tx *bbolt.Tx) (err error) {
		r, err = read(tx, key)
		return err
	})
	switch {
	case err != nil:
		return core.Record{Key: key}, err
	case r.Revision == 0 || r.over():
		return core.Record{}, core.ErrNoRecord
	}
	return s.open(key, r)
}

// read returns what is under a key; without a revision where nothing is.
func read(tx *bbolt.Tx, key string) (r stored, err error) {
	text := tx.Bucket(bucket).Get([]byte(key))
	if text == nil {
		return r, nil
	}
	if json.Unmarshal(text, &r) != nil || r.Revision == 0 {
		return r, fmt.Errorf("boltstore: record %s: %w", key, core.ErrDamaged)
	}
	return r, nil
}

// Put implements core.Store.
func (s *Store) Put(ctx context.Context, rec core.Record) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	r := stored{Public: rec.Public, TTL: rec.TTL}
	if len(rec.Secret) > 0 {
		r.Sealed = s.aead.Seal(nil, nil, rec.Secret, boundTo(rec.Key, rec.Public))
	}
	err := s.change(rec.Key, rec.Revision, func(b *bbolt.Bucket, revision uint64) (core.Update, error) {
		r.Revision, r.Time = revision, time.Now().UTC()
		text, err := json.Marshal(r)
		if err != nil {
			return core.Update{}, err
		}
		rec.Revision, rec.Time = r.Revision, r.Time
		return core.Update{Record: rec, Live: true}, b.Put([]byte(rec.Key), text)
	})
	return r.Revision, err
}

// Delete implements core.Store.
func (s *Store) Delete(ctx context.Context, key string, revision uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if revision == 0 {
		return core.ErrConflict
	}
	return s.change(key, revision, func(b *bbolt.Bucket, next uint64) (core.Update, error) {
		return core.Update{Record: core.Record{Key: key, Revision: next, Time: time.Now()}, Deleted: true, Live: true}, b.Delete([]byte(key))
	})
}

// change writes where a key is at a revision, and tells the watches in the order of the writes.
func (s *Store) change(key string, at uint64, write func(b *bbolt.Bucket, revision uint64) (core.Update, error)) error {
	s.inOrder.Lock()
	defer s.inOrder.Unlock()
	var update core.Update
	err := s.db.Update(func(tx *bbolt.Tx) error {
		old, err := read(tx, key)
		if err != nil && !errors.Is(err, core.ErrDamaged) {
			return err
		}
		if old.over() {
			old.Revision = 0
		}
		if old.Revision != at {
			return core.ErrConflict
		}
		b := tx.Bucket(bucket)
		revision, err := b.NextSequence()
		if err != nil {
			return err
		}
		update, err = write(b, revision)
		return err
	})
	switch {
	case err == nil:
		s.watches.tell(update)
	case !errors.Is(err, core.ErrConflict):
		return fmt.Errorf("boltstore: write %s: %w", key, err)
	}
	return err
}

// Now implements core.Store.
func (s *Store) Now(ctx context.Context) (time.Time, error) { return time.Now(), ctx.Err() }

// Watch implements core.Store.
func (s *Store) Watch(ctx context.Context, fn func(core.Update)) error {
	w := s.watches.begin()
	defer s.watches.end(w)
	newest, err := s.tellAll(ctx, fn)
	if err != nil {
		return err
	}
	fn(core.Update{Synced: true})
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	for {
		for _, u := range w.take() {
			if u.Record.Revision > newest { // others were told with all
				fn(u)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.wake:
		case <-ticker.C:
			fn(core.Update{})
		}
	}
}

// tellAll tells what is there, and returns up to which revision.
func (s *Store) tellAll(ctx context.Context, fn func(core.Update)) (newest uint64, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		newest = tx.Bucket(bucket).Sequence()
		return tx.Bucket(bucket).ForEach(func(k, _ []byte) error {
			key := string(k)
			r, err := read(tx, key)
			if r.over() {
				return ctx.Err()
			}
			u := core.Update{Record: core.Record{Key: key, Revision: r.Revision}, Err: err}
			if err == nil {
				u.Record, u.Err = s.open(key, r)
			}
			fn(u)
			return ctx.Err()
		})
	})
	return newest, err
}

// open returns a record with its secret.
func (s *Store) open(key string, r stored) (core.Record, error) {
	rec := core.Record{Key: key, Public: r.Public, TTL: r.TTL, Revision: r.Revision, Time: r.Time}
	if len(r.Sealed) == 0 {
		return rec, nil
	}
	var err error
	if rec.Secret, err = s.aead.Open(nil, nil, r.Sealed, boundTo(key, r.Public)); err != nil {
		return core.Record{Key: key, Revision: r.Revision}, fmt.Errorf("boltstore: record %s does not open with this key: %w", key, core.ErrDamaged)
	}
	return rec, nil
}

// boundTo is what a secret is sealed together with, so that it opens under no other key and beside nothing else.
func boundTo(key string, public []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(key))) //nolint:gosec // a key is short
	return append(append(b, key...), public...)
}
