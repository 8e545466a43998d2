package bus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"
)

// Finding is what was found where something was looked at, in the words of an operator. It holds no secret.
type Finding struct {
	// Part is what was looked at: a section of the configuration, such as nats, or data_dir.
	Part  string `json:"part"`
	Level Level  `json:"level"`
	Text  string `json:"text"`
	// Do is what to do about it. Empty: nothing.
	Do string `json:"do,omitempty"`
}

// Level says how much a Finding matters.
type Level string

// The levels of a finding.
const (
	Fine    Level = "ok"
	Note    Level = "note"    // cannot be told from here, or is for later
	Warning Level = "warning" // it works, and something is lost or will be
	Problem Level = "problem" // it does not work
)

// findings collects what is found of one part.
type findings struct {
	part string
	all  []Finding
}

func (f *findings) add(level Level, do, format string, args ...any) {
	f.all = append(f.all, Finding{Part: f.part, Level: level, Text: fmt.Sprintf(format, args...), Do: do})
}

// Examine looks at what a running Bus works with: the server, the streams, the clock and the keys. It changes nothing.
func (b *Bus) Examine(ctx context.Context) ([]Finding, error) {
	s, err := b.opened()
	if err != nil {
		return nil, err
	}
	ctx, stop := s.whileOpen(ctx)
	defer stop()
	server := findings{part: "nats"}
	where := "embedded NATS server"
	if s.server == nil {
		where = "NATS server " + s.state.ConnectedServerName()
	}
	server.add(Fine, "", "connected to the %s, version %s", where, s.state.ConnectedServerVersion())
	if err := b.Ready(); err != nil {
		server.add(Problem, "see the log of esignd and of the NATS server", "esignd is not ready: %v", err)
	}
	server.streams(ctx, s.js, s.publicJS, s.cfg)
	keys := findings{part: "keys"}
	keys.running(ctx, b)
	return slices.Concat(server.all, keys.all), nil
}

// ExamineStopped looks at what a Bus of cfg will find: data_dir, keyset and, where cfg has one, the external server. It
// changes nothing, but for a file that it writes to data_dir and removes, to see how fast the disk is.
func ExamineStopped(ctx context.Context, cfg Config) ([]Finding, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	keys := findings{part: "keys"}
	file := keys.stopped(ctx, cfg)
	server := findings{part: "nats"}
	if cfg.URL == "" {
		server.add(Note, "run esignd doctor again while esignd runs", "esignd does not run, so that nothing of its embedded server can be seen")
	} else {
		server.external(ctx, cfg, file)
	}
	return slices.Concat(keys.all, server.all), nil
}

// oldKey is the age at which a key is said to be old.
const oldKey = 365 * 24 * time.Hour

// running looks at the keys of a Bus that runs.
func (f *findings) running(ctx context.Context, b *Bus) {
	st, err := b.KeyStatus(ctx)
	if err != nil {
		f.add(Problem, "esignd keys status says more", "the keys could not be looked at: %v", err)
		return
	}
	f.wrapping(st.File, st.Wrapped)
	for _, k := range st.Keys {
		f.key(k)
	}
	if st.Foreign > 0 {
		f.add(Problem, "restore the keyset that these records were written with", "%d records are sealed with keys that are not in the keyset", st.Foreign)
	}
	for _, r := range st.Replicas {
		if r.Error != "" {
			f.add(Problem, "give every replica the same keyset and keys.wrap", "esignd %s on %s cannot read the keyset: %s", r.Owner, r.Host, r.Error)
		}
	}
}

func (f *findings) key(k KeyInfo) {
	switch age := time.Since(k.Made); {
	case k.Damaged > 0:
		f.add(Problem, "the log names the records; restore them from a backup", "%d records of key %d are damaged", k.Damaged, k.ID)
	case k.Role == KeyOld && k.Records == 0 && k.Spooled == 0:
		f.add(Note, "esignd keys drop removes it, once no backup is needed that it sealed", "nothing is sealed with key %d any more", k.ID)
	case k.Role == KeyOld || k.Role == KeyNext:
		f.add(Warning, "esignd keys rotate goes on with it", "a rotation of the keys is not at its end: %d records are sealed with key %d", k.Records, k.ID)
	case !k.Made.IsZero() && age > oldKey:
		f.add(Note, "esignd keys rotate makes a new one while esignd serves", "key %d seals since %s", k.ID, k.Made.UTC().Format(time.DateOnly))
	default:
		f.add(Fine, "", "%d records are sealed with key %d", k.Records, k.ID)
	}
}

// stopped looks at the keyset file of cfg and returns what opens records, nil where there is nothing that does.
func (f *findings) stopped(ctx context.Context, cfg Config) *sealer {
	file, err := newKeyFile(cfg.Keys, cfg.DataDir, cfg.Logger)
	if err != nil {
		f.add(Problem, "", "%v", err)
		return nil
	}
	k, wrapped, info, err := file.load(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		f.add(Note, "keep it, and the key that wraps it, apart from backups", "there is no keyset at %s yet; the first start makes it", file.path)
		return nil
	}
	var opens *sealer
	if err == nil {
		opens, err = k.sealer()
	}
	if err != nil {
		f.add(Problem, "esignd does not start before this is mended", "%v", err)
		return nil
	}
	f.wrapping(file.path, wrapped || file.wrap != nil)
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		f.add(Problem, "chmod 600 "+file.path, "others than its owner may open the keyset (mode %04o)", mode)
	}
	return opens
}

func (f *findings) wrapping(path string, wrapped bool) {
	if wrapped {
		f.add(Fine, "", "the keyset %s is wrapped", path)
		return
	}
	f.add(Warning, "set keys.wrap", "the keyset %s lies in the clear: whoever reads the file reads the tokens", path)
}

const (
	syncTries = 11
	slowSync  = 20 * time.Millisecond // a refresh waits for a few of them
	fewBytes  = 1 << 30
)

// ExamineDataDir looks at a data_dir: who may open it, room, and how fast the disk takes what must not be lost. It writes
// a file there and removes it.
func ExamineDataDir(path string) []Finding {
	f := findings{part: "data_dir"}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.add(Note, "", "%s is not there yet; the first start makes it", path)
		return f.all
	case err != nil:
		f.add(Problem, "run this as the user that esignd runs as", "%v", err)
		return f.all
	case !info.IsDir():
		f.add(Problem, "name another in data_dir", "%s is not a folder", path)
		return f.all
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		f.add(Warning, "chmod 700 "+path, "others than its owner may look into %s (mode %04o)", path, mode)
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(path, &disk); err == nil {
		f.room(path, disk.Bavail*uint64(disk.Bsize)) //nolint:gosec // a block has a size above 0
	}
	f.sync(path)
	return f.all
}

func (f *findings) room(path string, free uint64) {
	if free < fewBytes {
		f.add(Warning, "make room: on a full disk the embedded server takes no write until it is started again",
			"%d MiB are free in %s", free>>20, path)
		return
	}
	f.add(Fine, "", "%d GiB are free in %s", free>>30, path)
}

// sync finds out how long a small write takes until it is on the disk.
func (f *findings) sync(path string) {
	took, err := timeSync(path)
	switch {
	case err != nil:
		f.add(Problem, "run this as the user that esignd runs as, and see that the disk can be written", "%v", err)
	case took > slowSync:
		f.add(Warning, "put data_dir on a faster disk: each refresh waits for a few such writes, one after the other",
			"a synced write takes %v here", took.Round(10*time.Microsecond))
	default:
		f.add(Fine, "", "a synced write takes %v", took.Round(10*time.Microsecond))
	}
}

// timeSync returns the median time of a synced write of a page.
func timeSync(dir string) (_ time.Duration, err error) {
	file, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return 0, fmt.Errorf("write to %s: %w", dir, err)
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	page := make([]byte, 4096)
	times := make([]time.Duration, syncTries)
	for n := range times {
		began := time.Now()
		if _, err := file.Write(page); err != nil {
			return 0, fmt.Errorf("write to %s: %w", dir, err)
		}
		if err := file.Sync(); err != nil {
			return 0, fmt.Errorf("sync a file in %s: %w", dir, err)
		}
		times[n] = time.Since(began)
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}
