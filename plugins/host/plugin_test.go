package host_test

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/host"
)

func TestPluginIsAnAdapter(t *testing.T) {
	p, _ := start(t, "good", host.Limits{})
	a := p.Adapter()

	m, err := a.Metadata(t.Context())
	if err != nil || m.Vendor != "good" || m.AccessLifetime != time.Hour || !m.Supports(core.RefreshToken) {
		t.Errorf("metadata: %+v, %v", m, err)
	}
	set, err := token(t.Context(), a, "")
	if err != nil || set.AccessToken.Reveal() != "access-r1" || set.RefreshToken.Reveal() != "rotated" || set.Scope == nil {
		t.Errorf("token: %+v, %v", set, err)
	}
	link, err := a.AuthorizationURL(t.Context(), core.AuthorizationRequest{State: "st"})
	if err != nil || link != "https://vendor.example/authorize?state=st" {
		t.Errorf("authorization URL: %q, %v", link, err)
	}
	back, err := a.Callback(t.Context(), core.CallbackRequest{Params: url.Values{"code": {"c1"}}})
	if err != nil || back.Code.Reveal() != "c1" {
		t.Errorf("callback: %+v, %v", back, err)
	}
	if err := a.Revoke(t.Context(), core.RevocationRequest{}); err != nil {
		t.Errorf("revoke: %v", err)
	}
	none := core.RevocationRequest{Client: core.Credentials{ClientID: "none"}}
	if err := a.Revoke(t.Context(), none); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("revoke without revocation: got %v, want errors.ErrUnsupported", err)
	}
	status := p.Status()
	if status.State != host.Ready || status.PID == 0 || status.Version != "1.2.3" || status.Pinned || status.Since.IsZero() {
		t.Errorf("status: %+v", status)
	}
}

func TestHostCheckerAnswersInTheAdaptersWords(t *testing.T) {
	with, _ := start(t, "good", host.Limits{})
	checker, ok := with.Adapter().(core.HostChecker)
	if !ok {
		t.Fatal("the adapter is no HostChecker, its plugin is")
	}
	got, err := checker.CheckAPIBaseURL(t.Context(), core.Credentials{}, "https://VENDOR.example/vendor.example")
	if err != nil || got != "https://vendor.example" {
		t.Errorf("got %q, %v", got, err)
	}
	_, err = checker.CheckAPIBaseURL(t.Context(), core.Credentials{}, "https://evil.example")
	wantVendorError(t, err, core.NotSent, core.CodeHostRefused)
	if err == nil || !strings.Contains(err.Error(), "only vendor.example is the vendor's") {
		t.Errorf("the adapter's own words are lost: %v", err)
	}
}

func TestErrorsCrossWithoutForeignText(t *testing.T) {
	p, logs := start(t, "good", host.Limits{})
	_, err := token(t.Context(), p.Adapter(), "refused")
	wantVendorError(t, err, core.Refused, core.CodeInvalidGrant)
	if e := core.AsVendorError(err); e.Status != 400 || e.Detail != "the vendor refused" {
		t.Errorf("got %+v", e)
	}
	_, err = token(t.Context(), p.Adapter(), "fail")
	wantVendorError(t, err, core.Unknown, core.CodeInternal)
	if strings.Contains(err.Error()+logs.String(), "CANARY") {
		t.Errorf("the vendor's text crossed: %v", err)
	}
}

func TestAdapterHasTimeToAnswerBeforeItsHostGivesUp(t *testing.T) {
	p, _ := start(t, "good", host.Limits{Call: 2 * time.Second})
	pid := p.Status().PID
	_, err := token(t.Context(), p.Adapter(), "slow")
	wantVendorError(t, err, core.Unknown, core.CodeTimeout)
	if !strings.Contains(err.Error(), "the vendor was slow") {
		t.Errorf("got %v, want the adapter's own answer", err)
	}
	if p.Status().PID != pid {
		t.Error("a slow vendor cost the plugin its process")
	}
}

func TestAnswersAreChecked(t *testing.T) {
	p, _ := start(t, "good", host.Limits{})
	a := p.Adapter()
	_, err := token(t.Context(), a, "empty")
	wantVendorError(t, err, core.Unknown, core.CodeMalformedResponse)
	_, err = a.AuthorizationURL(t.Context(), core.AuthorizationRequest{Client: core.Credentials{ClientID: "plain http"}})
	wantVendorError(t, err, core.Unknown, core.CodeInternal)
	_, err = a.Callback(t.Context(), core.CallbackRequest{})
	wantVendorError(t, err, core.Unknown, core.CodeInternal)
	denied, err := a.Callback(t.Context(), core.CallbackRequest{Params: url.Values{"error": {"Dear customer, no."}}})
	if err != nil || denied.Denied != core.CodeAccessDenied {
		t.Errorf("got %+v, %v: want the vendor's words replaced", denied, err)
	}
}

func TestRequestThatCannotBeSentIsNotSent(t *testing.T) {
	p, _ := start(t, "good", host.Limits{})
	for name, code := range map[string]string{"not UTF-8": "\xff", "too large": strings.Repeat("x", 1<<20+1)} {
		_, err := p.Adapter().Callback(t.Context(), core.CallbackRequest{Params: url.Values{"code": {code}}})
		wantVendorError(t, err, core.NotSent, core.CodeInvalidRequest)
		if p.Status().State != host.Ready {
			t.Errorf("%s: the plugin is %s", name, p.Status().State)
		}
	}
}

func TestEnvironmentIsEmptyButForTheAllowList(t *testing.T) {
	for name, value := range map[string]string{
		"NATS_PASSWORD": "CANARY", "ESIGND_KEY": "CANARY", "OTEL_EXPORTER_OTLP_HEADERS": "authorization=CANARY",
		"OTEL_EXPORTER_OTLP_TRACES_HEADERS": "CANARY", "AWS_SECRET_ACCESS_KEY": "CANARY", "OTEL_LOGS_EXPORTER": "CANARY",
		"SSL_CERT_FILE": "/certs.pem", "TZ": "Europe/Rome", "OTEL_RESOURCE_ATTRIBUTES": "team=sign",
	} {
		t.Setenv(name, value)
	}
	p, _ := start(t, "good", host.Limits{})
	set, err := token(t.Context(), p.Adapter(), "environment")
	if err != nil {
		t.Fatal(err)
	}
	env := set.AccessToken.Reveal()
	for _, want := range []string{"SSL_CERT_FILE=/certs.pem", "TZ=Europe/Rome", "OTEL_RESOURCE_ATTRIBUTES=team=sign"} {
		if !strings.Contains(env, want+"\n") {
			t.Errorf("%s is missing", want)
		}
	}
	for _, not := range []string{"CANARY", "HOME=", "PATH="} {
		if strings.Contains(env, not) {
			t.Errorf("the plugin got %s of:\n%s", not, env)
		}
	}
}

func TestCallsBeforeStartAndAfterCloseAreNotSent(t *testing.T) {
	p, err := host.New(host.Config{Env: raceEnv, Path: binary(t, "good"), Vendor: "good"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = token(t.Context(), p.Adapter(), "")
	wantVendorError(t, err, core.NotSent, core.CodePlugin)
	if _, err := p.Adapter().Metadata(t.Context()); err == nil {
		t.Error("a plugin that was never started told its metadata")
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	a := p.Adapter()
	for range 2 {
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_, err = token(t.Context(), a, "")
	wantVendorError(t, err, core.NotSent, core.CodePlugin)
	if m, err := a.Metadata(t.Context()); err != nil || m.Vendor != "good" {
		t.Errorf("the metadata of a closed plugin: %+v, %v", m, err)
	}
	if s := p.Status(); s.State != host.Stopped || s.PID != 0 {
		t.Errorf("status: %+v", s)
	}
}

func TestSocketsAreClosedToOthersAndSwept(t *testing.T) {
	sockets, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(sockets) }()
	dir := filepath.Join(sockets, "good")
	stale := filepath.Join(dir, "plugin-dir123", "plugin456")
	if err := os.MkdirAll(filepath.Dir(stale), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stale, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := host.New(host.Config{Env: raceEnv, Path: binary(t, "good"), Vendor: "good", SocketDir: sockets})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Error("the socket of a process that was killed is still there")
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the socket folder: %v, %v", info.Mode(), err)
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "plugin-dir*", "plugin*")); len(found) != 1 {
		t.Errorf("sockets: %v, want one", found)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left in the socket folder: %v", left)
	}
}

func TestPluginLogsReachTheHostsLog(t *testing.T) {
	p, logs := start(t, "good", host.Limits{})
	if _, err := token(t.Context(), p.Adapter(), "log"); err != nil {
		t.Fatal(err)
	}
	want := `"level":"INFO","msg":"from the adapter","vendor":"good","plugin":{"answer":"42"}`
	eventually(t, want, func() bool { return strings.Contains(logs.String(), want) })
}
