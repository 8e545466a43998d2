// Package cluster tests replicas: several esignd processes on a cluster of nats-server processes that is configured as
// docs/scaling.md shows, at a vendor that rotates refresh tokens and ends a grant whose spent token comes back.
//
// Servers and replicas are killed, stopped and restarted under load. What is held: the vendor sees each refresh token once,
// but for the one counted last try of a token whose fate is not known; no grant is lost beyond those whose answer died with a
// replica; no expired or revoked token is handed out beyond the bound; a restart in order fails no request.
package cluster
