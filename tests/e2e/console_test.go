package e2e

import (
	"encoding/json"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/esignd/esignd/tests/system"
	"github.com/esignd/esignd/web"
)

// TestConsoleFromOutside reaches the console of a daemon over an address of the network, where this machine has one.
func TestConsoleFromOutside(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, system.Options{})
	_, port, _ := strings.Cut(d.Admin, ":")
	d.Env = append(d.Env, "ESIGND_HTTP_ADMIN=0.0.0.0:"+port, "ESIGND_HTTP_ADMIN_URL=http://"+d.Admin)
	d.Start()
	t.Cleanup(func() { d.Stop() })
	outside := "http://" + net.JoinHostPort(networkAddress(t), port)
	stranger, operator := newBrowser(t), newBrowser(t)
	for path, status := range map[string]int{
		"/": http.StatusForbidden, "/live": http.StatusForbidden, "/metrics": http.StatusUnauthorized,
		"/healthz": http.StatusOK, "/readyz": http.StatusOK,
	} {
		if p := stranger.open(outside + path); p.status != status {
			t.Errorf("%s answers a stranger %d, want %d", path, p.status, status)
		}
	}
	out := system.Must(exec.CommandContext(t.Context(), binaries.Path("esignd"), "console", "--json", "--config", d.Config).Output())(t)
	var link web.ConsoleLink
	if err := json.Unmarshal(out, &link); err != nil {
		t.Fatal(err)
	}
	at := outside + strings.TrimPrefix(link.URL, "http://"+d.Admin)
	if p := operator.open(at); p.status != http.StatusOK {
		t.Fatalf("the link answers %d", p.status)
	}
	if p := stranger.open(at); p.status != http.StatusNotFound {
		t.Errorf("the link opens twice: %d", p.status)
	}
	for _, path := range []string{"/", "/live", "/metrics"} {
		if p := operator.open(outside + path); p.status != http.StatusOK {
			t.Errorf("%s answers who signed in %d", path, p.status)
		}
	}
	d.Stop()
	d.Start()
	if p := operator.open(outside + "/"); p.status != http.StatusForbidden {
		t.Errorf("the session outlives the daemon: %d", p.status)
	}
	if strings.Contains(d.Output().String(), "/session/") {
		t.Error("the log holds the link")
	}
}

// networkAddress is an IPv4 address of this machine that others may reach, or the loopback one where there is none.
func networkAddress(t *testing.T) string {
	t.Helper()
	for _, a := range system.Must(net.InterfaceAddrs())(t) {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil && ip.IP.IsGlobalUnicast() {
			return ip.IP.String()
		}
	}
	return "127.0.0.1"
}
