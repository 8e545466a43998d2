//go:build heavy

package system_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/tests/system"
)

var binaries system.Binaries

func TestMain(m *testing.M) { system.Main(m, &binaries, system.Build{NATS: true, Next: true}) }

// Two daemons share a NATS server, alone or as a cluster; what one issued the other answers.
func TestDaemonsShareAnExternalServer(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) system.External{
		"alone": func(t *testing.T) system.External {
			return system.External{URL: system.StartNATS(t, binaries, "").URL(), Replicas: 1}
		},
		"cluster": func(t *testing.T) system.External {
			return system.External{URL: system.URLs(system.StartCluster(t, binaries, 3, "")), Replicas: 3}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t)
			server.Keyset = filepath.Join(t.TempDir(), "keyset.json")
			box := system.World{Lifetime: time.Hour}.Open(t, "esignglobal")
			options := system.Options{Binaries: binaries, NATS: &server, Clients: []system.Registration{
				{Name: "robot", Vendor: "esignglobal", Box: box, GrantType: "client_credentials"},
			}}
			tokens := map[string]bool{}
			for range 2 {
				d := system.StartDaemon(t, options)
				tok := system.Must(d.Dial().Token(t.Context(), client.Selector{Client: "robot"}))(t)
				if status := system.CallAPI(t, tok); status != 200 {
					t.Errorf("the vendor answers %d to the token", status)
				}
				tokens[tok.AccessToken.Reveal()] = true
			}
			if len(tokens) != 1 {
				t.Errorf("two daemons gave out %d tokens", len(tokens))
			}
		})
	}
}

// A release and the one after it take turns at the same records.
func TestTwoReleasesTakeTurns(t *testing.T) {
	t.Parallel()
	box := system.World{Lifetime: time.Hour}.Open(t, "esignglobal")
	d := system.StartDaemon(t, system.Options{Binaries: binaries, Clients: []system.Registration{
		{Name: "robot", Vendor: "esignglobal", Box: box, GrantType: "client_credentials"},
	}})
	for i, program := range []string{"esignd", system.NextRelease, "esignd", system.NextRelease} {
		d.Stop()
		d.Program = program
		d.Start()
		var tok client.Token
		cl := d.Dial()
		system.Await(t, time.Minute, "a refresh that is not too soon after the last", func() bool {
			tok = system.Must(cl.Refresh(t.Context(), client.Selector{Client: "robot"}))(t)
			return !slices.Contains(tok.Warnings, core.WarnRefreshedRecently)
		})
		if status := system.CallAPI(t, tok); status != 200 || tok.Generation != uint64(i+1) {
			t.Errorf("%s: generation %d; the vendor answers %d to the token", program, tok.Generation, status)
		}
	}
}
