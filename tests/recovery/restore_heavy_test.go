//go:build heavy

package recovery

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/tests/system"
)

// A daemon is lost after it has refreshed, and its backup is restored into an empty one: each live access token is served
// with what is not known of it, and each refresh token gets one more try. Where the vendor rotates, it was spent.
func TestBackupIsRestoredIntoAnEmptyDaemon(t *testing.T) {
	t.Parallel()
	clients := system.World{Lifetime: 5 * time.Minute}.Mains(t, "lazy")
	lost := system.StartDaemon(t, system.Options{Binaries: binaries, Clients: clients})
	cl := lost.Dial()
	before := map[string]client.Token{}
	for _, r := range clients {
		connect(t, cl, r.Name, "ann@example.com")
		before[r.Name] = system.Must(cl.Token(t.Context(), sel(r.Name, "ann@example.com")))(t)
	}
	backup := backUp(t, lost) // while it runs
	for _, r := range clients {
		refresh(t, cl, r.Name, "ann@example.com", 2)
	}
	lost.Kill()

	d := system.NewDaemon(t, system.Options{Binaries: binaries, Clients: clients})
	if out, ok := esignd(t, d, "restore", "--config", d.Config, backup); ok || !strings.Contains(out, "there is no keyset at") {
		t.Fatalf("restored without a keyset: %s", out)
	}
	give(t, lost, filepath.Join(d.DataDir, "keyset.json"))
	out := run(t, d, "restore", "--config", d.Config, backup)
	if !strings.Contains(out, "restored  3        with outcome_unknown") {
		t.Errorf("restored:\n%s", out)
	}
	t.Cleanup(d.Stop)
	d.Start()
	cl = d.Dial()
	for _, r := range clients {
		tok := system.Must(cl.Token(t.Context(), sel(r.Name, "ann@example.com")))(t)
		if tok.Generation != 2 || !tok.AccessToken.Equal(before[r.Name].AccessToken) || !slices.Contains(tok.Warnings, core.WarnOutcomeUnknown) {
			t.Errorf("%s: generation %d, warnings %v", r.Name, tok.Generation, tok.Warnings)
		}
		if tok.ExpiresAt.After(before[r.Name].ExpiresAt.Add(2 * time.Second)) {
			t.Errorf("%s: the token is said to live until %s, and lives until %s", r.Name, tok.ExpiresAt, before[r.Name].ExpiresAt)
		}
	}
	if n := reused(clients); n != 0 {
		t.Errorf("%d spent refresh tokens were presented while a live token was left", n)
	}
	for _, r := range clients {
		tok, err := cl.Report(t.Context(), sel(r.Name, "ann@example.com"), 2)
		if r.Vendor != "esignglobal" {
			if err != nil || tok.Generation != 3 || len(tok.Warnings) != 0 || system.CallAPI(t, tok) != 200 {
				t.Errorf("%s does not rotate: generation %d, warnings %v, %v", r.Name, tok.Generation, tok.Warnings, err)
			}
			continue
		}
		var e *client.Error
		if !errors.As(err, &e) || e.Code != client.ReauthorizationRequired || e.Reason != "outcome_unknown" || e.ConnectURL == "" {
			t.Errorf("%s rotates: %v", r.Name, err)
		}
		connect(t, cl, r.Name, "ann@example.com")
		if again := system.Must(cl.Token(t.Context(), sel(r.Name, "ann@example.com")))(t); again.Generation != 3 || system.CallAPI(t, again) != 200 {
			t.Errorf("%s, connected again: generation %d", r.Name, again.Generation)
		}
	}
	if n := reused(clients); n != 1 {
		t.Errorf("%d spent refresh tokens were presented, want the one last try", n)
	}
}

// A backup is restored into the daemon that it was taken of, which has moved on: nothing newer is overwritten.
func TestBackupIsRestoredIntoADaemonThatMovedOn(t *testing.T) {
	t.Parallel()
	clients := system.World{Lifetime: 5 * time.Minute}.Mains(t, "lazy")
	d := system.StartDaemon(t, system.Options{Binaries: binaries, Clients: clients, Secrets: t.TempDir()})
	cl := d.Dial()
	for _, r := range clients {
		for _, account := range []string{"goes-on@example.com", "refreshed@example.com", "revoked@example.com", "forgotten@example.com"} {
			connect(t, cl, r.Name, account)
		}
	}
	backup := filepath.Join(t.TempDir(), "backup")
	shown(t, "backup", run(t, d, "backup", "--config", d.Config, "--out", backup))
	want := map[string]client.Grant{}
	for _, r := range clients {
		refresh(t, cl, r.Name, "refreshed@example.com", 2)
		system.Must(cl.Revoke(t.Context(), sel(r.Name, "revoked@example.com"), "left"))(t)
		system.Must(cl.Forget(t.Context(), sel(r.Name, "forgotten@example.com")))(t)
		connect(t, cl, r.Name, "new@example.com")
		for _, account := range []string{"goes-on@example.com", "refreshed@example.com", "revoked@example.com", "new@example.com"} {
			want[r.Name+" "+account] = system.Must(cl.Grant(t.Context(), sel(r.Name, account)))(t)
		}
	}
	if out, ok := esignd(t, d, "restore", "--config", d.Config, backup); ok || !strings.Contains(out, "a backup is restored while esignd is stopped") {
		t.Errorf("under a running daemon: %s", out)
	}
	d.Stop()
	shown(t, "restore", run(t, d, "restore", "--config", d.Config, backup, "--dry-run"))
	out := run(t, d, "restore", "--config", d.Config, backup)
	for _, row := range []string{"kept    3        the store has this generation", "kept    3        the store has a later generation", "kept    3        revoked since", "kept    3        forgotten since"} {
		if !strings.Contains(out, row) {
			t.Errorf("no %q in\n%s", row, out)
		}
	}
	if strings.Contains(out, "restored") || strings.Contains(out, "skipped") {
		t.Errorf("restored:\n%s", out)
	}
	d.Start()
	cl = d.Dial()
	for _, r := range clients {
		for _, account := range []string{"goes-on@example.com", "refreshed@example.com", "revoked@example.com", "new@example.com"} {
			was, is := want[r.Name+" "+account], system.Must(cl.Grant(t.Context(), sel(r.Name, account)))(t)
			if is.State != was.State || is.Generation != was.Generation || len(is.Warnings) != len(was.Warnings) {
				t.Errorf("%s of %s is %s, generation %d, %v; was %s, %d", account, r.Name, is.State, is.Generation, is.Warnings, was.State, was.Generation)
			}
			if is.State != "active" {
				continue
			}
			if status := system.CallAPI(t, refresh(t, cl, r.Name, account, was.Generation+1)); status != 200 {
				t.Errorf("%s of %s: the vendor answers %d after a refresh", account, r.Name, status)
			}
		}
		if _, err := cl.Grant(t.Context(), sel(r.Name, "forgotten@example.com")); !errors.Is(err, client.NotFound) {
			t.Errorf("a grant that was forgotten came back: %v", err)
		}
	}
	if n := reused(clients); n != 0 {
		t.Errorf("%d spent refresh tokens were presented", n)
	}
}

// The stream of the records of an external server is set back, by other means than esignd's, under daemons that know
// nothing of it. The events tell.
func TestStreamThatWentBackIsNoticed(t *testing.T) {
	t.Parallel()
	clients := system.World{Lifetime: 5 * time.Minute}.Mains(t, "lazy")
	nats := system.StartNATS(t, binaries, "")
	server := &system.External{URL: nats.URL(), Replicas: 1, Keyset: filepath.Join(t.TempDir(), "keyset.json")}
	d := system.StartDaemon(t, system.Options{Binaries: binaries, Clients: clients, NATS: server})
	cl := d.Dial()
	for _, r := range clients {
		connect(t, cl, r.Name, "ann@example.com")
		connect(t, cl, r.Name, "revoked@example.com")
	}
	stream := filepath.Join(nats.StoreDir, "jetstream", "$G", "streams", "KV_ESIGN")
	old := filepath.Join(t.TempDir(), "old")
	swap := func(change func() error) {
		t.Helper()
		d.Stop()
		nats.Stop()
		if err := change(); err != nil {
			t.Fatal(err)
		}
		nats.Start()
		d.Start()
		cl = d.Dial()
	}
	swap(func() error { return os.CopyFS(old, os.DirFS(stream)) })
	for _, r := range clients {
		refresh(t, cl, r.Name, "ann@example.com", 2)
		system.Must(cl.Revoke(t.Context(), sel(r.Name, "revoked@example.com"), "left"))(t)
	}
	swap(func() error { return errors.Join(os.RemoveAll(stream), os.CopyFS(stream, os.DirFS(old))) })
	for _, r := range clients {
		if g := system.Must(cl.Grant(t.Context(), sel(r.Name, "ann@example.com")))(t); g.Generation != 1 {
			t.Fatalf("%s: the stream did not go back: generation %d", r.Name, g.Generation)
		}
		// A store that is slow to answer puts the look at the events off, and with it the refresh.
		if tok := refresh(t, cl, r.Name, "ann@example.com", 3); !slices.Contains(tok.Warnings, core.WarnOutcomeUnknown) {
			t.Errorf("%s: warnings %v", r.Name, tok.Warnings)
		}
		system.Await(t, time.Minute, r.Name+" is known to be revoked", func() bool {
			_, err := cl.Refresh(t.Context(), sel(r.Name, "revoked@example.com"))
			return errors.Is(err, client.ReauthorizationRequired)
		})
		if g := system.Must(cl.Grant(t.Context(), sel(r.Name, "revoked@example.com")))(t); g.State != "revoked" || g.Reason != "left" {
			t.Errorf("%s: the revoked grant is %s (%s)", r.Name, g.State, g.Reason)
		}
	}
	if n := reused(clients); n != 0 {
		t.Errorf("%d spent refresh tokens were presented while a live token was left", n)
	}
	for _, r := range clients {
		_, err := cl.Report(t.Context(), sel(r.Name, "ann@example.com"), 3)
		if rotates := r.Vendor == "esignglobal"; errors.Is(err, client.ReauthorizationRequired) != rotates || !rotates && err != nil {
			t.Errorf("%s: the last try ends with %v", r.Name, err)
		}
	}
	if n := reused(clients); n != 1 {
		t.Errorf("%d spent refresh tokens were presented, want the one last try", n)
	}
}
