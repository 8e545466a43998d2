package wire

import (
	"encoding/json"

	"github.com/esignd/esignd/core"
)

// Secret is a core.Secret inside a message. It prints as that one does; unlike it, it is written to JSON, because a
// message to the caller who may have the secret is the one place where it is written down. Values that hold a Secret
// are given to json.Marshal for sending, and for nothing else.
type Secret struct{ core.Secret }

// NewSecret returns s as a Secret.
func NewSecret(s string) Secret { return Secret{core.NewSecret(s)} }

// MarshalJSON returns the secret itself as a JSON string.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.Reveal()) }

// UnmarshalJSON reads a JSON string.
func (s *Secret) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	s.Secret = core.NewSecret(text)
	return nil
}
