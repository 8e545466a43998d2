package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
)

// KeyStep is a step of a rotation that is done.
type KeyStep string

// The steps of a rotation, in order.
const (
	KeyAdded    KeyStep = "added"    // the keyset holds a new key, with which nobody seals
	KeyKnown    KeyStep = "known"    // every replica knows it
	KeyPromoted KeyStep = "promoted" // it is the primary one in the file
	KeyInUse    KeyStep = "in_use"   // every replica seals with it
	KeyResealed KeyStep = "resealed" // no record is under another
)

// resealPatience is for how long the store may fail before a rotation gives up, to be run again.
const resealPatience = time.Minute

// RotateKeys makes a new key, has every replica seal with it, and seals every record anew that is under another. Callers
// are served meanwhile. The old key stays in the keyset and opens what comes late, until DropKeys.
//
// After each step nothing is lost by a crash, and RotateKeys run again goes on from there: it makes no new key while one
// waits to become the primary one, or records are under an old one. step is told of each step, and ends the rotation by
// an error; nil: nobody is.
func (b *Bus) RotateKeys(ctx context.Context, step func(KeyStep) error) (KeyStatus, error) {
	ses, err := b.opened()
	if err != nil {
		return KeyStatus{}, err
	}
	ctx, stop := ses.whileOpen(ctx)
	defer stop()
	unlock, err := ses.keys.file.lock()
	if err != nil {
		return KeyStatus{}, err
	}
	defer unlock()
	r := rotation{session: ses, fleet: newFleet(ses), log: b.log, step: step}
	if err := r.run(ctx); err != nil {
		return KeyStatus{}, fmt.Errorf("rotate the keys: %w", err)
	}
	return ses.keyStatus(ctx)
}

// rotation is one run of RotateKeys.
type rotation struct {
	*session
	fleet *fleet
	log   *slog.Logger
	step  func(KeyStep) error
}

func (r rotation) run(ctx context.Context) error {
	if err := r.keys.reload(ctx); err != nil {
		return err
	}
	due, err := r.newKeyDue(ctx)
	if err != nil {
		return err
	}
	if due {
		if err := r.add(ctx); err != nil {
			return err
		}
	}
	if len(r.keys.now.Load().pending()) > 0 {
		if err := r.promote(ctx); err != nil {
			return err
		}
	}
	primary := r.keys.now.Load().primary
	if err := r.fleet.agree(ctx, "seals with the new key", func(k KeyReplica) bool { return k.Primary == primary }); err != nil {
		return err
	}
	if err := r.done(KeyInUse); err != nil {
		return err
	}
	if err := r.resealAll(ctx); err != nil {
		return err
	}
	return r.done(KeyResealed)
}

// done tells of a step.
func (r rotation) done(k KeyStep) error {
	r.log.Info("rotation of the keys", "step", k, "primary", r.keys.now.Load().primary)
	if r.step == nil {
		return nil
	}
	return r.step(k)
}

// newKeyDue reports whether this run begins a rotation: no key waits, and no record was left under an old one.
func (r rotation) newKeyDue(ctx context.Context) (bool, error) {
	keys := r.keys.now.Load()
	if len(keys.pending()) > 0 {
		return false, nil
	}
	counts, err := r.countKeys(ctx)
	old := 0
	for _, id := range keys.retired() {
		old += counts[id].whole
	}
	return old == 0, err
}

// add puts a new key into the keyset, which is not the primary one.
func (r rotation) add(ctx context.Context) error {
	err := r.keys.file.change(ctx, func(m *keyset.Manager, made map[uint32]time.Time) error {
		id, err := m.Add(aead.XAES256GCM192BitNonceKeyTemplate())
		made[id] = time.Now()
		return err
	})
	if err != nil {
		return err
	}
	if err := r.keys.reload(ctx); err != nil {
		return err
	}
	return r.done(KeyAdded)
}

// promote makes the key that waits the primary one, once every replica can open what is sealed with it.
func (r rotation) promote(ctx context.Context) error {
	waiting := r.keys.now.Load().pending()
	next := waiting[len(waiting)-1]
	err := r.fleet.agree(ctx, "knows the new key", func(k KeyReplica) bool { return k.knows(next) })
	if err != nil {
		return err
	}
	if err := r.done(KeyKnown); err != nil {
		return err
	}
	err = r.keys.file.change(ctx, func(m *keyset.Manager, _ map[uint32]time.Time) error { return m.SetPrimary(next) })
	if err != nil {
		return err
	}
	if err := r.keys.reload(ctx); err != nil {
		return err
	}
	return r.done(KeyPromoted)
}

// resealAll seals anew until a look at all records finds none under an old key, and bears with a store that fails for a
// short while.
func (r rotation) resealAll(ctx context.Context) error {
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		for {
			found, broken, err := r.reseal(ctx)
			if err != nil {
				r.log.WarnContext(ctx, "the records could not all be sealed anew; trying again", "error", err)
				return struct{}{}, err
			}
			if found == broken {
				return struct{}{}, nil
			}
		}
	}, backoff.WithMaxElapsedTime(resealPatience))
	if err != nil {
		return fmt.Errorf("some records are still under an old key; run it again: %w", err)
	}
	return nil
}

// dropKeys removes keys from the keyset.
func (s *session) dropKeys(ctx context.Context, ids []uint32) error {
	if len(ids) == 0 {
		return errNoOldKeys
	}
	err := s.keys.file.change(ctx, func(m *keyset.Manager, _ map[uint32]time.Time) error {
		var errs []error
		for _, id := range ids {
			errs = append(errs, m.Delete(id))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return err
	}
	return s.keys.reload(ctx)
}
