package bus

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// reloadTimeout bounds the reading of the keyset where a record asks for it.
const reloadTimeout = 5 * time.Second

// keyring is the keyset as this process last read it. The file is the one truth for all replicas: it is read again when
// a replica that rotates asks for it, and whenever a record shows that another knows a newer one.
type keyring struct {
	file *keyFile
	now  atomic.Pointer[sealer]

	mu   sync.Mutex  // lets one read the file at a time, and guards seen
	seen fs.FileInfo // of the file when it was last tried; nil: never
}

// reload reads the keyset. It returns fs.ErrNotExist where there is no file; after an error the keys are those of before.
func (k *keyring) reload(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.readLocked(ctx)
}

func (k *keyring) readLocked(ctx context.Context) error {
	s, seen, err := k.file.read(ctx)
	k.seen = seen
	if err != nil {
		return err
	}
	if old := k.now.Load(); old != nil && !old.related(s) {
		return errors.New("the keyset at " + k.file.path + " was replaced by one with other keys, and is not used: put the right one back")
	}
	k.now.Store(s)
	return nil
}

// related reports whether two keysets can be two states of one: they share a key.
func (s *sealer) related(other *sealer) bool {
	for _, id := range s.ids {
		if other.has(id) {
			return true
		}
	}
	return false
}

// encode seals with the keyset as it is known here.
func (k *keyring) encode(key string, public, secret []byte) ([]byte, error) {
	return k.now.Load().encode(key, public, secret)
}

// decode opens a stored record, with a newer keyset where the record shows that there is one.
func (k *keyring) decode(key string, value []byte) (public, secret []byte, err error) {
	e, err := readEnvelope(key, value)
	if err != nil {
		return nil, nil, err
	}
	secret, err = k.unseal(key, e)
	if err != nil {
		return nil, nil, err
	}
	return e.Public, secret, nil
}

func (k *keyring) unseal(key string, e envelope) ([]byte, error) {
	if s := k.now.Load(); s.overtaken(e.Sealed) {
		k.catchUp()
	}
	return k.now.Load().unseal(key, e)
}

// catchUp reads the keyset again where its file is another than the one that was last tried.
func (k *keyring) catchUp() {
	k.mu.Lock()
	defer k.mu.Unlock()
	now, err := os.Stat(k.file.path)
	if err != nil || k.seen != nil && sameFile(now, k.seen) {
		return
	}
	// Whoever opens a record waits for this, and has no context to give.
	ctx, cancel := context.WithTimeout(context.Background(), reloadTimeout)
	defer cancel()
	if err := k.readLocked(ctx); err != nil {
		k.file.log.Error("the keyset has changed and cannot be read; the keys of before are used", "error", err)
		return
	}
	k.file.log.Info("read the keyset again", "file", k.file.path, "primary", k.now.Load().primary)
}

// sameFile reports whether a file was neither replaced nor written between two looks.
func sameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
