package host_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/plugins/host"
)

// newPlugin returns a plugin that is not started.
func newPlugin(t *testing.T, cfg host.Config) *host.Plugin {
	t.Helper()
	p, err := host.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	tests := []struct {
		vendor string
		is     error
		says   []string
	}{
		{"exits", host.ErrNotPlugin, []string{"exit status 3", "the config is missing"}},
		{"prints", host.ErrNotPlugin, []string{`"hello, I am a library that prints"`, "before sdk.Serve"}},
		{"future", host.ErrVersion, []string{"version 7", "speaks 1", "rebuild"}},
		{"dies", nil, []string{"said hello and then ended (exit status 4)", "the socket is not there"}},
		{"remote", nil, []string{"not in its socket folder"}},
		{"liar", nil, []string{`Vendor is "somebodyelse"`, "esignd-plugin-liar"}},
		{"endless", host.ErrNotPlugin, []string{"xxxx"}},
	}
	for _, tt := range tests {
		t.Run(tt.vendor, func(t *testing.T) {
			t.Parallel()
			p := newPlugin(t, host.Config{Env: raceEnv, Path: binary(t, tt.vendor), Vendor: tt.vendor, Limits: host.Limits{Start: 5 * time.Second}})
			err := p.Start(t.Context())
			if err == nil {
				t.Fatal("it started")
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("got %v, want one that is %q", err, tt.is)
			}
			for _, want := range tt.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want it to say %q", err, want)
				}
			}
			if strings.Count(err.Error(), "start plugin "+tt.vendor) != 1 || len(err.Error()) > 1200 {
				t.Errorf("the error is not readable: %v", err)
			}
			if pid := p.Status().PID; pid != 0 {
				t.Errorf("process %d was left", pid)
			}
		})
	}
}

func TestStartIsBounded(t *testing.T) {
	begun := time.Now()
	start(t, "good", host.Limits{})
	within := bounded(time.Since(begun))
	p := newPlugin(t, host.Config{Env: raceEnv, Path: binary(t, "silent"), Vendor: "silent", Limits: host.Limits{Start: 300 * time.Millisecond}})
	begun = time.Now()
	err := p.Start(t.Context())
	if !errors.Is(err, host.ErrNotPlugin) || !strings.Contains(err.Error(), "plugin-host describe") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begun); took > within {
		t.Errorf("it took %v, and may take %v", took, within)
	}
}

func TestStartOfWhatIsNoPlugin(t *testing.T) {
	dir := closedDir(t)
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := map[string]struct {
		path string
		says string
	}{
		"missing":        {filepath.Join(dir, "nothing"), "there is no plugin file"},
		"folder":         {dir, "no regular file"},
		"not executable": {write("plain", "#!/bin/sh\n", 0o644), "chmod +x"},
		"no program":     {write("text", "this is text", 0o755), "exec format error"},
		"group-writable": {write("loose", "#!/bin/sh\n", 0o775), "run `chmod go-w "},
		"other program":  {write("script", "#!/bin/sh\nexit 7\n", 0o755), "exit status 7"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPlugin(t, host.Config{Path: tt.path, Vendor: "good"})
			if err := p.Start(t.Context()); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want it to say %q", err, tt.says)
			}
		})
	}
}

func TestDigestIsCheckedAtEachStart(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sum := digest(t, self)
	wrong := strings.Repeat("0", 64)
	p := newPlugin(t, host.Config{Env: raceEnv, Path: binary(t, "good"), Vendor: "good", SHA256: wrong})
	err = p.Start(t.Context())
	if !errors.Is(err, host.ErrDigest) || !strings.Contains(err.Error(), sum) || !strings.Contains(err.Error(), wrong) {
		t.Errorf("got %v, want both digests", err)
	}

	p = newPlugin(t, host.Config{Env: raceEnv, Path: binary(t, "good"), Vendor: "good", SHA256: strings.ToUpper(sum)})
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close(t.Context()) }()
	if !p.Status().Pinned {
		t.Error("the status does not say that the digest is pinned")
	}
	kill9(t, p.Status().PID)
	eventually(t, "a second start with the same digest", func() bool {
		return p.Status().State == host.Ready && p.Status().Restarts == 1
	})
}

func TestNewRefusesWhatCannotBeRight(t *testing.T) {
	for name, cfg := range map[string]host.Config{
		"no path":     {Vendor: "good"},
		"vendor":      {Path: "/p", Vendor: "Good!"},
		"long vendor": {Path: "/p", Vendor: strings.Repeat("a", 33)},
		"digest":      {Path: "/p", Vendor: "good", SHA256: "abc"},
	} {
		if _, err := host.New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestEvilLogLinesDoNotHarmTheHost(t *testing.T) {
	p, logs := start(t, "evillogs", host.Limits{})
	if _, err := token(t.Context(), p.Adapter(), ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the line as a record", func() bool {
		return strings.Contains(logs.String(), `"level":"DEBUG","msg":"1","vendor":"evillogs"`)
	})
}

func TestFloodOfOutputIsBounded(t *testing.T) {
	p, logs := start(t, "good", host.Limits{})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, what := range []string{"flood", "print"} {
		if _, err := token(t.Context(), p.Adapter(), what); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.TotalAlloc) - int64(before.TotalAlloc); grown > 16<<20 {
		t.Errorf("20 MB of output cost %d bytes", grown)
	}
	if _, err := token(t.Context(), p.Adapter(), ""); err != nil {
		t.Fatal(err)
	}
	if n := len(logs.String()); n > 1<<20 {
		t.Errorf("the log grew by %d bytes", n)
	}
}
