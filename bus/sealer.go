package bus

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// sealer seals and opens with the keys of a keyset: XAES-256-GCM, new secrets under the primary key. It does not change
// and may be used concurrently.
type sealer struct {
	aead    tink.AEAD
	primary uint32
	ids     []uint32       // of the keys that are enabled, in the order in which they were added
	place   map[uint32]int // of an id in ids
	made    map[uint32]time.Time
}

func newSealer(h *keyset.Handle) (*sealer, error) {
	primitive, err := aead.New(h)
	if err != nil {
		return nil, fmt.Errorf("use the keyset: %w", err)
	}
	info := h.KeysetInfo()
	s := &sealer{aead: primitive, primary: info.GetPrimaryKeyId(), place: make(map[uint32]int)}
	for i := range h.Len() {
		e, err := h.Entry(i)
		if err != nil {
			return nil, fmt.Errorf("use the keyset: %w", err)
		}
		if e.KeyStatus() == keyset.Enabled {
			s.place[e.KeyID()] = len(s.ids)
			s.ids = append(s.ids, e.KeyID())
		}
	}
	return s, nil
}

// keyOf returns the id of the key that sealed was made with: Tink begins a ciphertext with a byte 1 and the id. It says
// nothing of whether the rest is whole.
func keyOf(sealed []byte) (id uint32, ok bool) {
	if len(sealed) < 5 || sealed[0] != 1 {
		return 0, false
	}
	return binary.BigEndian.Uint32(sealed[1:5]), true
}

// has reports whether the key is in the keyset.
func (s *sealer) has(id uint32) bool {
	_, ok := s.place[id]
	return ok
}

// knows reports whether sealed was made with a key of this keyset.
func (s *sealer) knows(sealed []byte) bool {
	id, ok := keyOf(sealed)
	return ok && s.has(id)
}

// overtaken reports whether sealed tells of a newer keyset than this one: its key is not here, or was added after the
// primary key.
func (s *sealer) overtaken(sealed []byte) bool {
	id, ok := keyOf(sealed)
	return ok && (!s.has(id) || s.place[id] > s.place[s.primary])
}

// pending returns the keys that were added after the primary key: they are to take its place.
func (s *sealer) pending() []uint32 { return s.ids[s.place[s.primary]+1:] }

// retired returns the keys whose place the primary key took.
func (s *sealer) retired() []uint32 { return s.ids[:s.place[s.primary]] }
