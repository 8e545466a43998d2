package bus

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/esignd/esignd/core"
)

// told returns the finding whose text holds what, and fails where there is none of that level.
func told(t *testing.T, found []Finding, level Level, what string) {
	t.Helper()
	for _, f := range found {
		if f.Level == level && strings.Contains(f.Text, what) {
			return
		}
	}
	t.Errorf("no %s says %q in %+v", level, what, found)
}

// noneWorse fails where a finding is a warning or a problem.
func noneWorse(t *testing.T, found []Finding) {
	t.Helper()
	for _, f := range found {
		if f.Level == Warning || f.Level == Problem {
			t.Errorf("unexpected: %+v", f)
		}
	}
}

func examineStopped(t *testing.T, cfg Config) []Finding {
	t.Helper()
	found, err := ExamineStopped(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestExamineTellsOfAChangedStreamAndForeignRecords(t *testing.T) {
	e := startExternal(t, nil)
	cfg := externalConfig(t, e.ClientURL())
	noneWorse(t, examineStopped(t, cfg))
	b := openBus(t, cfg)
	put(t, b.Store(), core.Record{Key: "grant.a", Public: []byte(`{}`), Secret: []byte("token")})
	running, err := b.Examine(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	noneWorse(t, running)
	told(t, running, Fine, "1 records are sealed with key")
	noneWorse(t, examineStopped(t, cfg))

	changed := eventConfig("esign", 1)
	changed.MaxAge = time.Hour
	if _, err := b.session.Load().publicJS.UpdateStream(testContext(t), changed); err != nil {
		t.Fatal(err)
	}
	told(t, examineStopped(t, cfg), Warning, "stream ESIGN_EVENTS was changed by somebody: max_age")

	elsewhere := externalConfig(t, startExternal(t, nil).ClientURL())
	closeBus(t, openBus(t, elsewhere))
	elsewhere.URL = cfg.URL
	told(t, examineStopped(t, elsewhere), Problem, "the keyset here does not open them")
	elsewhere.Prefix = "other"
	told(t, examineStopped(t, elsewhere), Problem, "another nats.prefix")
}

func TestExamineTellsWhatAUserMayNot(t *testing.T) {
	e := startExternal(t, func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "all", Password: "p"},
			{Username: "few", Password: "p", Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: []string{"$JS.API.>", "esign.timer.>"}},
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}}}},
		}
	})
	as := func(user string) Config {
		return externalConfig(t, strings.Replace(e.ClientURL(), "nats://", "nats://"+user+":p@", 1))
	}
	closeBus(t, openBus(t, as("all")))
	found := examineStopped(t, as("few"))
	told(t, found, Problem, "does not let this user subscribe to esign.api.>")
	told(t, found, Problem, "publish to $KV.ESIGN.doctor")
	for _, f := range found {
		if strings.Contains(f.Text, "esign.timer.doctor") {
			t.Errorf("the user may publish there: %+v", f)
		}
	}
	told(t, examineStopped(t, as("nobody")), Problem, "connect to the NATS server")
}

func TestExamineTellsOfTheKeysetWithoutTouchingIt(t *testing.T) {
	dir := t.TempDir()
	cfg := embeddedConfig(dir)
	told(t, examineStopped(t, cfg), Note, "the first start makes it")
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("looking made %v, %v", entries, err)
	}
	closeBus(t, openBus(t, cfg))
	told(t, examineStopped(t, cfg), Warning, "lies in the clear")
	file := filepath.Join(dir, keysetFile)
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	told(t, examineStopped(t, cfg), Problem, "others than its owner may open the keyset (mode 0644)")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	told(t, examineStopped(t, cfg), Problem, "the file holds no keys")
}

func TestExamineDataDirTellsOfModesAndRoom(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	found := ExamineDataDir(dir)
	told(t, found, Warning, "(mode 0750)")
	told(t, found, Fine, "GiB are free")
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("what was written to see how fast the disk is was left: %v, %v", entries, err)
	}
	told(t, ExamineDataDir(filepath.Join(dir, "none")), Note, "is not there yet")
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	told(t, ExamineDataDir(file), Problem, "is not a folder")
	full := findings{part: "data_dir"}
	full.room(dir, 100<<20)
	told(t, full.all, Warning, "100 MiB are free")
}

func TestExamineTellsOfClocksThatDiffer(t *testing.T) {
	var f findings
	f.clock(time.Now(), time.Now().Add(-time.Hour))
	noneWorse(t, f.all)
	f.clock(time.Now().Add(-time.Minute), time.Now().Add(-time.Hour))
	told(t, f.all, Warning, "1m0s apart from the one here")
	f.clock(time.Now(), time.Now().Add(time.Hour))
	told(t, f.all, Warning, "in the future of the NATS server's clock")
}
