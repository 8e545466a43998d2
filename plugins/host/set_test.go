package host_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/host"
)

func newSet(t *testing.T, cfg host.SetConfig) *host.Set {
	t.Helper()
	s, err := host.NewSet(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSetServesEachPluginOfTheFolder(t *testing.T) {
	dir := closedDir(t)
	binaryIn(t, dir, "good")
	binaryIn(t, dir, "plain")
	for _, other := range []string{"esignd", "plugin-host", "esignd-plugin-good.bak", "esignd-plugin-", "esignd-plugin-Bad"} {
		if err := os.WriteFile(filepath.Join(dir, other), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	logs := &logBuffer{}
	s := newSet(t, host.SetConfig{Dir: dir, Vendors: []string{"good"}, Logger: logs.logger()})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var adapters core.Adapters = s
	if diff := cmp.Diff([]string{"good", "plain"}, s.Vendors()); diff != "" {
		t.Error(diff)
	}
	for _, status := range s.Status() {
		a, err := adapters.Adapter(status.Vendor)
		if err != nil || status.State != host.Ready {
			t.Fatalf("%+v, %v", status, err)
		}
		if _, err := token(t.Context(), a, ""); err != nil {
			t.Errorf("%s: %v", status.Vendor, err)
		}
		_, err = a.(core.HostChecker).CheckAPIBaseURL(t.Context(), core.Credentials{}, "https://vendor.example")
		if checks := err == nil; checks != (status.Vendor == "good") {
			t.Errorf("%s checks hosts: %v", status.Vendor, err)
		}
	}
	_, err := adapters.Adapter("nowhere")
	for _, want := range []string{filepath.Join(dir, "esignd-plugin-nowhere"), "plugins.dir", "good, plain"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %s", err, want)
		}
	}
	if strings.Count(logs.String(), "not pinned") != 2 {
		t.Error("the missing digests were not warned of, once for each plugin")
	}
	good, err := adapters.Adapter("good")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = token(t.Context(), good, "")
	wantVendorError(t, err, core.NotSent, core.CodePlugin)
}

func TestSetStartsAllPluginsOrNone(t *testing.T) {
	dir := closedDir(t)
	binaryIn(t, dir, "good")
	binaryIn(t, dir, "exits")
	binaryIn(t, dir, "prints")
	s := newSet(t, host.SetConfig{Dir: dir})
	err := s.Start(t.Context())
	for _, want := range []string{"start plugin exits", "start plugin prints"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
	if all := s.Status(); len(all) != 0 {
		t.Errorf("left: %+v", all)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSetNamesWhatIsMissing(t *testing.T) {
	dir := closedDir(t)
	s := newSet(t, host.SetConfig{
		Dir: dir, Vendors: []string{"needed"}, SHA256: map[string]string{"pinned": strings.Repeat("0", 64)},
	})
	err := s.Start(t.Context())
	for _, want := range []string{filepath.Join(dir, "esignd-plugin-needed"), filepath.Join(dir, "esignd-plugin-pinned"), "make build"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to name %s", err, want)
		}
	}
	s = newSet(t, host.SetConfig{Dir: filepath.Join(dir, "nowhere")})
	if err := s.Start(t.Context()); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "plugins.dir") {
		t.Errorf("a folder that is not there: %v", err)
	}
}

func TestSetChecksDigests(t *testing.T) {
	dir := closedDir(t)
	binaryIn(t, dir, "good")
	s := newSet(t, host.SetConfig{Dir: dir, SHA256: map[string]string{"good": strings.Repeat("0", 64)}})
	if err := s.Start(t.Context()); !errors.Is(err, host.ErrDigest) {
		t.Errorf("got %v, want ErrDigest", err)
	}
	if _, err := host.NewSet(host.SetConfig{Dir: dir, SHA256: map[string]string{"good": "no digest"}}); err == nil {
		t.Error("a digest that is none was accepted")
	}
}
