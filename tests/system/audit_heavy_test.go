//go:build heavy

package system_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/tests/system"
)

// audit runs an esignd audit command of the daemon's machine and returns the entries that it prints.
func (g guests) audit(d *system.Daemon, stdin string, args ...string) ([]client.AuditEntry, error) {
	g.t.Helper()
	c := exec.Command(binaries.Path("esignd"), append([]string{"audit"}, append(args, "--config", d.Config, "--json")...)...)
	c.Stdin = strings.NewReader(stdin)
	var told strings.Builder
	c.Stderr = &told
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, told.String())
	}
	var entries []client.AuditEntry
	for in := json.NewDecoder(bytes.NewReader(out)); in.More(); {
		var e client.AuditEntry
		if err := in.Decode(&e); err != nil {
			g.t.Fatal(err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// acts puts entries in short, those of the given actions.
func acts(entries []client.AuditEntry, actions ...string) []string {
	var list []string
	for _, e := range entries {
		for _, action := range actions {
			if string(e.Action) == action {
				list = append(list, fmt.Sprintf("%s %s %s %s", e.By.Kind, e.By.Service, e.Action, e.Outcome))
			}
		}
	}
	return list
}

// A leaked token is looked up on a daemon's machine, an auditor reads what its tenant's services did and gets no token, and
// no caller sees any of it: with the embedded server and with one that esignd permissions configured.
func TestAuditSaysWhoGotAToken(t *testing.T) {
	t.Parallel()
	for _, external := range []bool{false, true} {
		t.Run(fmt.Sprintf("external=%v", external), func(t *testing.T) {
			t.Parallel()
			g := guests{t: t, dir: t.TempDir(), lines: map[string]string{}}
			g.add("default", "billing", "caller")
			g.add("default", "watch", "auditor")
			g.add("other", "signing", "caller")
			g.esignd("creds", "new", "--daemon", "-o", g.file("esignd"))
			box := system.World{Lifetime: time.Hour}.Open(t, "esignglobal")
			options := system.Options{
				Binaries: binaries, Auth: g.auth(), LogLevel: "debug", Env: []string{"ESIGND_AUDIT_ENABLED=true"},
				Clients: []system.Registration{
					{Name: "robot", Vendor: "esignglobal", Box: box, GrantType: "client_credentials", Tenants: []string{"default", "other"}},
				},
			}
			if external {
				server := system.StartNATS(t, binaries, g.permissions())
				options.NATS = &system.External{URL: server.URL(), Keyset: g.file("keyset.json"), Credentials: g.file("esignd")}
			}
			d := system.StartDaemon(t, options)
			leaked := g.ask(d)
			g.lookUp(d, leaked)
			g.auditorReads(d, leaked)
		})
	}
}

// ask has services of two tenants ask, and returns the token that leaks.
func (g guests) ask(d *system.Daemon) client.Token {
	g.t.Helper()
	billing := g.dial(d.NATSURL(), "billing")
	leaked := system.Must(billing.Token(g.t.Context(), robot))(g.t)
	system.Must(billing.Token(g.t.Context(), robot))(g.t) // from memory
	system.Must(g.dial(d.NATSURL(), "signing").Token(g.t.Context(), robot))(g.t)
	if _, err := billing.Token(g.t.Context(), client.Selector{Client: "nobody"}); !errors.Is(err, client.NotFound) {
		g.t.Errorf("an unknown client: %v", err)
	}
	system.Await(g.t, 20*time.Second, "there is another generation", func() bool {
		tok, err := billing.Refresh(g.t.Context(), robot)
		return err == nil && tok.Generation > leaked.Generation
	})
	return leaked
}

func (g guests) lookUp(d *system.Daemon, leaked client.Token) {
	g.t.Helper()
	// This vendor gives a client the same token as long as it lives, whoever asks: all who got it are found.
	want := []string{
		"esignd  refresh ok", "service billing token.get ok", "service billing token.get ok",
		"esignd  refresh ok", "service signing token.get ok", "esignd  refresh ok",
	}
	found, err := g.audit(d, leaked.AccessToken.Reveal()+"\n", "find")
	if got := acts(found, "refresh", "token.get"); err != nil || strings.Join(got, ";") != strings.Join(want, ";") {
		g.t.Errorf("the leaked token was got by %v, %v; want %v", got, err, want)
	}
	if e := found[1]; e.Grant != leaked.Grant || e.Generation != leaked.Generation || e.Tenant != "default" {
		g.t.Errorf("entry %+v", e)
	}
	if _, err := g.audit(d, "another token", "find"); err == nil || !strings.Contains(err.Error(), "is not in the audit") {
		g.t.Errorf("a token that nobody got: %v", err)
	}
	backup := exec.Command(binaries.Path("esignd"), "backup", "--config", d.Config, "--out", g.file("esignd.backup"))
	backup.Env = d.Env
	if told, err := backup.CombinedOutput(); err != nil {
		g.t.Errorf("backup: %v\n%s", err, told)
	}
	all := system.Must(g.audit(d, "", "list"))(g.t)
	for action, n := range map[string]int{"token.get": 4, "backup": 1, "audit.find": 2} {
		if got := acts(all, action); len(got) != n {
			g.t.Errorf("%d entries of %s, want %d: %v", len(got), action, n, got)
		}
	}
	if text := fmt.Sprint(all); strings.Contains(text, leaked.AccessToken.Reveal()) || strings.Contains(d.Output().String(), leaked.AccessToken.Reveal()) {
		g.t.Error("the token is in the audit, or in the log")
	}
	some := system.Must(g.audit(d, "", "list", "--service", "signing", "--since", "1h"))(g.t)
	if got := acts(some, "token.get"); len(got) != 1 || len(some) != 1 || some[0].Tenant != "other" {
		g.t.Errorf("of service signing: %+v", some)
	}
}

func (g guests) auditorReads(d *system.Daemon, leaked client.Token) {
	g.t.Helper()
	enough := errors.New("enough")
	got := 0
	err := g.dial(d.NATSURL(), "watch").Audit(g.t.Context(), func(e client.AuditEntry) error {
		if e.Tenant != "default" {
			g.t.Errorf("the auditor of default reads %+v", e)
		}
		if e.Action == "token.get" && e.Grant == leaked.Grant && e.Outcome == "ok" {
			got++
		}
		if e.Outcome == "not_found" {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || got != 2 {
		g.t.Errorf("the auditor reads of %d tokens: %v", got, err)
	}
}
