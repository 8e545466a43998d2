// Package wire is the contract of esignd on NATS: the JSON messages, their subjects and headers, and the error codes.
// The JSON Schema of each message is in Schemas.
//
// What it guarantees:
//
//   - A request is read strictly: what is over [MaxRequest], malformed, of a wrong type, given twice, or unknown is a
//     [core.Error] with the code invalid_request that names the field. The error never holds a value of the request.
//   - A reply and an event are read leniently: fields that are unknown are skipped, since later versions may add some.
//   - Times are RFC 3339 in UTC and whole seconds; durations are whole seconds; warnings are always an array; scope is
//     one string, its parts separated by spaces (RFC 6749 §3.3).
//   - A [Secret] is written into a message and nowhere else: it prints as "[redacted]", and the messages that hold
//     one say nothing of it to slog.
//
// It does not import NATS: messages are bytes and headers are maps.
package wire
