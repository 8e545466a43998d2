package bus

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/esignd/esignd/core"
)

const spoolSuffix = ".record"

// spool is the core.Spool in a folder of the data_dir: a file for each record, sealed as in the store.
type spool struct{ bus *Bus }

var _ core.Spool = spool{}

// spoolFile is the content of a file.
type spoolFile struct {
	Format   int             `json:"v"`
	Key      string          `json:"key"`
	Revision uint64          `json:"revision,omitempty"`
	TTL      time.Duration   `json:"ttl,omitempty"`
	Value    json.RawMessage `json:"value"`
}

// Put returns when the file and its name are on the disk.
func (s spool) Put(r core.Record) error {
	ses, err := s.bus.opened()
	if err != nil {
		return err
	}
	path, err := ses.spoolPath(r.Key)
	if err != nil {
		return err
	}
	value, err := ses.keys.encode(r.Key, r.Public, r.Secret)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("spool record %s: %w", r.Key, err)
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return fmt.Errorf("spool record %s: %w", r.Key, err)
	}
	b, err := marshalSpoolFile(r, value)
	if err != nil {
		return fmt.Errorf("spool record %s: %w", r.Key, err)
	}
	if err := writeFile(path, b); err != nil {
		return fmt.Errorf("spool record %s: %w", r.Key, err)
	}
	return nil
}

// All reads the folder.
func (s spool) All() ([]core.Record, error) {
	ses, err := s.bus.opened()
	if err != nil {
		return nil, err
	}
	paths, err := ses.dir.spooled()
	if err != nil {
		return nil, fmt.Errorf("read the spool: %w", err)
	}
	var records []core.Record
	var errs []error
	for _, path := range paths {
		r, err := ses.readSpooled(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		records = append(records, r)
	}
	return records, errors.Join(errs...)
}

// Remove returns when the name is gone from the disk.
func (s spool) Remove(key string) error {
	ses, err := s.bus.opened()
	if err != nil {
		return err
	}
	path, err := ses.spoolPath(key)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("drop spooled record %s: %w", key, err)
	}
	return syncDir(filepath.Dir(path))
}

// spooled returns the paths of the files in the spool.
func (d *dataDir) spooled() ([]string, error) {
	dir := filepath.Join(d.path, spoolFolder)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var paths []string
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), spoolSuffix) {
			paths = append(paths, filepath.Join(dir, entry.Name()))
		}
	}
	return paths, nil
}

func (s *session) spoolPath(key string) (string, error) {
	if err := checkKey(key); err != nil {
		return "", err
	}
	return filepath.Join(s.dir.path, spoolFolder, key+spoolSuffix), nil
}

func (s *session) readSpooled(path string) (core.Record, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return core.Record{}, fmt.Errorf("read the spool: %w", err)
	}
	f, err := readSpoolFile(b)
	if err == nil && f.Key+spoolSuffix != filepath.Base(path) {
		err = errors.New("it names another record")
	}
	if err != nil {
		return core.Record{}, fmt.Errorf("spool file %s: %w", path, errors.Join(err, core.ErrDamaged))
	}
	r := core.Record{Key: f.Key, Revision: f.Revision, TTL: f.TTL}
	r.Public, r.Secret, err = s.keys.decode(f.Key, f.Value)
	if err != nil {
		return core.Record{}, fmt.Errorf("spool file %s: %w", path, err)
	}
	return r, nil
}

// marshalSpoolFile writes the value byte for byte, where json.Marshal would compact and escape it.
func marshalSpoolFile(r core.Record, value []byte) ([]byte, error) {
	b, err := json.Marshal(spoolFile{Format: recordFormat, Key: r.Key, Revision: r.Revision, TTL: r.TTL,
		Value: json.RawMessage("0")})
	if err != nil {
		return nil, err
	}
	b = append(b[:len(b)-len("0}")], value...)
	return append(b, '}'), nil
}

func readSpoolFile(b []byte) (spoolFile, error) {
	var f spoolFile
	if json.Unmarshal(b, &f) != nil {
		return f, errors.New("it is not in a form that esignd writes")
	}
	if f.Format < 1 || f.Format > recordFormat {
		return f, fmt.Errorf("its format is %d; this esignd reads up to %d", f.Format, recordFormat)
	}
	return f, nil
}
