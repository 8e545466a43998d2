package wire

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nkeys"

	"github.com/esignd/esignd/core"
)

// CurveKey is a key pair with which the body of an answer is sealed for one reader, and opened: an NKeys curve key, whose
// public part begins with X. A sealed body is "xkv1", a nonce and a NaCl box (X25519, XSalsa20, Poly1305).
//
// Sealing hides an answer from who reads along. It does not prove who answered: whoever may publish on a reply subject
// can seal to the key that stands in the request.
type CurveKey struct {
	pair   nkeys.KeyPair
	public string
}

// NewCurveKey makes a key pair.
func NewCurveKey() (CurveKey, error) {
	pair, err := nkeys.CreateCurveKeys()
	if err != nil {
		return CurveKey{}, fmt.Errorf("make a curve key: %w", err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		return CurveKey{}, fmt.Errorf("make a curve key: %w", err)
	}
	return CurveKey{pair: pair, public: public}, nil
}

// Public returns the part that others are told.
func (k CurveKey) Public() string { return k.public }

// Seal returns body, which only the holder of the key pair of to can open, told that k sealed it.
func (k CurveKey) Seal(body []byte, to string) ([]byte, error) {
	if !validCurveKey(to) {
		return nil, errors.New("seal an answer: the key to seal to is none")
	}
	return k.pair.Seal(body, to)
}

// Open returns what the holder of the key pair of by sealed to k.
func (k CurveKey) Open(sealed []byte, by string) ([]byte, error) {
	if !validCurveKey(by) {
		return nil, fmt.Errorf("open an answer: the header %s holds no key", HeaderSealedBy)
	}
	body, err := k.pair.Open(sealed, by)
	if err != nil {
		return nil, errors.New("open an answer: it was sealed to another key, or changed on its way")
	}
	return body, nil
}

// curveKeyLength is that of every public curve key as text. What reads one in the end takes no longer text.
const curveKeyLength = 56

func validCurveKey(s string) bool { return len(s) == curveKeyLength && nkeys.IsValidPublicCurveKey(s) }

// SealTo returns the key to which a request wants its answer sealed, "" where it does not want that. A header that is
// there and is not one key is invalid_request: who asks for a seal gets no answer without.
func SealTo(header map[string][]string) (string, error) {
	var keys []string
	asked := false
	for name, values := range header {
		if strings.EqualFold(name, HeaderSealTo) {
			asked, keys = true, append(keys, values...)
		}
	}
	if !asked {
		return "", nil
	}
	if len(keys) != 1 || !validCurveKey(keys[0]) {
		return "", core.FieldErrorf(HeaderSealTo, "this header holds one public curve key of NKeys: X and 55 more characters")
	}
	return keys[0], nil
}
