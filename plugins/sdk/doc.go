// Package sdk makes a plugin of an adapter. A plugin is a binary called esignd-plugin-<vendor> whose main is one call:
//
//	func main() { sdk.Serve(example.New(example.Config{})) }
//
// The author implements [core.Adapter], in process and without a word of gRPC; this package does the rest. What it
// guarantees to the adapter and to the host:
//
//   - The process answers its host and nobody else: mutual TLS with keys made at each start. It ends with its host, at
//     the latest a second later, and not by a SIGINT or SIGTERM that was meant for its host.
//   - A call's context ends a little before the host gives up, so that the adapter has time to say what it knows. A host
//     that gets no answer to a token request kills the process.
//   - A panic in a method is an error of that call alone. Its stack goes to the log, its value does not: it may hold what
//     was being worked on. A panic in a goroutine that the adapter started ends the process, as everywhere in Go.
//   - An error reaches the host as a [*core.VendorError] or [errors.ErrUnsupported]. The text of any other error is
//     dropped. So a method that has something to say to the operator says it in VendorError.Detail.
//   - [slog.Default] writes to the host's log and is redacted; OpenTelemetry is on where the OTEL_ variables ask for it,
//     with service.name esignd-plugin-<vendor>. The trace of a call goes on in its context.
//
// What it asks of the adapter: nothing is written to standard output before Serve, for it is the handshake; what is
// written there later is logged at debug level. Messages are at most 1 MiB. The environment is empty but for certificate,
// proxy and time zone settings, TMPDIR, the Go runtime's, and the OTEL_ variables without headers; secrets come with
// each request and not otherwise.
//
// What it does not do: it keeps no state, retries nothing and caches nothing.
package sdk
