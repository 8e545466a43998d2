// Package telemetry turns OpenTelemetry on for a process: traces, metrics and logs, and the [log/slog] logger that goes
// with them. It is the only package that knows the OpenTelemetry SDK; the others use the API and work without it.
//
// What it guarantees:
//
//   - Off by default. An exporter runs only where the standard variable asks for it (OTEL_TRACES_EXPORTER,
//     OTEL_METRICS_EXPORTER, OTEL_LOGS_EXPORTER); with none of them set there is no network traffic and no goroutine.
//     OTEL_SDK_DISABLED=true turns all of it off.
//   - Nothing is written to standard output, which in a plugin is the handshake with its host: the exporter "console"
//     writes to standard error here.
//   - Spans and log records are redacted on their way out: the query of every URL, values whose key names a secret, and
//     text that looks like one. This is a second line of defence. Code does not put secrets there in the first place,
//     and what this package cannot recognise it lets through.
//   - Shutdown is bounded. A collector that does not answer costs at most [Config.ShutdownTimeout].
//
// The remaining OTEL_ variables (endpoints, headers, samplers, limits, batching) are read by the SDK as its documents
// say. Only trace context is propagated: baggage would carry what callers put there to every vendor.
package telemetry
