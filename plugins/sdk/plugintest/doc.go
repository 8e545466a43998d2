// Package plugintest is the conformance kit: it runs a vendor's plugin against the vendor's sandbox and says what esignd
// could not rely on, with what to mend.
//
//	func Run(t *testing.T, cfg Config)                                                // a subtest for each check
//	func Examine(ctx context.Context, cfg Config, each func(Result)) (Report, error)  // the same outside of tests
//	func Checks() []Check                                                             // what is checked
//
// An author's own test is this, beside the adapter:
//
//	func TestConformance(t *testing.T) {
//		sandbox := startSandbox(t) // the author's authorization server, on the loopback
//		plugintest.Run(t, plugintest.Config{
//			Package: "./esignd-plugin-example",
//			Sandbox: plugintest.Sandbox{
//				ClientID: "client", ClientSecret: "secret-of-the-sandbox",
//				Settings: map[string]string{"url": sandbox.URL},
//				Scopes:   []string{"sign"},
//				Probe:    "/api/me",
//			},
//		})
//	}
//
// The sandbox is an authorization server that behaves as the vendor's documents say; plugins/sdk/authserver is a kit to
// write one. Its consent page is answered by plugins/consent unless [Sandbox.Consent] does it. The same checks run on a
// binary with `plugin-host conformance ./esignd-plugin-example --sandbox …`.
//
// What it guarantees:
//
//   - The plugin runs as it does under esignd: in a process of its own, started and supervised by plugins/host, with the
//     same environment and the same limits. With [Config.Adapter] it is called in process instead, and what only a
//     process shows is skipped, in so many words.
//   - Settings that are http URLs on the loopback are replaced by those of a proxy, which forwards to the sandbox and,
//     where a check wants it, answers in its place: wrongly, endlessly, or not at all. The sandbox needs no faults.
//   - Each check works on grants of its own, so that it does not matter which others ran before. What the adapter does
//     not declare is skipped with the reason. What else a check lacks, such as a plugin that starts, fails the first
//     check that lacks it, and those after it refer to that one: no selection of checks passes because nothing ran.
//   - No finding holds a token, a code, a secret or a text of the vendor.
//   - When it returns, no process, listener or goroutine of it is left; on systems with /proc, no process that the plugin
//     started either.
//
// What it does not do: it does not know the vendor. That the dialect is the vendor's is for the author's own tests and
// for the sandbox, which should refuse whatever the vendor refuses.
package plugintest
