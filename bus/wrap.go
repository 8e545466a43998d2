package bus

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/esignd/esignd/core"
)

// Wrapper wraps the keyset, so that who reads its file reads no key. It is asked when the keyset is read or written,
// never for a record. Methods may be called concurrently and end with ctx; their errors hold nothing secret.
//
// It has the form of Tink's AEADWithContext, which Tink's clients of key management services have too.
type Wrapper interface {
	// EncryptWithContext wraps a keyset.
	EncryptWithContext(ctx context.Context, plaintext, associatedData []byte) ([]byte, error)
	// DecryptWithContext returns what EncryptWithContext wrapped with the same associated data.
	DecryptWithContext(ctx context.Context, ciphertext, associatedData []byte) ([]byte, error)
}

const wrapKeySize = 32

// wrapData is the associated data of a wrapped keyset.
var wrapData = []byte("esignd keyset 1")

// localWrapper wraps with a key that this process holds.
type localWrapper struct{ aead tink.AEAD }

var _ Wrapper = localWrapper{}

func newLocalWrapper(key core.Secret) (Wrapper, error) {
	raw, err := parseWrapKey(key)
	if err != nil {
		return nil, err
	}
	a, err := subtle.NewAESGCM(raw)
	if err != nil {
		return nil, fmt.Errorf("use keys.wrap: %w", err)
	}
	return localWrapper{aead: a}, nil
}

func (w localWrapper) EncryptWithContext(_ context.Context, plaintext, associatedData []byte) ([]byte, error) {
	return w.aead.Encrypt(plaintext, associatedData)
}

func (w localWrapper) DecryptWithContext(_ context.Context, ciphertext, associatedData []byte) ([]byte, error) {
	return w.aead.Decrypt(ciphertext, associatedData)
}

// parseWrapKey reads a key in base64, standard or URL, padded or not, or in hexadecimal. The error holds nothing of it.
func parseWrapKey(s core.Secret) ([]byte, error) {
	text := strings.TrimSpace(s.Reveal())
	decoders := []func(string) ([]byte, error){
		hex.DecodeString,
		base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString,
		base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	}
	for _, decode := range decoders {
		if raw, err := decode(text); err == nil && len(raw) == wrapKeySize {
			return raw, nil
		}
	}
	return nil, errors.New("keys.wrap is not 32 bytes in base64 or hexadecimal: make one with openssl rand -base64 32")
}
