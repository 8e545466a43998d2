package plugintest_test

import (
	"context"
	"fmt"
	"regexp"
	"testing"

	"github.com/esignd/esignd/plugins/sdk/plugintest"
)

// An author's test builds the plugin and runs every check on it, each as a subtest. The function's name would be
// TestConformance, and the sandbox the author's own.
func ExampleRun() {
	testConformance := func(t *testing.T) {
		sandbox := startVendor(t, true)
		id, secret := sandbox.Client()
		plugintest.Run(t, plugintest.Config{
			Package: "./esignd-plugin-example",
			Sandbox: plugintest.Sandbox{
				ClientID: id, ClientSecret: secret,
				Settings: map[string]string{"url": sandbox.URL() + "/v1"},
				Scopes:   []string{"read", "sign"},
				Probe:    "/me",
			},
		})
	}
	_ = testConformance
}

// Outside of a test the results come one by one, and as a report.
func ExampleExamine() {
	vendor, err := newVendor(true)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = vendor.Close() }()
	report, err := plugintest.Examine(context.Background(), plugintest.Config{
		Adapter: newExample(),
		Sandbox: vendor.sandbox(),
		Only:    regexp.MustCompile(`^(handshake|exchange|rotation)$`),
	}, func(r plugintest.Result) { fmt.Println(r.Status, r.Check) })
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.Summary())
	// Output:
	// skip handshake
	// ok exchange
	// ok rotation
	// PASS  plugintest_test.example: 2 ok, 0 failed, 1 skipped
}
