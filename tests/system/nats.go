package system

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esignd/esignd/tests/transcript"
)

const natsServer = "nats-server"

// NATSServer is a nats-server process whose configuration, store and ports stay the same over restarts. It is for the
// test's own goroutine.
type NATSServer struct {
	program
	Binaries Binaries
	Name     string
	Config   string // path
	StoreDir string
	Address  string
	Monitor  string // address of its HTTP listener
	// Cluster is how many servers it forms a cluster with; 0: it is alone.
	Cluster int
}

// StartNATS starts a server with JetStream that syncs every write. more is added to its configuration. The test's end
// stops it.
func StartNATS(t testing.TB, b Binaries, more string) *NATSServer {
	t.Helper()
	s := newNATS(t, b, "alone")
	s.write(more)
	s.Start()
	return s
}

// StartCluster starts n servers that form a cluster. more is added to the configuration of each.
func StartCluster(t testing.TB, b Binaries, n int, more string) []*NATSServer {
	t.Helper()
	servers := make([]*NATSServer, n)
	routes := make([]string, n)
	for i := range servers {
		servers[i] = newNATS(t, b, fmt.Sprintf("n%d", i+1))
		servers[i].Cluster = n
		routes[i] = FreeAddress(t)
	}
	for i, s := range servers {
		var others []string
		for j, r := range routes {
			if j != i {
				others = append(others, `"nats://`+r+`"`)
			}
		}
		s.write(fmt.Sprintf("cluster {name: esign, listen: %q, routes: [%s]}\n%s", routes[i], strings.Join(others, ", "), more))
		s.launch(nil, b.Path(natsServer), "--config", s.Config)
	}
	for _, s := range servers {
		s.awaitStart(s.Ready)
	}
	return servers
}

// URLs names servers as nats.url does.
func URLs(servers []*NATSServer) string {
	var list []string
	for _, s := range servers {
		list = append(list, s.URL())
	}
	return strings.Join(list, ",")
}

func newNATS(t testing.TB, b Binaries, name string) *NATSServer {
	dir := t.TempDir()
	s := &NATSServer{
		program: program{t: t, name: natsServer + " " + name, output: &transcript.Transcript{}}, Binaries: b, Name: name,
		Config: filepath.Join(dir, "nats.conf"), StoreDir: filepath.Join(dir, "store"), Address: FreeAddress(t), Monitor: FreeAddress(t),
	}
	t.Cleanup(func() {
		if s.Running() {
			s.Kill()
		}
		if t.Failed() {
			t.Logf("%s wrote:\n%s", s.name, s.output.Tail(4000))
		}
	})
	return s
}

func (s *NATSServer) write(more string) {
	s.t.Helper()
	conf := fmt.Sprintf("server_name: %s\nlisten: %q\nhttp: %q\njetstream {store_dir: %q, sync_interval: always}\n%s",
		s.Name, s.Address, s.Monitor, s.StoreDir, more)
	if err := os.WriteFile(s.Config, []byte(conf), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// Reload writes the configuration with more in place of what was added before, and has the server read it, twice: it
// takes that many to let new accounts use what they import.
func (s *NATSServer) Reload(more string) {
	s.t.Helper()
	s.write(more)
	for range 2 {
		before := s.loaded()
		s.Signal(syscall.SIGHUP)
		Await(s.t, 20*time.Second, s.name+" reads its configuration again", func() bool { return s.loaded() != before })
	}
}

// loaded returns when the server read its configuration.
func (s *NATSServer) loaded() string {
	var varz struct {
		At string `json:"config_load_time"`
	}
	s.monitor("/varz", &varz)
	return varz.At
}

// URL is where clients connect.
func (s *NATSServer) URL() string { return "nats://" + s.Address }

// Start starts the process and waits until it serves JetStream.
func (s *NATSServer) Start() {
	s.t.Helper()
	s.launch(nil, s.Binaries.Path(natsServer), "--config", s.Config)
	s.awaitStart(s.Ready)
}

// Ready reports whether the server serves JetStream. In a cluster there is a leader then.
func (s *NATSServer) Ready() bool {
	if s.Cluster == 0 {
		return s.monitor("/healthz", nil)
	}
	var js struct {
		Meta struct {
			Leader string `json:"leader"`
			Size   int    `json:"cluster_size"`
		} `json:"meta_cluster"`
	}
	return s.monitor("/healthz", nil) && s.monitor("/jsz", &js) && js.Meta.Leader != "" && js.Meta.Size == s.Cluster
}

// monitor asks the HTTP listener and reports whether the answer is 200, and decoded into v.
func (s *NATSServer) monitor(path string, v any) bool {
	resp, err := Plain.Get("http://" + s.Monitor + path)
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return false
	}
	return v == nil || json.NewDecoder(resp.Body).Decode(v) == nil
}
