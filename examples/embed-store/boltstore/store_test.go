package boltstore_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/core/storetest"
	"github.com/esignd/esignd/examples/embed-store/boltstore"
)

func openAt(t *testing.T, path string, key byte) *boltstore.Store {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	s, err := boltstore.New(db, bytes.Repeat([]byte{key}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStoreKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) core.Store { return openAt(t, filepath.Join(t.TempDir(), "state"), 1) })
}

func TestSecretsAreSealed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	record := core.Record{Key: "grant.g_1", Public: []byte(`{"state":"active"}`), Secret: []byte("the refresh token")}
	t.Run("written", func(t *testing.T) { // the file is closed at its end
		if _, err := openAt(t, path, 1).Put(t.Context(), record); err != nil {
			t.Fatal(err)
		}
	})
	file, err := os.ReadFile(path)
	if err != nil || bytes.Contains(file, record.Secret) {
		t.Errorf("the secret is in the file: %v", err)
	}
	t.Run("with another key", func(t *testing.T) {
		if _, err := openAt(t, path, 2).Get(t.Context(), record.Key); !errors.Is(err, core.ErrDamaged) {
			t.Errorf("got %v, want core.ErrDamaged", err)
		}
	})
	t.Run("with the key", func(t *testing.T) {
		if r, err := openAt(t, path, 1).Get(t.Context(), record.Key); err != nil || !bytes.Equal(r.Secret, record.Secret) {
			t.Errorf("it did not come back: %v", err)
		}
	})
}

func TestKeyThatIsNoneIsRefused(t *testing.T) {
	if _, err := boltstore.New(nil, []byte("short")); err == nil {
		t.Error("a key of five bytes was taken")
	}
}
