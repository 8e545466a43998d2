package plugintest_test

import (
	"context"
	"errors"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/oauth"
	"github.com/esignd/esignd/plugins/sdk/plugintest"
)

// outcome returns the result of one check.
func outcome(t *testing.T, report plugintest.Report, check string) plugintest.Result {
	t.Helper()
	for _, r := range report.Results {
		if r.Check == check {
			return r
		}
	}
	t.Fatalf("there is no result for %s", check)
	return plugintest.Result{}
}

func TestAPanicInProcessIsAFinding(t *testing.T) {
	t.Parallel()
	adapter := bad{example: newExample(), token: func(context.Context, core.TokenRequest) (core.TokenResponse, error) { panic(vendorSecret) }}
	report := examine(t, plugintest.Config{Adapter: adapter, Sandbox: startVendor(t, true).sandbox(), Deadline: 200 * time.Millisecond})
	if r := outcome(t, report, "exchange"); r.Status != plugintest.Failed || !strings.Contains(r.Findings[0], "panicked") {
		t.Errorf("got %+v", r)
	}
	for _, r := range report.Results {
		if strings.Contains(strings.Join(r.Findings, " "), vendorSecret) {
			t.Errorf("%s tells the secret", r.Check)
		}
	}
}

func TestACallThatNeverReturnsIsAFindingAndNotTheEnd(t *testing.T) {
	t.Parallel()
	adapter := bad{example: newExample(), token: handmade{deaf: true}.Token}
	report := examine(t, plugintest.Config{
		Adapter: adapter, Sandbox: startVendor(t, true).sandbox(), Deadline: 200 * time.Millisecond, Only: regexp.MustCompile("deadlines|refresh"),
	})
	if r := outcome(t, report, "deadlines"); r.Status != plugintest.Failed || !strings.Contains(r.Findings[0], "with 200ms to go") {
		t.Errorf("got %+v", r)
	}
}

// machine is an adapter whose vendor knows client credentials only, and whose settings name no host.
type machine struct {
	bad
	url string
}

func (m machine) Metadata(ctx context.Context) (core.Metadata, error) {
	md, err := m.bad.Metadata(ctx)
	md.GrantTypes, md.RotatesRefreshTokens, md.RefreshIdleLifetime, md.PKCE, md.RevokesTokens = []core.GrantType{core.ClientCredentials}, false, 0, false, false
	return md, err
}

func (m machine) Token(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
	response, err := m.client.Token(ctx, oauth.Endpoint{TokenURL: m.url + "/token"}, r)
	return response.TokenResponse, err
}

func (machine) Revoke(context.Context, core.RevocationRequest) error { return errors.ErrUnsupported }

func TestWhatIsNotThereIsSkippedWithTheReason(t *testing.T) {
	t.Parallel()
	vendor := startVendor(t, true)
	sandbox := vendor.sandbox()
	sandbox.URL, sandbox.Settings = vendor.URL()+"/v1", nil
	report := examine(t, plugintest.Config{Adapter: machine{bad{example: newExample()}, sandbox.URL}, Sandbox: sandbox})
	for check, reason := range map[string]string{
		"handshake": "in process", "exchange": "no authorization_code", "refresh": "no authorization_code", "refusals": "kit's proxy",
	} {
		if r := outcome(t, report, check); r.Status != plugintest.Skipped || !strings.Contains(r.Reason, reason) {
			t.Errorf("%s: %+v", check, r)
		}
	}
	if r := outcome(t, report, "client-credentials"); r.Status != plugintest.Passed {
		t.Errorf("got %+v", r)
	}
	if report.Failed() {
		t.Errorf("got %+v", report)
	}
}

func TestConsentAndProbeCanBeTheAuthors(t *testing.T) {
	t.Parallel()
	vendor := startVendor(t, true)
	sandbox, asked := vendor.sandbox(), 0
	sandbox.Probe = ""
	sandbox.TokenWorks = func(_ context.Context, set core.TokenResponse) (bool, error) {
		asked++
		_, err := vendor.ledger.Holder(set.AccessToken.Reveal())
		return err == nil, nil
	}
	sandbox.Consent = func(_ context.Context, page string, accept bool) (*url.URL, error) {
		if !accept {
			return nil, errors.ErrUnsupported
		}
		u, err := url.Parse(page)
		if err != nil {
			return nil, err
		}
		return vendor.approve(u.Query())
	}
	report := examine(t, plugintest.Config{Adapter: newExample(), Sandbox: sandbox, Only: regexp.MustCompile("denial|exchange|revocation")})
	if report.Failed() || asked == 0 || outcome(t, report, "denial").Status != plugintest.Skipped {
		t.Errorf("asked %d times: %+v", asked, report)
	}
}

// A selection of checks must not pass because what they need is missing.
func TestAPluginThatDoesNotStartFailsInAnySelection(t *testing.T) {
	t.Parallel()
	sandbox := startVendor(t, true).sandbox()
	report := examine(t, plugintest.Config{Binary: "/bin/true", Vendor: "true", Sandbox: sandbox, Only: regexp.MustCompile("^refresh$|stop")})
	if r := outcome(t, report, "refresh"); r.Status != plugintest.Failed || !strings.Contains(r.Findings[0], "the plugin did not start") {
		t.Errorf("got %+v", r)
	}
	if r := outcome(t, report, "stop"); r.Status != plugintest.Skipped || r.Reason != "the plugin did not start: see refresh" {
		t.Errorf("got %+v", r)
	}
	sandbox.ClientSecret = "not-the-secret-of-the-client"
	report = examine(t, plugintest.Config{Adapter: newExample(), Sandbox: sandbox, Only: regexp.MustCompile("^rotation$|refusals")})
	if r := outcome(t, report, "rotation"); r.Status != plugintest.Failed || !strings.Contains(r.Findings[0], "there is no grant") {
		t.Errorf("got %+v", r)
	}
	if r := outcome(t, report, "refusals"); r.Status != plugintest.Skipped || r.Reason != "there is no grant to work with: see rotation" {
		t.Errorf("got %+v", r)
	}
}

func TestWrongConfigurationsAreRefusedAtOnce(t *testing.T) {
	sandbox := plugintest.Sandbox{ClientID: "x"}
	for want, cfg := range map[string]plugintest.Config{
		"one of Package, Binary and Adapter": {Sandbox: sandbox},
		"set one of Package":                 {Binary: "x", Adapter: newExample(), Sandbox: sandbox},
		"ClientID is empty":                  {Adapter: newExample()},
		"set Vendor":                         {Binary: "./other", Sandbox: sandbox},
		"go build ./esignd-plugin-none":      {Package: "./esignd-plugin-none", Sandbox: sandbox},
	} {
		if _, err := plugintest.Examine(t.Context(), cfg, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
