//go:build heavy

package bench

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"testing"
	"time"

	"github.com/esignd/esignd/tests/system"
)

// profileVariable names the file that `make profile` writes.
const profileVariable = "ESIGND_PROFILE"

// TestProfile measures what a busy daemon does: it answers with tokens that live, and refreshes. `make build` compiles by
// the profile. The daemon is in this process for that; the vendor is, too, and does little.
func TestProfile(t *testing.T) {
	file, grants, lasts := os.Getenv(profileVariable), 8_000, 10*time.Second
	if file == "" {
		file, grants, lasts = filepath.Join(t.TempDir(), "cpu.pgo"), 200, 2*time.Second
	}
	const live = 100
	v := startVendor(t, 0, 24*time.Hour)
	d := newDaemon(t, v)
	sow(t, d, v, crop{kind: "live", n: live, lifetime: 24 * time.Hour}, crop{kind: "forced", n: grants, lifetime: 24 * time.Hour})
	inside := startInside(t, d, v)
	var profile bytes.Buffer
	if err := pprof.StartCPUProfile(&profile); err != nil {
		t.Fatal(err)
	}
	defer pprof.StopCPUProfile()
	ask := callTask{URL: inside.NATSURL(), Subject: tokenSubject, Bodies: bodies("live", live), Callers: 1, Conns: 1, Duration: lasts}
	ask.run(t)
	ask.Callers, ask.Conns = 16, 16
	ask.run(t)
	forceAtOnce(t, inside.NATSURL(), "forced", grants)
	pprof.StopCPUProfile()
	closeInside(t, inside)

	names := system.Must(io.ReadAll(system.Must(gzip.NewReader(bytes.NewReader(profile.Bytes())))(t)))(t)
	for _, hot := range []string{"bus.(*Service).takeQuickly", "core.(*Manager).refresh", "server.(*client).processInboundMsg"} {
		if !bytes.Contains(names, []byte(hot)) {
			t.Errorf("the profile does not have %s", hot)
		}
	}
	if err := os.WriteFile(file, profile.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
