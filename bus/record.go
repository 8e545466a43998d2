package bus

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"

	"github.com/esignd/esignd/core"
)

// recordFormat is the format of a stored record that is written. Those before it are read.
const recordFormat = 1

// keyForm is a kind, a dot and an id. A key is a part of a subject and the name of a file.
var keyForm = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+$`)

const maxKey = 200

func checkKey(key string) error {
	if len(key) > maxKey || !keyForm.MatchString(key) {
		return fmt.Errorf("record key %q: a kind, a dot and an id, of letters, digits, _ and -, at most %d", key, maxKey)
	}
	return nil
}

// encode returns the stored form of a record: {"v":1,"public":…,"sealed":base64}. The public part stands in it byte for
// byte, since it is authenticated so.
func (s *sealer) encode(key string, public, secret []byte) ([]byte, error) {
	public = bytes.TrimSpace(public)
	if len(public) > 0 && !json.Valid(public) {
		return nil, fmt.Errorf("record %s: its public part is not JSON", key)
	}
	b := strconv.AppendInt([]byte(`{"v":`), recordFormat, 10)
	if len(public) > 0 {
		b = append(append(b, `,"public":`...), public...)
	}
	if len(secret) > 0 {
		sealed, err := s.aead.Encrypt(secret, associatedData(recordFormat, key, public))
		if err != nil {
			return nil, fmt.Errorf("seal record %s: %w", key, err)
		}
		b = base64.StdEncoding.AppendEncode(append(b, `,"sealed":"`...), sealed)
		b = append(b, '"')
	}
	return append(b, '}'), nil
}

// envelope is the stored form of a record, read.
type envelope struct {
	Format int             `json:"v"`
	Public json.RawMessage `json:"public"`
	Sealed []byte          `json:"sealed"`
}

// cutEnvelope reads the form that encode writes of a record with a secret part, without reading the public part: it is
// authenticated by the sealed one. It shares memory with value. Reading all of it as JSON takes ten times as long, and at
// the start every record is read.
func cutEnvelope(value []byte) (e envelope, ok bool) {
	const head, middle, tail = `{"v":1,"public":`, `,"sealed":"`, `"}`
	rest, begins := bytes.CutPrefix(value, []byte(head))
	rest, ends := bytes.CutSuffix(rest, []byte(tail))
	text := bytes.LastIndexByte(rest, '"') + 1 // base64 has no quotes
	public, sealing := bytes.CutSuffix(rest[:text], []byte(middle))
	if !begins || !ends || !sealing {
		return e, false
	}
	sealed := make([]byte, base64.StdEncoding.DecodedLen(len(rest)-text))
	n, err := base64.StdEncoding.Decode(sealed, rest[text:])
	if err != nil {
		return e, false
	}
	return envelope{Format: 1, Public: public[:len(public):len(public)], Sealed: sealed[:n]}, true
}

func readEnvelope(key string, value []byte) (envelope, error) {
	if e, ok := cutEnvelope(value); ok {
		return e, nil
	}
	var e envelope
	if err := json.Unmarshal(value, &e); err != nil {
		// The error's text may hold a part of the value.
		return e, fmt.Errorf("record %s is not in a form that esignd writes: %w", key, core.ErrDamaged)
	}
	if e.Format > recordFormat {
		return e, fmt.Errorf("record %s is of format %d, from a later esignd than this one: %w", key, e.Format, core.ErrLaterFormat)
	}
	if e.Format < 1 {
		return e, fmt.Errorf("record %s has no format: %w", key, core.ErrDamaged)
	}
	return e, nil
}

// decode returns the public and the secret part of a stored record. What cannot be read or unsealed is core.ErrDamaged.
func (s *sealer) decode(key string, value []byte) (public, secret []byte, err error) {
	e, err := readEnvelope(key, value)
	if err != nil {
		return nil, nil, err
	}
	if secret, err = s.unseal(key, e); err != nil {
		return nil, nil, err
	}
	return e.Public, secret, nil
}

// unseal returns the secret part of a record that was read, nil where it has none.
func (s *sealer) unseal(key string, e envelope) ([]byte, error) {
	if len(e.Sealed) == 0 {
		return nil, nil
	}
	if !s.knows(e.Sealed) {
		return nil, fmt.Errorf("record %s is sealed with a key that is not in the keyset: %w", key, core.ErrDamaged)
	}
	secret, err := s.aead.Decrypt(e.Sealed, associatedData(e.Format, key, e.Public))
	if err != nil {
		return nil, fmt.Errorf("record %s does not unseal: it was changed by another hand: %w", key, core.ErrDamaged)
	}
	return secret, nil
}

// associatedData binds a sealed secret to its record: format, key and public part. A key holds no newline.
func associatedData(format int, key string, public []byte) []byte {
	return fmt.Appendf(nil, "esignd record %d\n%s\n%s", format, key, public)
}
