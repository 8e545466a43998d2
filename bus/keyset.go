package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
)

// maxKeyset bounds a keyset file, in bytes.
const maxKeyset = 1 << 20

// madeMember is the member of a keyset file that is not Tink's: when each key was made, by its id.
const madeMember = "made"

// keyFile is a keyset file and what it is wrapped with; a nil wrap means that it lies in the clear.
type keyFile struct {
	path string
	wrap Wrapper
	log  *slog.Logger
}

func newKeyFile(k Keys, dataDir string, log *slog.Logger) (*keyFile, error) {
	f := &keyFile{path: k.Keyset, wrap: k.Wrapper, log: log}
	if f.path == "" {
		f.path = filepath.Join(dataDir, keysetFile)
	}
	if f.wrap != nil || k.Wrap.IsZero() {
		return f, nil
	}
	var err error
	f.wrap, err = newLocalWrapper(k.Wrap)
	return f, err
}

// keys is the content of a keyset file.
type keys struct {
	handle *keyset.Handle
	made   map[uint32]time.Time
}

func (k keys) sealer() (*sealer, error) {
	s, err := newSealer(k.handle)
	if err != nil {
		return nil, err
	}
	s.made = k.made
	return s, nil
}

// read returns the keyset in the file, and fs.ErrNotExist where there is no file. A keyset that lay in the clear is
// wrapped once there is a key for that.
func (f *keyFile) read(ctx context.Context) (*sealer, fs.FileInfo, error) {
	k, wrapped, info, err := f.load(ctx)
	if err != nil {
		return nil, info, err
	}
	if !wrapped && f.wrap != nil {
		if err := f.write(ctx, k); err != nil {
			return nil, info, err
		}
		f.log.InfoContext(ctx, "wrapped the keyset, which lay in the clear until now", "file", f.path)
	}
	s, err := k.sealer()
	return s, info, err
}

// load reads the file and changes nothing. The file's info is returned with an error about what it holds, too.
func (f *keyFile) load(ctx context.Context) (k keys, wrapped bool, info fs.FileInfo, err error) {
	b, info, err := readFile(f.path)
	if err != nil {
		return k, false, nil, fmt.Errorf("read the keyset: %w", err)
	}
	wrapped, err = isWrapped(b)
	if err != nil {
		return k, wrapped, info, fmt.Errorf("keyset %s: %w", f.path, err)
	}
	tink, made, err := splitMade(b)
	if err != nil {
		return k, wrapped, info, fmt.Errorf("keyset %s: %w", f.path, err)
	}
	k.made = made
	if wrapped {
		k.handle, err = f.unwrap(ctx, tink)
		return k, wrapped, info, err
	}
	k.handle, err = insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(tink)))
	if err != nil {
		err = fmt.Errorf("keyset %s cannot be read: restore it from a backup: %w", f.path, err)
	}
	return k, wrapped, info, err
}

// readFile returns a file's content with the info of the very file that was read.
func readFile(path string) (b []byte, info fs.FileInfo, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if info, err = f.Stat(); err != nil {
		return nil, nil, err
	}
	b, err = io.ReadAll(io.LimitReader(f, maxKeyset))
	return b, info, err
}

func (f *keyFile) unwrap(ctx context.Context, b []byte) (*keyset.Handle, error) {
	if f.wrap == nil {
		return nil, fmt.Errorf("keyset %s is wrapped: set keys.wrap to the key that it was wrapped with", f.path)
	}
	h, err := keyset.ReadWithContext(ctx, keyset.NewJSONReader(bytes.NewReader(b)), f.wrap, wrapData)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("unwrap the keyset %s: %w", f.path, ctx.Err())
	}
	if err != nil {
		return nil, fmt.Errorf("keyset %s does not open with keys.wrap: the key is another one than it was wrapped with, "+
			"or the file is damaged; nothing was changed", f.path)
	}
	return h, nil
}

// generate makes a keyset and writes it. It does not replace a file.
func (f *keyFile) generate(ctx context.Context) error {
	unlock, err := f.lock()
	if err != nil {
		return fmt.Errorf("make a keyset: %w", err)
	}
	defer unlock()
	if _, err := os.Lstat(f.path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("make a keyset: %s appeared meanwhile; start again", f.path)
	}
	h, err := keyset.NewHandle(aead.XAES256GCM192BitNonceKeyTemplate())
	if err != nil {
		return fmt.Errorf("make a keyset: %w", err)
	}
	return f.write(ctx, keys{handle: h, made: map[uint32]time.Time{h.KeysetInfo().GetPrimaryKeyId(): time.Now()}})
}

// write replaces the file.
func (f *keyFile) write(ctx context.Context, k keys) error {
	var b bytes.Buffer
	var err error
	if f.wrap == nil {
		err = insecurecleartextkeyset.Write(k.handle, keyset.NewJSONWriter(&b))
	} else {
		err = k.handle.WriteWithContext(ctx, keyset.NewJSONWriter(&b), f.wrap, wrapData)
	}
	if err != nil {
		return fmt.Errorf("write the keyset: %w", err)
	}
	content, err := joinMade(b.Bytes(), k)
	if err != nil {
		return fmt.Errorf("write the keyset: %w", err)
	}
	return writeFile(f.path, content)
}

// errLocked says that somebody else changes the keyset.
var errLocked = errors.New("the keyset is being changed by another; try again when that has ended")

// lock keeps others from changing the file, on other machines too where they share its folder. The lock ends with this
// process at the latest.
func (f *keyFile) lock() (release func(), err error) {
	l, err := os.OpenFile(f.path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the keyset: %w", err)
	}
	err = syscall.Flock(int(l.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errLocked
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock the keyset: %w", err), l.Close())
	}
	return func() { _ = unlock(l) }, nil
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

// splitMade parts a file into what Tink reads and when the keys were made, which may be missing.
func splitMade(b []byte) (tink []byte, made map[uint32]time.Time, err error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil {
		return nil, nil, errors.New("the file is not a Tink keyset in JSON")
	}
	if raw, ok := members[madeMember]; ok {
		if err := json.Unmarshal(raw, &made); err != nil {
			return nil, nil, fmt.Errorf("its member %q is not of ids and times", madeMember)
		}
		delete(members, madeMember)
	}
	tink, err = json.Marshal(members)
	return tink, made, err
}

// joinMade undoes splitMade. Times of keys that are gone are left out.
func joinMade(tink []byte, k keys) ([]byte, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(tink, &members); err != nil {
		return nil, err
	}
	made := map[string]time.Time{}
	for _, key := range k.handle.KeysetInfo().GetKeyInfo() {
		if at, ok := k.made[key.GetKeyId()]; ok {
			made[strconv.FormatUint(uint64(key.GetKeyId()), 10)] = at.UTC().Truncate(time.Second)
		}
	}
	raw, err := json.Marshal(made)
	if err != nil {
		return nil, err
	}
	members[madeMember] = raw
	return json.MarshalIndent(members, "", "  ")
}

// change replaces the keyset by what edit makes of it. The caller holds the lock.
func (f *keyFile) change(ctx context.Context, edit func(m *keyset.Manager, made map[uint32]time.Time) error) error {
	k, _, _, err := f.load(ctx)
	if err != nil {
		return err
	}
	m := keyset.NewManagerFromHandle(k.handle)
	next := keys{made: maps.Clone(k.made)}
	if next.made == nil {
		next.made = map[uint32]time.Time{}
	}
	if err := edit(m, next.made); err != nil {
		return fmt.Errorf("change the keyset: %w", err)
	}
	if next.handle, err = m.Handle(); err != nil {
		return fmt.Errorf("change the keyset: %w", err)
	}
	return f.write(ctx, next)
}
