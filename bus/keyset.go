package bus

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/esignd/esignd/core"
)

const wrapKeySize = 32

// wrapData is the associated data of a wrapped keyset.
var wrapData = []byte("esignd keyset 1")

// sealer seals and opens with the keys of a keyset: XAES-256-GCM, new secrets under the primary key. It may be used
// concurrently.
type sealer struct {
	aead tink.AEAD
	ids  map[uint32]bool
}

func newSealer(h *keyset.Handle) (*sealer, error) {
	primitive, err := aead.New(h)
	if err != nil {
		return nil, fmt.Errorf("use the keyset: %w", err)
	}
	s := &sealer{aead: primitive, ids: make(map[uint32]bool)}
	for _, k := range h.KeysetInfo().GetKeyInfo() {
		s.ids[k.GetKeyId()] = true
	}
	return s, nil
}

// knows reports whether sealed was made with a key of this keyset: Tink begins a ciphertext with a byte 1 and the id
// of the key. It says nothing of whether the rest is whole.
func (s *sealer) knows(sealed []byte) bool {
	return len(sealed) >= 5 && sealed[0] == 1 && s.ids[binary.BigEndian.Uint32(sealed[1:5])]
}

// keyFile is a keyset file and what it is wrapped with; a nil wrap means that it lies in the clear.
type keyFile struct {
	path string
	wrap tink.AEAD
	log  *slog.Logger
}

func newKeyFile(k Keys, dataDir string, log *slog.Logger) (*keyFile, error) {
	f := &keyFile{path: k.Keyset, log: log}
	if f.path == "" {
		f.path = filepath.Join(dataDir, keysetFile)
	}
	if k.Wrap.IsZero() {
		return f, nil
	}
	raw, err := parseWrapKey(k.Wrap)
	if err != nil {
		return nil, err
	}
	if f.wrap, err = subtle.NewAESGCM(raw); err != nil {
		return nil, fmt.Errorf("use keys.wrap: %w", err)
	}
	return f, nil
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

// read returns the keyset in the file, and fs.ErrNotExist where there is no file. A keyset that lay in the clear is
// wrapped once there is a key for that.
func (f *keyFile) read() (*sealer, error) {
	b, err := os.ReadFile(f.path)
	if err != nil {
		return nil, fmt.Errorf("read the keyset: %w", err)
	}
	wrapped, err := isWrapped(b)
	if err != nil {
		return nil, fmt.Errorf("keyset %s: %w", f.path, err)
	}
	if wrapped {
		return f.unwrap(b)
	}
	h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(b)))
	if err != nil {
		return nil, fmt.Errorf("keyset %s cannot be read: restore it from a backup: %w", f.path, err)
	}
	if f.wrap == nil {
		f.warnClear()
		return newSealer(h)
	}
	if err := f.write(h); err != nil {
		return nil, err
	}
	f.log.Info("wrapped the keyset, which lay in the clear until now", "file", f.path)
	return newSealer(h)
}

func (f *keyFile) unwrap(b []byte) (*sealer, error) {
	if f.wrap == nil {
		return nil, fmt.Errorf("keyset %s is wrapped: set keys.wrap to the key that it was wrapped with", f.path)
	}
	h, err := keyset.ReadWithAssociatedData(keyset.NewJSONReader(bytes.NewReader(b)), f.wrap, wrapData)
	if err != nil {
		return nil, fmt.Errorf("keyset %s does not open with keys.wrap: the key is another one than it was wrapped with, "+
			"or the file is damaged; nothing was changed", f.path)
	}
	return newSealer(h)
}

// generate makes a keyset and writes it. It does not replace a file.
func (f *keyFile) generate() (*sealer, error) {
	h, err := keyset.NewHandle(aead.XAES256GCM192BitNonceKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("make a keyset: %w", err)
	}
	if _, err := os.Lstat(f.path); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("make a keyset: %s appeared meanwhile; start again", f.path)
	}
	if err := f.write(h); err != nil {
		return nil, err
	}
	if f.wrap == nil {
		f.warnClear()
	}
	return newSealer(h)
}

func (f *keyFile) write(h *keyset.Handle) error {
	var b bytes.Buffer
	var err error
	if f.wrap == nil {
		err = insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&b))
	} else {
		err = h.WriteWithAssociatedData(keyset.NewJSONWriter(&b), f.wrap, wrapData)
	}
	if err != nil {
		return fmt.Errorf("write the keyset: %w", err)
	}
	return writeFile(f.path, b.Bytes())
}

func (f *keyFile) warnClear() {
	f.log.Warn("the keyset that seals all tokens is not wrapped: whoever reads the file reads the tokens; set keys.wrap",
		"file", f.path)
}

// isWrapped tells a wrapped keyset from one in the clear.
func isWrapped(b []byte) (bool, error) {
	var form struct {
		EncryptedKeyset string            `json:"encryptedKeyset"`
		Key             []json.RawMessage `json:"key"`
	}
	if err := json.Unmarshal(b, &form); err != nil {
		return false, errors.New("the file is not a Tink keyset in JSON")
	}
	if form.EncryptedKeyset == "" && len(form.Key) == 0 {
		return false, errors.New("the file holds no keys")
	}
	return form.EncryptedKeyset != "", nil
}
