package host

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Config describes one plugin. Path and Vendor are required.
type Config struct {
	// Path is the plugin's file.
	Path string
	// Vendor is the name that the plugin must answer to: lower-case letters and digits.
	Vendor string
	// SHA256 is the digest that the file must have, in hexadecimal. Empty: any file is started.
	SHA256 string
	// LooseParents only warns where others can write a folder above that of the file, instead of refusing to start it. It is
	// for development, in folders that were never meant to run a service.
	LooseParents bool
	// Verbatim leaves in the log, and in the text of errors, what the plugin wrote there of the secrets of its calls. It is for
	// tests that look whether it does.
	Verbatim bool
	// Args are given to the plugin on its command line. No secret belongs there.
	Args []string
	// Env holds further variables for the plugin, as NAME=value. No secret belongs there.
	Env []string
	// SocketDir is a folder for the plugin's socket, made where it is missing; it belongs to this process alone. Empty, or
	// too long for a socket's name: a new one in the folder for temporary files (or in /tmp, where that is too long as
	// well), for as long as the plugin is open.
	SocketDir string
	// Logger takes what happens to the plugin, and what the plugin logs. nil: slog.Default().
	Logger *slog.Logger
	// Limits bound every wait, and the process's memory.
	Limits Limits
	// TracerProvider and MeterProvider tell of the calls. nil: the global ones.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
}

// Limits bound every wait, and a process's memory. Each that is zero has its default.
type Limits struct {
	Start         time.Duration // until a new process has told its metadata; 30 s
	Call          time.Duration // for a call whose context has no deadline; 10 s
	HealthPeriod  time.Duration // between two looks at whether the process answers; 3 s
	HealthTimeout time.Duration // for one look; 1 s. Three misses in a row end the process
	Drain         time.Duration // for calls in flight when the plugin is closed; 3 s
	Kill          time.Duration // for the process to end by itself once it was told to; 2 s
	MinBackoff    time.Duration // before a process is replaced; doubles with each failure; 100 ms
	MaxBackoff    time.Duration // 30 s
	Settled       time.Duration // after this long without failure MinBackoff counts again; 60 s
	// Memory is how many bytes a process may have before it is ended, on Linux; 1 GiB. It is looked at twice a second,
	// and does not count what its own children have.
	Memory int64
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Start:         cmp.Or(l.Start, 30*time.Second),
		Call:          cmp.Or(l.Call, 10*time.Second),
		HealthPeriod:  cmp.Or(l.HealthPeriod, 3*time.Second),
		HealthTimeout: cmp.Or(l.HealthTimeout, time.Second),
		Drain:         cmp.Or(l.Drain, 3*time.Second),
		Kill:          cmp.Or(l.Kill, 2*time.Second),
		MinBackoff:    cmp.Or(l.MinBackoff, 100*time.Millisecond),
		MaxBackoff:    cmp.Or(l.MaxBackoff, 30*time.Second),
		Settled:       cmp.Or(l.Settled, time.Minute),
		Memory:        cmp.Or(l.Memory, 1<<30),
	}
}

const maxVendor = 32 // letters of a vendor's name

var vendorName = regexp.MustCompile(`^[a-z][a-z0-9]*$`)

func isVendor(name string) bool { return len(name) <= maxVendor && vendorName.MatchString(name) }

// New checks the configuration and returns the plugin, not started. It does no I/O.
func New(cfg Config) (*Plugin, error) {
	if cfg.Path == "" {
		return nil, errors.New("configure a plugin: Path is empty")
	}
	if !isVendor(cfg.Vendor) {
		return nil, fmt.Errorf("configure plugin %s: the vendor's name %q is not lower-case letters and digits", cfg.Path, cfg.Vendor)
	}
	var digest []byte
	if cfg.SHA256 != "" {
		var err error
		if digest, err = parseDigest(cfg.SHA256); err != nil {
			return nil, fmt.Errorf("configure plugin %s: %w", cfg.Vendor, err)
		}
	}
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("configure plugin %s: %w", cfg.Vendor, err)
	}
	cfg.Path = path
	cfg.Limits = cfg.Limits.withDefaults()
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default()).With("vendor", cfg.Vendor)
	return &Plugin{
		cfg:     cfg,
		digest:  digest,
		secrets: discretion{verbatim: cfg.Verbatim},
		state:   Stopped,
		down:    notSent("the plugin was not started"),
	}, nil
}

func parseDigest(s string) ([]byte, error) {
	digest, err := hex.DecodeString(s)
	if err != nil || len(digest) != 32 {
		return nil, fmt.Errorf("the pinned digest %q is no SHA-256 in hexadecimal (64 digits); `sha256sum` prints it", s)
	}
	return digest, nil
}
