package bus

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"

	"github.com/esignd/esignd/core"
)

// A backup begins with two lines in the clear: backupMagic, and a backupHeader in JSON. The rest is sealed in segments
// with a key of its own, which the keyset seals; key and segments are bound to the two lines, each segment to its place,
// and the last one to being that. Unsealed it is a JSON document a line: backupRecords, and a backupEnd.
const (
	backupName    = "esignd backup "
	backupMagic   = backupName + "1\n"
	backupSegment = 64 << 10
	// maxHeader bounds what is read of a file that may be anything.
	maxHeader = 4 << 10
)

// Errors of a file that is no whole backup.
var (
	errNotBackup = errors.New("this is not a backup that esignd wrote")
	errBroken    = errors.New("the backup is damaged: it was changed, or cut short")
)

type backupHeader struct {
	Time  time.Time `json:"time"`
	Owner string    `json:"owner"`
	Key   []byte    `json:"key,omitempty"` // of the segments, sealed
}

type backupRecord struct {
	Key    string          `json:"key"`
	Time   time.Time       `json:"time"`
	Public json.RawMessage `json:"public"`
	Secret []byte          `json:"secret,omitempty"`
}

// backupEnd closes a backup and says what is in it.
type backupEnd struct {
	End bool `json:"end"`
	BackupContent
}

// BackupContent counts what is in a backup.
type BackupContent struct {
	Records int `json:"records"`
	Grants  int `json:"grants"`
	// Unreadable are the keys of records that could not be read when the backup was made, and are not in it.
	Unreadable []string `json:"unreadable,omitempty"`
}

// BackupInfo says what a backup is. Time and Owner are those of the esignd it was taken from.
type BackupInfo struct {
	Time  time.Time
	Owner string
	BackupContent
}

// backupWriter writes a backup.
type backupWriter struct {
	seal io.WriteCloser
	buf  *bufio.Writer
	enc  *json.Encoder
	end  backupEnd
}

func (s *sealer) newBackup(w io.Writer, h backupHeader) (*backupWriter, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails: it ends the program instead
	bound, err := h.bound()
	if err != nil {
		return nil, err
	}
	if h.Key, err = s.aead.Encrypt(key, bound); err != nil {
		return nil, fmt.Errorf("seal the backup's key: %w", err)
	}
	if bound, err = h.bound(); err != nil {
		return nil, err
	}
	stream, err := subtle.NewAESGCMHKDF(key, "SHA256", len(key), backupSegment, 0)
	if err != nil {
		return nil, fmt.Errorf("seal the backup: %w", err)
	}
	if _, err := w.Write(bound); err != nil {
		return nil, err
	}
	b := &backupWriter{end: backupEnd{End: true}}
	if b.seal, err = stream.NewEncryptingWriter(w, bound); err != nil {
		return nil, fmt.Errorf("seal the backup: %w", err)
	}
	b.buf = bufio.NewWriter(b.seal)
	b.enc = json.NewEncoder(b.buf)
	return b, nil
}

// bound returns the two lines that a backup begins with: what its key, and with the key in it the rest, is bound to.
func (h backupHeader) bound() ([]byte, error) {
	line, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encode the backup's header: %w", err)
	}
	return append(append([]byte(backupMagic), line...), '\n'), nil
}

func (b *backupWriter) add(r core.Record) error {
	b.end.Records++
	if strings.HasPrefix(r.Key, "grant.") {
		b.end.Grants++
	}
	return b.enc.Encode(backupRecord{Key: r.Key, Time: r.Time, Public: r.Public, Secret: r.Secret}) //nolint:gosec // the records are sealed, and so is the file
}

// close ends the backup. Without it what was written is cut short.
func (b *backupWriter) close(unreadable []string) error {
	b.end.Unreadable = unreadable
	return errors.Join(b.enc.Encode(b.end), b.buf.Flush(), b.seal.Close())
}

// readBackup calls fn with each record of a backup. What fn was called with is as it was written; that it is all of it is
// known when readBackup returns nil.
func (s *sealer) readBackup(r io.Reader, fn func(core.Record) error) (BackupInfo, error) {
	in := bufio.NewReaderSize(r, maxHeader)
	h, bound, err := readBackupHeader(in)
	if err != nil {
		return BackupInfo{}, err
	}
	info := BackupInfo{Time: h.Time, Owner: h.Owner}
	if !s.knows(h.Key) {
		return info, fmt.Errorf("the backup of %s was made by an esignd with another keyset: put that keyset in place", h.Time.Format(time.RFC3339))
	}
	sealed := h.Key
	h.Key = nil
	open, err := h.bound()
	if err != nil {
		return info, err
	}
	key, err := s.aead.Decrypt(sealed, open)
	if err != nil {
		return info, errBroken
	}
	stream, err := subtle.NewAESGCMHKDF(key, "SHA256", len(key), backupSegment, 0)
	if err != nil {
		return info, errBroken
	}
	plain, err := stream.NewDecryptingReader(in, bound)
	if err != nil {
		return info, errBroken
	}
	info.BackupContent, err = readBackupRecords(json.NewDecoder(plain), fn)
	return info, err
}

// readBackupHeader reads the two lines in the clear, and returns them as they are too.
func readBackupHeader(in *bufio.Reader) (backupHeader, []byte, error) {
	magic, err := in.ReadSlice('\n')
	if err != nil || !bytes.HasPrefix(magic, []byte(backupName)) {
		return backupHeader{}, nil, errNotBackup
	}
	if string(magic) != backupMagic {
		return backupHeader{}, nil, fmt.Errorf("the backup is of format %q, and this esignd reads 1: run the one that wrote it, or a newer one",
			strings.TrimSpace(string(magic[len(backupName):])))
	}
	line, err := in.ReadSlice('\n')
	if err != nil {
		return backupHeader{}, nil, errBroken
	}
	var h backupHeader
	if json.Unmarshal(line, &h) != nil || len(h.Key) == 0 {
		return backupHeader{}, nil, errBroken
	}
	return h, append([]byte(backupMagic), line...), nil
}

func readBackupRecords(dec *json.Decoder, fn func(core.Record) error) (BackupContent, error) {
	var count BackupContent
	for {
		var line struct {
			backupRecord
			backupEnd
		}
		if dec.Decode(&line) != nil {
			return count, errBroken
		}
		if line.End {
			if line.Records != count.Records || line.Grants != count.Grants || dec.More() {
				return count, errBroken
			}
			// The end of the segments is authenticated when it is read.
			if _, err := dec.Token(); !errors.Is(err, io.EOF) {
				return count, errBroken
			}
			return line.BackupContent, nil
		}
		count.Records++
		if strings.HasPrefix(line.Key, "grant.") {
			count.Grants++
		}
		if err := fn(core.Record{Key: line.Key, Time: line.Time, Public: line.Public, Secret: line.Secret}); err != nil {
			return count, err
		}
	}
}
