package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// KeyStatus says what is known of the keyset, and of what is sealed with it.
type KeyStatus struct {
	File    string    `json:"keyset"`
	Wrapped bool      `json:"wrapped"`
	Keys    []KeyInfo `json:"keys"` // in the order in which they were added
	// Foreign is how many records are sealed with a key that is not in the keyset.
	Foreign int `json:"foreign,omitempty"`
	// Replicas are those that answered; with the embedded server the one that there is.
	Replicas []KeyReplica `json:"replicas"`
}

// KeyInfo is one key of the keyset.
type KeyInfo struct {
	ID   uint32  `json:"id"`
	Role KeyRole `json:"role"`
	// Made is when the key was made; zero where the keyset was not made by esignd.
	Made time.Time `json:"made,omitzero"`
	// Records is how many records are sealed with it, Damaged how many more say so and cannot be opened, and Spooled how
	// many outcomes wait in the data folders of the replicas that answered.
	Records int `json:"records"`
	Damaged int `json:"damaged,omitempty"`
	Spooled int `json:"spooled"`
}

// KeyRole is what a key is used for.
type KeyRole string

// The roles of a key.
const (
	KeyPrimary KeyRole = "primary" // seals and opens
	KeyNext    KeyRole = "next"    // opens, and is to become the primary one once every replica knows it
	KeyOld     KeyRole = "old"     // opens
)

// KeyReplica is one esignd and the keys that it knows.
type KeyReplica struct {
	Owner   string         `json:"owner"` // id of its data_dir
	Host    string         `json:"host"`
	Primary uint32         `json:"primary"`
	Keys    []uint32       `json:"keys"`
	Spooled map[uint32]int `json:"spooled,omitempty"` // by key
	// Error is why it could not read the keyset that the file holds now; it goes on with the one of before.
	Error string `json:"error,omitempty"`
}

// KeyStatus reads the keyset, looks at every record, and asks the other replicas.
func (b *Bus) KeyStatus(ctx context.Context) (KeyStatus, error) {
	ses, err := b.opened()
	if err != nil {
		return KeyStatus{}, err
	}
	ctx, stop := ses.whileOpen(ctx)
	defer stop()
	if err := ses.keys.reload(ctx); err != nil {
		return KeyStatus{}, err
	}
	return ses.keyStatus(ctx)
}

func (s *session) keyStatus(ctx context.Context) (KeyStatus, error) {
	replicas, err := s.rollCall(ctx)
	if err != nil {
		return KeyStatus{}, err
	}
	counts, err := s.countKeys(ctx)
	if err != nil {
		return KeyStatus{}, err
	}
	keys := s.keys.now.Load()
	st := KeyStatus{File: s.keys.file.path, Wrapped: s.keys.file.wrap != nil, Replicas: replicas}
	for _, id := range keys.ids {
		k := KeyInfo{ID: id, Role: keys.role(id), Made: keys.made[id], Records: counts[id].whole, Damaged: counts[id].damaged}
		for _, r := range replicas {
			k.Spooled += r.Spooled[id]
		}
		st.Keys = append(st.Keys, k)
	}
	for id, n := range counts {
		if !keys.has(id) {
			st.Foreign += n.damaged
		}
	}
	return st, nil
}

// keyCount is how many records are sealed with a key, by whether they open.
type keyCount struct{ whole, damaged int }

func (s *session) countKeys(ctx context.Context) (map[uint32]keyCount, error) {
	counts := map[uint32]keyCount{}
	err := s.eachSealed(ctx, func(r sealedRecord) error {
		id, _ := keyOf(r.Sealed)
		n := counts[id]
		if _, err := s.keys.unseal(r.key, r.envelope); err != nil {
			n.damaged++
		} else {
			n.whole++
		}
		counts[id] = n
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count the records of each key: %w", err)
	}
	return counts, nil
}

func (s *sealer) role(id uint32) KeyRole {
	switch {
	case id == s.primary:
		return KeyPrimary
	case slices.Contains(s.pending(), id):
		return KeyNext
	default:
		return KeyOld
	}
}

// DropKeys removes the old keys from the keyset, with which nothing is sealed any more. It refuses while a record, or an
// outcome that waits in a data folder, is sealed with one. Replicas that do not answer are not asked: what waits in their
// data folders could not be opened any more, and neither could a backup from before the rotation.
func (b *Bus) DropKeys(ctx context.Context) (KeyStatus, error) {
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
	if err := ses.keys.reload(ctx); err != nil {
		return KeyStatus{}, err
	}
	keys := ses.keys.now.Load()
	fleet := newFleet(ses)
	err = fleet.agree(ctx, "seals with the primary key", func(r KeyReplica) bool { return r.Primary == keys.primary })
	if err != nil {
		return KeyStatus{}, err
	}
	st, err := ses.keyStatus(ctx)
	if err != nil {
		return st, err
	}
	for _, k := range st.Keys {
		if k.Role == KeyOld && k.Records+k.Spooled > 0 {
			return st, fmt.Errorf("%d records and %d waiting outcomes are sealed with the old key %d: nothing was removed; "+
				"run a rotation to its end first", k.Records, k.Spooled, k.ID)
		}
	}
	if err := ses.dropKeys(ctx, keys.retired()); err != nil {
		return st, err
	}
	// They have what they need; that all have read the new file is for the one who asks.
	gone := func(r KeyReplica) bool { return !r.knows(keys.retired()[0]) }
	if err := fleet.agree(ctx, "has dropped the old keys", gone); err != nil {
		return st, err
	}
	return ses.keyStatus(ctx)
}

// errNoOldKeys says that there is nothing to remove.
var errNoOldKeys = errors.New("the keyset holds no old keys")
