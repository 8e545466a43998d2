package bus

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"
)

// Rewrap wraps the keyset of a data_dir with another key, in one step, and returns its path. No daemon need run; one that
// does goes on with what it has read, and wants the new key at its next start. Only the file's owner may do it.
func Rewrap(ctx context.Context, dataDir string, from, to Keys) (string, error) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil)) // what there is to tell is the result
	old, err := newKeyFile(from, dataDir, log)
	if err != nil {
		return "", err
	}
	to.Keyset = old.path
	next, err := newKeyFile(to, dataDir, log)
	if err != nil {
		return "", err
	}
	_, _, info, err := old.load(ctx)
	if err != nil {
		return "", err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return "", fmt.Errorf("keyset %s belongs to another user, who alone can read what is written in its place: run this as that user", old.path)
	}
	unlock, err := old.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	k, _, _, err := old.load(ctx) // as it is now that nobody else changes it
	if err != nil {
		return "", err
	}
	return old.path, next.write(ctx, k)
}
