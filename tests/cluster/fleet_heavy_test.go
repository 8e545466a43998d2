//go:build heavy

package cluster

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/tests/system"
)

// permissions are those of docs/scaling.md: esignd may do everything, a service what is its tenant's.
const permissions = `authorization {
  users: [
    {user: esignd, password: "change-me"}
    {user: billing, password: "change-me-too", permissions: {
      publish: [
        "esign.api.default.>"
        "$JS.API.INFO"
        "$JS.API.CONSUMER.CREATE.ESIGN_EVENTS.default_billing.esign.event.default.>"
        "$JS.API.CONSUMER.INFO.ESIGN_EVENTS.default_billing"
        "$JS.API.CONSUMER.MSG.NEXT.ESIGN_EVENTS.default_billing"
        "$JS.ACK.ESIGN_EVENTS.default_billing.>"
      ]
      subscribe: ["_INBOX_default_billing.>", "esign.event.default.>"]
    }}
  ]
}
`

const clientName = "global"

// replicas is how many there are of esignd, and of NATS servers.
const replicas = 3

// fleet is a cluster of NATS servers and as many replicas of esignd.
type fleet struct {
	t       *testing.T
	servers []*system.NATSServer
	daemons []*system.Daemon
	relays  []*relay // by replica, where there are any
	vendor  *vendor
}

// startFleet starts three servers and three replicas, which find NATS at all servers.
func startFleet(t *testing.T, v *vendor) *fleet {
	t.Helper()
	f := &fleet{t: t, servers: system.StartCluster(t, binaries, replicas, permissions), vendor: v}
	everywhere := f.url("esignd:change-me")
	f.startReplicas(func(int) string { return everywhere })
	return f
}

// startRelayed starts three servers, and three replicas each of which reaches one of them, through a relay.
func startRelayed(t *testing.T, v *vendor) *fleet {
	t.Helper()
	// Servers tell their clients of each other; what they tell here is nowhere.
	const alone = "client_advertise: \"127.0.0.1:1\"\n"
	f := &fleet{t: t, servers: system.StartCluster(t, binaries, replicas, permissions+alone), vendor: v}
	for _, s := range f.servers {
		f.relays = append(f.relays, startRelay(t, s.Address))
	}
	f.startReplicas(func(i int) string { return "nats://esignd:change-me@" + f.relays[i].Address() })
	return f
}

func (f *fleet) startReplicas(url func(int) string) {
	f.t.Helper()
	keyset := filepath.Join(f.t.TempDir(), "keyset.json")
	for i := range replicas {
		f.daemons = append(f.daemons, system.StartDaemon(f.t, system.Options{
			Binaries: binaries, NATS: &system.External{URL: url(i), Replicas: replicas, Keyset: keyset},
			Clients: []system.Registration{{Name: clientName, Vendor: "esignglobal", Box: door{vendor: f.vendor, url: f.vendor.doors[i]}}},
		}))
	}
}

// url names all servers, with who connects.
func (f *fleet) url(user string) string {
	var list []string
	for _, s := range f.servers {
		list = append(list, as(user, s))
	}
	return strings.Join(list, ",")
}

func as(user string, s *system.NATSServer) string {
	return strings.Replace(s.URL(), "nats://", "nats://"+user+"@", 1)
}

// connect connects a service to the cluster.
func (f *fleet) connect() *nats.Conn {
	f.t.Helper()
	nc := system.Must(nats.Connect(f.url("billing:change-me-too"), nats.CustomInboxPrefix("_INBOX_default_billing"), nats.MaxReconnects(-1)))(f.t)
	f.t.Cleanup(nc.Close)
	return nc
}

// service is a Go service on a connection of its own.
func (f *fleet) service() *client.Client {
	f.t.Helper()
	return system.Must(client.New(client.Config{Conn: f.connect(), Tenant: "default"}))(f.t)
}

// operator is JetStream as esignd has it.
func (f *fleet) operator() jetstream.JetStream {
	f.t.Helper()
	nc := system.Must(nats.Connect(f.url("esignd:change-me"), nats.MaxReconnects(-1)))(f.t)
	f.t.Cleanup(nc.Close)
	return system.Must(jetstream.New(nc))(f.t)
}

// leader returns the server that leads the stream of records. While one is elected, there is none.
func (f *fleet) leader(js jetstream.JetStream) *system.NATSServer {
	f.t.Helper()
	var leads *system.NATSServer
	system.Await(f.t, time.Minute, "a server leads the records", func() bool {
		stream, err := js.Stream(f.t.Context(), "KV_ESIGN")
		if err != nil || stream.CachedInfo().Cluster == nil {
			return false
		}
		i := slices.IndexFunc(f.servers, func(s *system.NATSServer) bool { return s.Name == stream.CachedInfo().Cluster.Leader })
		if i >= 0 {
			leads = f.servers[i]
		}
		return i >= 0
	})
	return leads
}

// account names the nth.
func account(n int) string { return fmt.Sprintf("person-%d@example.com", n) }

func selector(n int) client.Selector { return client.Selector{Client: clientName, Account: account(n)} }

// bring imports an account, whose access token esignd takes to end at that time.
func (f *fleet) bring(cl *client.Client, n int, ends time.Time) error {
	set, err := f.vendor.consent(account(n))
	if err != nil {
		return err
	}
	_, err = cl.Import(f.t.Context(), client.ImportRequest{
		Client: clientName, Account: account(n), ExpiresAt: ends,
		RefreshToken: client.NewSecret(set.Refresh), AccessToken: client.NewSecret(set.Access),
	})
	return err
}

// said counts the lines of the replicas' logs that hold all of the words.
func (f *fleet) said(words ...string) int {
	n := 0
	for _, d := range f.daemons {
		for line := range strings.Lines(d.Output().String()) {
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
				n++
			}
		}
	}
	return n
}
