package host

import (
	"slices"
	"strings"
)

// memoryVariable tells the Go runtime how much memory to be content with.
const memoryVariable = "GOMEMLIMIT"

// inherited are the variables of this process that a plugin gets.
var inherited = []string{
	"SSL_CERT_FILE", "SSL_CERT_DIR",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	"TZ", "TMPDIR",
	memoryVariable, "GOMAXPROCS", "GOTRACEBACK", "GOCOVERDIR",
}

// pluginEnv returns what a plugin gets of environ, this process's own environment: nothing that may hold a secret.
//
// Of OpenTelemetry's variables it gets those that say where to send and how. Headers hold credentials. Logs go to this
// process and are sent on from there, once.
func pluginEnv(environ []string) []string {
	var env []string
	for _, variable := range environ {
		name, _, ok := strings.Cut(variable, "=")
		if ok && (slices.Contains(inherited, name) || isTelemetry(name)) {
			env = append(env, variable)
		}
	}
	return env
}

func isTelemetry(name string) bool {
	return strings.HasPrefix(name, "OTEL_") && !strings.Contains(name, "HEADERS") && name != "OTEL_LOGS_EXPORTER"
}
