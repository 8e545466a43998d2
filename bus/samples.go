package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/nats-io/nats.go/jetstream"
)

// maxSamples is how many records are looked at to see whether the keyset is theirs. One that is damaged does not tell;
// that all of them are is not what happens to a store with the right keyset.
const maxSamples = 64

// maxSampled bounds the search among records that have no secret.
const maxSampled = 512

// samples are what a keyset is tried on.
type samples struct {
	any    bool     // whether there is any record, in the store or the spool
	sealed [][]byte // sealed parts of some
}

// add takes the sealed part of a stored record, where it has one and can be read.
func (s *samples) add(value []byte) {
	s.any = true
	var e envelope
	if json.Unmarshal(value, &e) == nil && len(e.Sealed) > 0 {
		s.sealed = append(s.sealed, e.Sealed)
	}
}

func (s *session) samples(ctx context.Context) (samples, error) {
	var found samples
	if err := found.addStored(ctx, s.js, s.cfg.Logger); err != nil {
		return found, fmt.Errorf("look for records that are sealed: %w", err)
	}
	if err := found.addSpooled(s.dir); err != nil {
		return found, fmt.Errorf("look for records that are sealed: %w", err)
	}
	return found, nil
}

func (s *samples) addStored(ctx context.Context, js jetstream.JetStream, log *slog.Logger) error {
	stream, err := insist(ctx, log, recordStream, func(ctx context.Context) (jetstream.Stream, error) { return js.Stream(ctx, recordStream) })
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	next := stream.CachedInfo().State.FirstSeq
	for range maxSampled {
		msg, err := insist(ctx, log, recordStream, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
			return stream.GetMsg(ctx, next, jetstream.WithGetMsgSubject(recordPrefix+">"))
		})
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		s.add(msg.Data)
		if len(s.sealed) >= maxSamples {
			return nil
		}
		next = msg.Sequence + 1
	}
	return nil
}

func (s *samples) addSpooled(dir *dataDir) error {
	paths, err := dir.spooled()
	if err != nil {
		return err
	}
	for _, path := range paths[:min(len(paths), maxSamples)] {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		// One that cannot be read counts as a record too.
		f, _ := readSpoolFile(b)
		s.add(f.Value)
	}
	return nil
}
