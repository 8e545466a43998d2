// Package bus is core on NATS: an embedded server or a connection to an external one, and on it the [core.Store],
// [core.Publisher] and [core.Timers] of the daemon, its [core.Spool] beside it on disk, and the request-reply service
// that other programs ask for tokens.
//
// What it guarantees:
//
//   - A record, an event or a timer for which nil was returned survives the death of the process. With the embedded
//     server a record and an event survive a power loss too: they were fsynced. Timers are derived data and are not.
//   - Secrets leave the process sealed (XAES-256-GCM), bound to the key of their record and to its public part.
//     Neither NATS nor the disk sees one in the clear. A keyset is never made anew while there are records that it
//     could not open.
//   - One data_dir belongs to one process at a time. An embedded store is never opened as a member of a cluster, which
//     would delete it.
//   - With the embedded server, records and timers live in a NATS account of their own, which nobody can enter but this
//     process: no permission, reply subject or consumer of a caller reaches them.
//   - Where callers are listed, each is in an account of its own too: whatever it names as the subject of an answer,
//     nobody else hears the answer and nothing is stored.
//   - After a connection was lost nothing is sent late: a write that was not on the wire when the connection broke
//     fails.
//
// What it does not do: it knows no vendor and no policy, and it does not set up a cluster. With an external server,
// who may publish and subscribe where is the business of that server's configuration.
package bus
